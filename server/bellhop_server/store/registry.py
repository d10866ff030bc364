"""Devices in SQL: commands in groups, and everything that is read of them."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, func, not_, select

from bellhop_server.domain import Micros
from bellhop_server.domain.device import DeadTarget, Device, user_key
from bellhop_server.domain.errors import DeviceNotFound
from bellhop_server.domain.guard import LEAST_DOUBT, MOST_REFUSALS
from bellhop_server.domain.query import DeviceQuery
from bellhop_server.domain.registration import RegistryAnswer, RegistryCommand
from bellhop_server.domain.tag import BUILT_IN
from bellhop_server.store import device_rows
from bellhop_server.store.binding_rows import bound_at
from bellhop_server.store.database import Database
from bellhop_server.store.group_writer import GroupWriter
from bellhop_server.store.registry_group import apply_group
from bellhop_server.store.subscriptions import has_tag
from bellhop_server.store.tables import devices

# Three advisory locks a command at most, and PostgreSQL has some 6,000 by default for all of its connections.
_GROUP_LIMIT = 256

_COLUMNS = [devices.c[name] for name in device_rows.COLUMNS]

_RETIRE_SQLITE = """UPDATE devices SET state = 2
  WHERE app_id = ? AND device_id = ? AND target_digest = ? AND target_time <= ? AND state = 1"""
_ACCEPT_SQLITE = """UPDATE devices SET target_accepted = true, refusals = 0, refused_since = NULL
  WHERE app_id = ? AND device_id = ? AND target_digest = ? AND (NOT target_accepted OR refusals > 0)"""
_REFUSED = """refusals = devices.refusals + 1, refused_since = coalesce(devices.refused_since, {now}),
  state = CASE WHEN devices.refusals + 1 >= {most} AND coalesce(devices.refused_since, {now}) <= {since}
    THEN 2 ELSE devices.state END"""
_REFUSE_SQLITE = f"""UPDATE devices SET {_REFUSED.format(now="?1", most="?2", since="?3")}
  WHERE app_id = ?4 AND device_id = ?5 AND target_digest = ?6 AND target_time <= ?7 AND state = 1"""  # noqa: S608 - ours
# Rows are locked in the order of their ids, as registrations do, so that neither waits for the other in a circle.
_RETIRE_POSTGRESQL = """UPDATE devices SET state = 2 FROM (
    SELECT found.device_id FROM devices AS found
      JOIN unnest($2::text[], $3::bytea[], $4::bigint[]) AS dead (device_id, target_digest, target_time)
        ON found.device_id = dead.device_id AND found.target_digest = dead.target_digest
          AND found.target_time <= dead.target_time
      WHERE found.app_id = $1 AND found.state = 1
      ORDER BY found.device_id FOR UPDATE OF found) AS locked
  WHERE devices.app_id = $1 AND devices.device_id = locked.device_id"""
_ACCEPT_POSTGRESQL = """UPDATE devices SET target_accepted = true, refusals = 0, refused_since = NULL FROM (
    SELECT found.device_id FROM devices AS found
      JOIN unnest($2::text[], $3::bytea[]) AS taken (device_id, target_digest)
        ON found.device_id = taken.device_id AND found.target_digest = taken.target_digest
      WHERE found.app_id = $1 AND (NOT found.target_accepted OR found.refusals > 0)
      ORDER BY found.device_id FOR UPDATE OF found) AS locked
  WHERE devices.app_id = $1 AND devices.device_id = locked.device_id"""
_REFUSE_POSTGRESQL = _RETIRE_POSTGRESQL.replace(
    "state = 2", _REFUSED.format(now="$5::bigint", most="$6::smallint", since="$7::bigint"), 1
)


class SqlDevices:
    """Who is where. `ports.DeviceStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._commands: GroupWriter[RegistryCommand, RegistryAnswer] = GroupWriter(
            database.write, apply_group, group_limit=_GROUP_LIMIT
        )

    async def execute(
        self, command: RegistryCommand, committed: Callable[[RegistryAnswer], None] | None = None
    ) -> RegistryAnswer:
        """See `ports.DeviceStore`."""
        return await self._commands.submit(command, committed)

    async def get_device(self, app_id: str, device_id: str) -> Device:
        """See `ports.DeviceStore`."""
        statement = select(*_COLUMNS).where(devices.c.app_id == app_id, devices.c.device_id == device_id)
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        if not rows:
            raise DeviceNotFound(device_id)
        return device_rows.to_devices(rows)[0]

    async def list_devices(self, query: DeviceQuery, after: str, limit: int) -> list[Device]:
        """See `ports.DeviceStore`."""
        page = _filtered(select(*_COLUMNS), query, after).order_by(devices.c.device_id).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(page).all())
        return device_rows.to_devices(rows)

    async def count_devices(self, query: DeviceQuery) -> int:
        """See `ports.DeviceStore`."""
        count = _filtered(select(func.count()).select_from(devices), query)
        return await self._database.read(lambda connection: connection.execute(count).scalar_one())

    async def ended_bindings(self, now: Micros, limit: int) -> list[tuple[str, str]]:
        """See `ports.DeviceStore`."""
        end = devices.c.binding_expire_time
        some = select(devices.c.app_id, devices.c.device_id).where(end <= now).order_by(end).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(some).all())
        return [(app_id, device_id) for app_id, device_id in rows]

    async def retire_targets(self, app_id: str, dead: Sequence[DeadTarget]) -> int:
        """See `ports.DeviceStore`."""
        if not dead:
            return 0

        def retire(connection: Connection) -> int:
            if connection.dialect.name == "sqlite":
                rows = [(app_id, target.device_id, target.target_digest, target.target_time) for target in dead]
                return connection.exec_driver_sql(_RETIRE_SQLITE, rows).rowcount
            ids = [target.device_id for target in dead]
            digests = [target.target_digest for target in dead]
            times = [target.target_time for target in dead]
            return connection.exec_driver_sql(_RETIRE_POSTGRESQL, (app_id, ids, digests, times)).rowcount

        return await self._database.write(retire)

    async def mark_accepted(self, app_id: str, taken: Sequence[tuple[str, bytes]]) -> None:
        """See `ports.DeviceStore`."""
        if not taken:
            return

        def mark(connection: Connection) -> None:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql(_ACCEPT_SQLITE, [(app_id, *pair) for pair in taken])
            else:
                ids, digests = map(list, zip(*taken, strict=True))
                connection.exec_driver_sql(_ACCEPT_POSTGRESQL, (app_id, ids, digests))

        await self._database.write(mark)

    async def note_refusals(self, app_id: str, doubted: Sequence[DeadTarget], now: Micros) -> None:
        """See `ports.DeviceStore`."""
        if not doubted:
            return
        how = (now, MOST_REFUSALS, now - LEAST_DOUBT)

        def refuse(connection: Connection) -> None:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql(
                    _REFUSE_SQLITE,
                    [(*how, app_id, each.device_id, each.target_digest, each.target_time) for each in doubted],
                )
            else:
                rows = [(each.device_id, each.target_digest, each.target_time) for each in doubted]
                ids, digests, times = map(list, zip(*rows, strict=True))
                connection.exec_driver_sql(_REFUSE_POSTGRESQL, (app_id, ids, digests, times, *how))

        await self._database.write(refuse)

    async def close_devices(self) -> None:
        await self._commands.aclose()


def _filtered(statement: Select[Any], query: DeviceQuery, after: str = "") -> Select[Any]:
    statement = statement.where(devices.c.app_id == query.app_id)
    bound = bound_at(query.now)
    if query.user_id:
        statement = statement.where(devices.c.user_key == user_key(query.user_id), bound)
    if query.platforms:
        statement = statement.where(devices.c.platform.in_([platform.value for platform in query.platforms]))
    if query.states:
        statement = statement.where(devices.c.state.in_([state.value for state in query.states]))
    if query.anonymous is not None:
        statement = statement.where(not_(bound) if query.anonymous else bound)
    if query.tag_name and query.tag_name != BUILT_IN:
        return statement.where(has_tag(query.app_id, query.tag_name, bound, after))
    return statement.where(devices.c.device_id > after)
