"""Schedules in SQL: messages that wait for their time."""

from sqlalchemy import BigInteger, ColumnElement, bindparam, func, literal_column, select, union_all, update

from bellhop_server.domain import Micros
from bellhop_server.domain.message import MessageState
from bellhop_server.domain.notification import Priority
from bellhop_server.store.database import Database
from bellhop_server.store.tables import messages

# Which time it is, is for the database to say, so that all processes mean the same. SQLite has no clock but that of the
# one process that has it open, which the caller reads.
_NOW: dict[str, ColumnElement[int]] = {
    "sqlite": bindparam("now", type_=BigInteger),
    "postgresql": literal_column("CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)", BigInteger),
}
_SCHEDULED = (~messages.c.planned, messages.c.state == MessageState.SCHEDULED)

# By priority, each along the index.
_FIRST = union_all(
    *(
        select(func.min(messages.c.fire_time).label("fire_time")).where(*_SCHEDULED, messages.c.priority == priority)
        for priority in Priority
    )
).subquery()
_UNTIL_FIRE = {dialect: select(func.min(_FIRST.c.fire_time) - now) for dialect, now in _NOW.items()}
_FIRE = {
    dialect: update(messages)
    .where(
        messages.c.ref.in_(
            select(messages.c.ref)
            .where(*_SCHEDULED, messages.c.priority.in_(list(Priority)), messages.c.fire_time <= now)
            .order_by(messages.c.fire_time, messages.c.ref)
            .limit(bindparam("limit"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(state=MessageState.SENDING)
    for dialect, now in _NOW.items()
}


class SqlSchedule:
    """Puts messages on their way when their time has come. Part of `ports.MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def until_fire(self, now: Micros) -> Micros | None:
        """See `ports.MessageStore`."""
        return await self._database.read(
            lambda connection: connection.execute(_UNTIL_FIRE[connection.dialect.name], {"now": now}).scalar_one()
        )

    async def fire(self, now: Micros, limit: int) -> int:
        """See `ports.MessageStore`."""
        values = {"now": now, "limit": limit}
        return await self._database.write(
            lambda connection: connection.execute(_FIRE[connection.dialect.name], values).rowcount
        )
