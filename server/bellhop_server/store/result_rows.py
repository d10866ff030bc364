"""Rows of results, and their numbers by outcome."""

from collections import Counter
from collections.abc import Iterable, Mapping
from operator import itemgetter

from sqlalchemy import Connection

from bellhop_server.domain.device import user_key
from bellhop_server.domain.message import Result
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.tables import outcome_counts, results

# Message ref, network, outcome.
Pair = tuple[int, int, int]

_COLUMNS = (
    "message_ref",
    "platform",
    "outcome",
    "seq",
    "user_key",
    "device_id",
    "user_id",
    "reason",
    "provider_status",
    "provider_message_id",
    "attempts",
    "result_time",
    "invalid_since",
)


def insert_results(connection: Connection, numbered: Iterable[tuple[int, int, Result]]) -> Counter[Pair]:
    """Writes (message ref, seq, result); returns how many there are of each (message ref, network, outcome).

    Raises IntegrityError where a device of a message has one already.
    """
    rows = []
    for ref, seq, (device_id, user_id, platform, outcome, *rest) in numbered:
        key = user_key(user_id) if user_id else b""
        # Plain integers: SQLite's driver is slow at subclasses.
        rows.append((ref, int(platform), int(outcome), seq, key, device_id, user_id, *rest))
    insert_many(connection, results, _COLUMNS, rows)
    return Counter(map(itemgetter(0, 1, 2), rows))


def count_results(connection: Connection, counts: Mapping[Pair, int]) -> None:
    """Adds to the numbers of results by (message ref, network, outcome)."""
    insert_many(
        connection,
        outcome_counts,
        ("message_ref", "platform", "outcome", "count"),
        sorted((*pair, count) for pair, count in counts.items()),
        "(message_ref, platform, outcome) DO UPDATE SET count = outcome_counts.count + excluded.count",
    )
