"""The lock of one application: whoever adds to it, or takes it away, takes it first."""

from sqlalchemy import Connection, select

from bellhop_server.domain.errors import ApplicationNotFound
from bellhop_server.store.tables import applications


def lock_application(connection: Connection, app_id: str) -> None:
    """Keeps an application as it is until the transaction ends. Raises ApplicationNotFound.

    On SQLite there is nothing to lock: one transaction writes at a time.
    """
    statement = select(applications.c.app_id).where(applications.c.app_id == app_id).with_for_update()
    if connection.execute(statement).one_or_none() is None:
        raise ApplicationNotFound(app_id)


def require_application(connection: Connection, app_id: str) -> None:
    """Raises ApplicationNotFound."""
    statement = select(applications.c.app_id).where(applications.c.app_id == app_id)
    if connection.execute(statement).one_or_none() is None:
        raise ApplicationNotFound(app_id)
