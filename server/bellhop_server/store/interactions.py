"""Interactions in SQL. After a broadcast everybody reports at once: questions and reports go in groups, and what has
been reported before is not written again.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from bellhop_server.domain import Micros
from bellhop_server.domain.errors import BellhopError, DeviceNotFound, MessageNotFound
from bellhop_server.domain.interaction import Interaction, InteractionCount, Report
from bellhop_server.store.bulk import insert_many, select_by_keys
from bellhop_server.store.database import Database
from bellhop_server.store.group_writer import GroupWriter
from bellhop_server.store.handed_over import Pair, platforms_of
from bellhop_server.store.tables import devices, interaction_counts, interactions, messages

_COLUMNS = ("message_ref", "device_id", "interaction", "platform", "occur_time")
_DEVICE = ("app_id", "device_id")
_MESSAGE = ("app_id", "message_id", "ref", "accept_time")
_COUNT_COLUMNS = ("message_ref", "platform", "interaction", "count")
_ADD = "(message_ref, platform, interaction) DO UPDATE SET count = interaction_counts.count + excluded.count"

# Locked, so that retention takes none of them away meanwhile; who records results is not in the way of that.
_KEPT = (
    select(messages.c.ref)
    .where(messages.c.ref.in_(bindparam("refs", expanding=True)))
    .order_by(messages.c.ref)
    .with_for_update(read=True, key_share=True)
)


class _Row(NamedTuple):
    """What is to be written. `message_id` says of which message it is."""

    message_ref: int
    device_id: str
    interaction: int
    platform: int
    occur_time: Micros
    message_id: str


class SqlInteractions:
    """What devices report. Part of `ports.MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._questions = GroupWriter[Report, _Row | None](database.read, _look_up)
        self._rows = GroupWriter[_Row, bool](database.write, _write)

    async def report(self, report: Report) -> None:
        """See `ports.MessageStore`."""
        row = await self._questions.submit(report)
        if row is not None:
            await self._rows.submit(row)

    async def interaction_counts(self, refs: Sequence[int]) -> dict[int, list[InteractionCount]]:
        """See `ports.MessageStore`."""
        these = select(interaction_counts).where(interaction_counts.c.message_ref.in_(refs))
        these = these.order_by(interaction_counts.c.platform, interaction_counts.c.interaction)
        rows = await self._database.read(lambda connection: connection.execute(these).all())
        found: dict[int, list[InteractionCount]] = {ref: [] for ref in refs}
        for ref, platform, interaction, count in rows:
            found[ref].append(InteractionCount(platform, Interaction(interaction), count))
        return found

    async def interactions_of(self, ref: int, device_ids: Collection[str]) -> dict[str, list[Interaction]]:
        """See `ports.MessageStore`."""
        these = (
            select(interactions.c.device_id, interactions.c.interaction)
            .where(interactions.c.message_ref == ref, interactions.c.device_id.in_(list(device_ids)))
            .order_by(interactions.c.interaction)
        )
        found: dict[str, list[Interaction]] = defaultdict(list)
        for device_id, interaction in await self._database.read(lambda connection: connection.execute(these).all()):
            found[device_id].append(Interaction(interaction))
        return found

    async def close_interactions(self) -> None:
        """Finishes what was taken and takes no more."""
        await self._questions.aclose()
        await self._rows.aclose()


def _look_up(connection: Connection, reports: list[Report]) -> list[_Row | BellhopError | None]:
    """What each report comes to: None where it has been written before."""
    of_devices = sorted({(each.app_id, each.device_id) for each in reports})
    present = {(app_id, device_id) for app_id, device_id in select_by_keys(connection, devices, _DEVICE, of_devices)}
    of_messages = sorted({(each.app_id, each.message_id) for each in reports})
    rows = select_by_keys(connection, messages, _MESSAGE, of_messages)
    refs = {(app_id, message_id): message for app_id, message_id, *message in rows}
    pairs = sorted(
        {
            (refs[each.app_id, each.message_id][0], each.device_id)
            for each in reports
            if (each.app_id, each.message_id) in refs and (each.app_id, each.device_id) in present
        }
    )
    known = _known(connection, pairs)
    platforms = {(ref, device_id): platform for (ref, device_id, _), platform in known.items()}
    platforms |= platforms_of(connection, [pair for pair in pairs if pair not in platforms])
    answers: list[_Row | BellhopError | None] = []
    for each in reports:
        ref, accept_time = refs.get((each.app_id, each.message_id), (0, 0))
        platform = platforms.get((ref, each.device_id))
        if (each.app_id, each.device_id) not in present:
            answers.append(DeviceNotFound(each.device_id))
        elif platform is None:
            answers.append(MessageNotFound(each.message_id))
        elif (ref, each.device_id, each.interaction) in known:
            answers.append(None)
        else:
            occurred = max(accept_time, min(each.occur_time, each.now))
            answers.append(_Row(ref, each.device_id, int(each.interaction), platform, occurred, each.message_id))
    return answers


def _write(connection: Connection, rows: list[_Row]) -> list[bool | BellhopError]:
    """Writes what is not there yet, and counts it. True: it is new."""
    refs = sorted({row.message_ref for row in rows})
    kept = set(connection.execute(_KEPT, {"refs": refs}).scalars())
    if connection.dialect.name == "postgresql":
        # Of two groups for the same message the second sees what the first has written.
        connection.exec_driver_sql(
            "SELECT count(pg_advisory_xact_lock(key)) FROM unnest($1::bigint[]) AS key", (sorted(map(_lock_key, refs)),)
        )
    known = set(_known(connection, sorted({row[:2] for row in rows if row.message_ref in kept})))
    new: dict[tuple[int, str, int], _Row] = {}
    answers: list[bool | BellhopError] = []
    for row in rows:
        if row.message_ref not in kept:
            answers.append(MessageNotFound(row.message_id))
            continue
        answers.append(row[:3] not in known and row[:3] not in new)
        if answers[-1]:
            new[row[:3]] = row
    insert_many(connection, interactions, _COLUMNS, [row[:5] for row in new.values()])
    counts = Counter((row.message_ref, row.platform, row.interaction) for row in new.values())
    insert_many(
        connection,
        interaction_counts,
        _COUNT_COLUMNS,
        sorted((*key, count) for key, count in counts.items()),
        _ADD,
    )
    return answers


def _known(connection: Connection, pairs: Sequence[Pair]) -> dict[tuple[int, str, int], int]:
    """The network of each (message ref, device id, interaction) that has been written."""
    if not pairs:
        return {}
    rows = select_by_keys(connection, interactions, ("message_ref", "device_id", "interaction", "platform"), pairs)
    return {(ref, device_id, interaction): platform for ref, device_id, interaction, platform in rows}


def _lock_key(ref: int) -> int:
    return int.from_bytes(hashlib.blake2b(b"interactions/%d" % ref, digest_size=8).digest(), signed=True)
