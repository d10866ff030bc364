"""Applications in SQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, delete, select, update

from bellhop_server.domain import Micros
from bellhop_server.domain.application import AnonymousPolicy, Application, BindingPolicy, Policy, Secret
from bellhop_server.domain.errors import ApplicationAlreadyExists, ApplicationNotFound
from bellhop_server.store.application_lock import lock_application
from bellhop_server.store.bulk import delete_some, insert_many
from bellhop_server.store.database import Database
from bellhop_server.store.recent_secrets import until_forgotten
from bellhop_server.store.secrets import add_secrets
from bellhop_server.store.tables import applications, credentials, messages, metadata, secrets

# What a message has: by its number.
_OF_MESSAGES = [table for table in metadata.sorted_tables if "message_ref" in table.c]
# What an application has: by its id.
_OF_APPLICATIONS = [table for table in metadata.sorted_tables if "app_id" in table.c and table is not applications]

# Rows that one transaction of a deletion takes, since others' writes wait for it on SQLite. Some rows are long.
_CHUNK = 500
_MESSAGES = 100


class SqlApplications:
    """Tenants. Part of `ports.ApplicationStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_application(self, application: Application, secrets: Sequence[Secret]) -> None:
        """See `ports.ApplicationStore`."""

        def create(connection: Connection) -> None:
            columns = (
                "app_id",
                "display_name",
                "anonymous_policy",
                "default_binding_ttl",
                "binding_policy",
                "create_time",
                "update_time",
            )
            row = (
                application.app_id,
                application.display_name,
                application.policy.anonymous_policy,
                application.policy.default_binding_ttl,
                application.policy.binding_policy,
                application.create_time,
                application.update_time,
            )
            if not insert_many(connection, applications, columns, [row], "DO NOTHING"):
                raise ApplicationAlreadyExists(application.app_id)
            # A call that ran beside the deletion of a former application of that name may have left something.
            _delete_content(connection, application.app_id)
            add_secrets(connection, secrets)

        await self._database.write(create)

    async def get_application(self, app_id: str) -> Application:
        """See `ports.ApplicationStore`."""
        statement = select(applications).where(applications.c.app_id == app_id)
        row = await self._database.read(lambda connection: connection.execute(statement).one_or_none())
        if row is None:
            raise ApplicationNotFound(app_id)
        return _application(row)

    async def list_applications(self, after: str, limit: int) -> list[Application]:
        """See `ports.ApplicationStore`."""
        page = select(applications).where(applications.c.app_id > after).order_by(applications.c.app_id).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(page).all())
        return [_application(row) for row in rows]

    async def update_application(
        self, app_id: str, now: Micros, display_name: str | None, policy: Policy | None
    ) -> Application:
        """See `ports.ApplicationStore`."""
        values: dict[str, Any] = {"update_time": now}
        if display_name is not None:
            values["display_name"] = display_name
        if policy is not None:
            values["anonymous_policy"] = policy.anonymous_policy
            values["default_binding_ttl"] = policy.default_binding_ttl
            values["binding_policy"] = policy.binding_policy
        statement = update(applications).where(applications.c.app_id == app_id).values(values).returning(applications)
        row = await self._database.write(lambda connection: connection.execute(statement).one_or_none())
        if row is None:
            raise ApplicationNotFound(app_id)
        return _application(row)

    async def delete_application(self, app_id: str) -> bool:
        """See `ports.ApplicationStore`. In bounded transactions; one that was broken off is ended by another call."""
        try:
            await self._database.write(lambda connection: _disarm(connection, app_id))
        except ApplicationNotFound:
            return False
        # Before its name is free for another one.
        await until_forgotten()
        some = select(messages.c.ref).where(messages.c.app_id == app_id).limit(_MESSAGES)
        while refs := await self._database.read(lambda connection: list(connection.execute(some).scalars())):
            for table in _OF_MESSAGES:
                await self._delete_all(table, table.c.message_ref.in_(refs))
            await self._delete_all(messages, messages.c.ref.in_(refs))
        for table in _OF_APPLICATIONS:
            await self._delete_all(table, table.c.app_id == app_id)

        def finish(connection: Connection) -> None:
            # First, since it locks: what locks the application to add something is seen here, or finds none any more.
            connection.execute(delete(applications).where(applications.c.app_id == app_id))
            _delete_content(connection, app_id)

        await self._database.write(finish)
        return True

    async def _delete_all(self, table: Table, condition: ColumnElement[bool]) -> None:
        while await self._database.write(lambda connection: delete_some(connection, table, condition, _CHUNK)):
            pass


def _disarm(connection: Connection, app_id: str) -> None:
    """Takes away what lets others in and what lets pushes out. Raises ApplicationNotFound."""
    lock_application(connection, app_id)
    connection.execute(delete(secrets).where(secrets.c.app_id == app_id, secrets.c.device_id == ""))
    connection.execute(delete(credentials).where(credentials.c.app_id == app_id))


def _delete_content(connection: Connection, app_id: str) -> None:
    refs = select(messages.c.ref).where(messages.c.app_id == app_id)
    for table in _OF_MESSAGES:
        connection.execute(delete(table).where(table.c.message_ref.in_(refs)))
    for table in _OF_APPLICATIONS:
        connection.execute(delete(table).where(table.c.app_id == app_id))


def _application(row: Row[Any]) -> Application:
    return Application(
        app_id=row.app_id,
        display_name=row.display_name,
        policy=Policy(
            AnonymousPolicy(row.anonymous_policy), row.default_binding_ttl, BindingPolicy(row.binding_policy)
        ),
        create_time=row.create_time,
        update_time=row.update_time,
    )
