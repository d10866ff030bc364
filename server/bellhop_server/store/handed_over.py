"""To which devices messages have been handed over: by their results, and by what is under way.

A push may be reported before its result is committed, so what has begun counts. In this order: results, batches, and
results once more for what was recorded in between.
"""

import json
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import BigInteger, Connection, Text, bindparam, func, literal_column, or_, select, true

from bellhop_server.store.batch_rows import unpack
from bellhop_server.store.bulk import select_by_keys
from bellhop_server.store.tables import batches, results

Pair = tuple[int, str]
"""Message ref and device id."""

# In literals, or SQLite has no use for the partial index of what is held; with the plus, or it prefers that of all that
# the message has left.
_BEGUN = select(batches.c.message_ref, batches.c["items"]).where(
    literal_column("batches.lease_until > 0"),
    batches.c.started == true(),
    literal_column("+batches.message_ref", BigInteger).in_(bindparam("refs", expanding=True)),
)
# What has been interrupted, or waits for another attempt: after an outage that may be much.
_AGAIN = select(batches.c.started, batches.c.interruptions, batches.c["items"]).where(
    batches.c.message_ref == bindparam("ref"),
    or_(batches.c.retry == true(), batches.c.interruptions > 0),
)
_TEXT = bindparam("named", type_=Text)
_NAMING = {
    "sqlite": _AGAIN.where(func.instr(batches.c["items"], _TEXT) > 0),
    "postgresql": _AGAIN.where(func.strpos(batches.c["items"], _TEXT) > 0),
}


def platforms_of(connection: Connection, pairs: Collection[Pair]) -> dict[Pair, int]:
    """The network by which each of the devices was reached, or may have been. Those that were not are left out."""
    found = _recorded(connection, pairs)
    left = [pair for pair in pairs if pair not in found]
    if left:
        found |= _begun(connection, left)
        left = [pair for pair in left if pair not in found]
    if left:
        found |= _interrupted(connection, left)
        found |= _recorded(connection, [pair for pair in left if pair not in found])
    return found


def _recorded(connection: Connection, pairs: Collection[Pair]) -> dict[Pair, int]:
    if not pairs:
        return {}
    columns = ("message_ref", "device_id", "platform", "attempts")
    # Without it SQLite would walk through all results of the message.
    rows = select_by_keys(connection, results, columns, sorted(pairs), "found.user_key >= x''")
    return {(ref, device_id): platform for ref, device_id, platform, attempts in rows if attempts > 0}


def _begun(connection: Connection, pairs: Sequence[Pair]) -> dict[Pair, int]:
    wanted = set(pairs)
    found: dict[Pair, int] = {}
    for ref, items in connection.execute(_BEGUN, {"refs": sorted({ref for ref, _ in wanted})}):
        platforms = {(ref, item.device_id): item.platform for item in unpack(items)}
        found.update((pair, platforms[pair]) for pair in wanted & platforms.keys())
    return found


def _interrupted(connection: Connection, pairs: Sequence[Pair]) -> Mapping[Pair, int]:
    """One device at a time, and looked for in the text: there may be more of these batches than memory should hold."""
    naming = _NAMING[connection.dialect.name]
    found: dict[Pair, int] = {}
    for ref, device_id in pairs:
        named = json.dumps(device_id, ensure_ascii=False)
        for started, interruptions, items in connection.execute(naming, {"ref": ref, "named": named}):
            for each in unpack(items):
                if each.device_id == device_id and (started or interruptions or each.attempts):
                    found[ref, device_id] = each.platform
    return found
