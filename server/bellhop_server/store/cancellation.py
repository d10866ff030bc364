"""Cancelling in SQL: one transaction after which nothing is planned any more, and nothing waits."""

from sqlalchemy import BigInteger, Connection, bindparam, case, false, select, true, update

from bellhop_server.domain import Micros
from bellhop_server.domain.batch import Recorded
from bellhop_server.domain.errors import MessageNotFound
from bellhop_server.domain.message import MessageState
from bellhop_server.store.database import Database
from bellhop_server.store.results import forget_requests_later
from bellhop_server.store.tables import batches, messages

_MESSAGE = (messages.c.app_id == bindparam("app")) & (messages.c.message_id == bindparam("id"))
_NOW = bindparam("now", type_=BigInteger)
_FINISHED = messages.c.finished_count == messages.c.device_count

# `planned`: whom it has not been resolved to by now, it never will be.
_CANCEL = (
    update(messages)
    .where(
        _MESSAGE,
        messages.c.state.in_((MessageState.SCHEDULED, MessageState.SENDING)),
        messages.c.cancel_time.is_(None),
    )
    .values(
        cancel_time=_NOW,
        planned=true(),
        state=case((_FINISHED, MessageState.CANCELLED), else_=messages.c.state),
        complete_time=case((_FINISHED, _NOW), else_=messages.c.complete_time),
    )
    .returning(messages.c.ref, messages.c.app_id, messages.c.message_id, messages.c.request_id, messages.c.state)
)
_KNOWN = select(messages.c.ref).where(_MESSAGE)
# What waits for another attempt waits no longer: there will be none. The rest has its turn anyhow, and to rewrite all
# batches of a large broadcast would hold up everybody else's writes.
_HURRY = (
    update(batches)
    .where(batches.c.message_ref == bindparam("ref"), batches.c.retry == true(), batches.c.lease_until == 0)
    .values(retry=false(), turn=0)
)


class SqlCancellation:
    """Takes messages back. Part of `ports.MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def cancel(self, app_id: str, message_id: str, now: Micros) -> Recorded:
        """See `ports.MessageStore`."""

        def cancel(connection: Connection) -> Recorded:
            values = {"app": app_id, "id": message_id}
            message = connection.execute(_CANCEL, values | {"now": now}).one_or_none()
            if message is None:
                ref = connection.execute(_KNOWN, values).scalar_one_or_none()
                if ref is None:
                    raise MessageNotFound(message_id)
                return Recorded(ref, 0, [], completed=False)
            connection.execute(_HURRY, {"ref": message.ref})
            completed = message.state == MessageState.CANCELLED
            if completed:
                forget_requests_later(connection, [message], now)
            return Recorded(message.ref, 0, [], completed)

        return await self._database.write(cancel)
