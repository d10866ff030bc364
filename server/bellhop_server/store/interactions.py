"""Interactions in SQL, many reports in one transaction."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, or_, select

from bellhop_server.domain.errors import BellhopError, DeviceNotFound, MessageNotFound
from bellhop_server.domain.interaction import Interaction, InteractionCount, Report
from bellhop_server.store.batch_rows import unpack
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.database import Database
from bellhop_server.store.group_writer import GroupWriter
from bellhop_server.store.tables import batches, devices, interaction_counts, interactions, messages, results

_COLUMNS = ("message_ref", "device_id", "interaction", "platform", "occur_time")
_COUNT_COLUMNS = ("message_ref", "platform", "interaction", "count")
_ADD = """(message_ref, platform, interaction) DO UPDATE SET count = interaction_counts.count + excluded.count"""


class SqlInteractions:
    """What devices report. Part of `ports.MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reports: GroupWriter[Report, None] = GroupWriter(database.write, _note)

    async def report(self, report: Report) -> None:
        """See `ports.MessageStore`."""
        await self._reports.submit(report)

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
        await self._reports.aclose()


def _note(connection: Connection, reports: list[Report]) -> list[BellhopError | None]:
    # Of two groups that count for the same message on PostgreSQL the second waits, and none waits in a circle.
    places = sorted(range(len(reports)), key=lambda place: (reports[place].app_id, reports[place].message_id))
    answers: list[BellhopError | None] = [None] * len(reports)
    for place in places:
        try:
            _note_one(connection, reports[place])
        except BellhopError as error:
            answers[place] = error
    return answers


def _note_one(connection: Connection, report: Report) -> None:
    """Raises DeviceNotFound, MessageNotFound."""
    device = (devices.c.app_id == report.app_id) & (devices.c.device_id == report.device_id)
    if connection.execute(select(devices.c.device_id).where(device)).one_or_none() is None:
        raise DeviceNotFound(report.device_id)
    this = (messages.c.app_id == report.app_id) & (messages.c.message_id == report.message_id)
    message = connection.execute(select(messages.c.ref, messages.c.accept_time).where(this)).one_or_none()
    platform = None if message is None else _sent(connection, message.ref, report.device_id)
    if message is None or platform is None:
        raise MessageNotFound(report.message_id)
    occurred = min(max(report.occur_time, message.accept_time), report.now)
    row = (message.ref, report.device_id, int(report.interaction), platform, occurred)
    if insert_many(connection, interactions, _COLUMNS, [row], "DO NOTHING"):
        count = (message.ref, platform, int(report.interaction), 1)
        insert_many(connection, interaction_counts, _COUNT_COLUMNS, [count], _ADD)


def _sent(connection: Connection, ref: int, device_id: str) -> int | None:
    """The network by which the message was handed over to the device; None: it was not.

    A push may be reported before its result is committed: then the device is in a batch that has been started.
    """
    handed_over = select(results.c.platform).where(
        results.c.message_ref == ref, results.c.device_id == device_id, results.c.attempts > 0
    )
    platform: int | None = connection.execute(handed_over.limit(1)).scalar_one_or_none()
    if platform is not None:
        return platform
    begun = or_(batches.c.started, batches.c.interruptions > 0)
    waiting = select(batches.c["items"], begun).where(batches.c.message_ref == ref, or_(begun, batches.c.retry))
    for text, is_begun in connection.execute(waiting).all():
        for item in unpack(text):
            if item.device_id == device_id and (is_begun or item.attempts):
                return item.platform
    return None
