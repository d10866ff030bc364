"""Secrets in SQL: those of applications, and the look-up of any."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, or_, select, text, update

from bellhop_server.domain import Micros
from bellhop_server.domain.application import KnownSecret, Secret, SecretKind
from bellhop_server.domain.errors import QuotaExceeded, SecretNotFound
from bellhop_server.store.application_lock import lock_application, require_application
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.database import Database
from bellhop_server.store.group_writer import GroupWriter, Outcomes
from bellhop_server.store.recent_secrets import RecentSecrets, until_forgotten
from bellhop_server.store.tables import secrets

_COLUMNS = (
    "digest",
    "app_id",
    "device_id",
    "kind",
    "secret_id",
    "hint",
    "create_time",
    "expire_time",
    "last_use_time",
    "pending",
)

_TOUCH = text(
    "UPDATE secrets SET last_use_time = :time WHERE secret_id = :secret_id AND secret_id <> ''"
    " AND (last_use_time IS NULL OR last_use_time < :time)"
)


class SqlSecrets:
    """Client, app and device secrets. Part of `ports.ApplicationStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._look_ups: GroupWriter[Sequence[bytes], list[KnownSecret]] = GroupWriter(database.read, _look_up)
        self._recent = RecentSecrets()

    async def add_secret(self, secret: Secret, others_end: Micros, live_limit: int) -> None:
        """See `ports.ApplicationStore`."""
        same_kind = _live(secret.app_id, secret.create_time) & (secrets.c.kind == secret.kind)

        def add(connection: Connection) -> None:
            lock_application(connection, secret.app_id)
            later = or_(secrets.c.expire_time.is_(None), secrets.c.expire_time > others_end)
            connection.execute(update(secrets).where(same_kind, later).values(expire_time=others_end))
            live = connection.execute(select(func.count()).select_from(secrets).where(same_kind)).scalar_one()
            if live + 1 > live_limit:
                raise QuotaExceeded("secrets", live_limit)
            add_secrets(connection, [secret])

        await self._database.write(add)
        await until_forgotten()

    async def list_secrets(self, app_id: str, ended_after: Micros, after: str, limit: int) -> list[Secret]:
        """See `ports.ApplicationStore`."""
        condition = _live(app_id, ended_after) & (secrets.c.secret_id > after)
        page = select(secrets).where(condition).order_by(secrets.c.secret_id).limit(limit)

        def read(connection: Connection) -> Sequence[Row[Any]]:
            require_application(connection, app_id)
            return connection.execute(page).all()

        return [_secret(row) for row in await self._database.read(read)]

    async def end_secret(self, app_id: str, secret_id: str, now: Micros) -> Secret:
        """See `ports.ApplicationStore`."""
        condition = (secrets.c.app_id == app_id) & (secrets.c.secret_id == secret_id) & (secrets.c.secret_id != "")

        def end(connection: Connection) -> Row[Any] | None:
            lock_application(connection, app_id)
            later = or_(secrets.c.expire_time.is_(None), secrets.c.expire_time > now)
            connection.execute(update(secrets).where(condition, later).values(expire_time=now))
            return connection.execute(select(secrets).where(condition)).one_or_none()

        row = await self._database.write(end)
        if row is None:
            raise SecretNotFound(secret_id)
        await until_forgotten()
        return _secret(row)

    async def find_secrets(self, digests: Sequence[bytes]) -> list[KnownSecret]:
        """See `ports.ApplicationStore`. Calls that come together share one statement."""
        found = self._recent.get(digests)
        if found is None:
            asked = self._recent.monotonic()
            found = await self._look_ups.submit(digests)
            self._recent.remember(found, asked)
        return found

    async def settle_device_secret(self, app_id: str, device_id: str, digest: bytes, now: Micros) -> None:
        """See `ports.ApplicationStore`."""
        standing = (secrets.c.app_id == app_id) & (secrets.c.device_id == device_id) & secrets.c.retire_time.is_(None)
        this = standing & (secrets.c.digest == digest) & secrets.c.pending
        others = standing & (secrets.c.digest != digest)

        def settle(connection: Connection) -> None:
            if connection.execute(update(secrets).where(this).values(pending=False)).rowcount:
                connection.execute(update(secrets).where(others).values(retire_time=now, pending=False))

        await self._database.write(settle)

    async def touch_secrets(self, last_use: Mapping[str, Micros]) -> None:
        """See `ports.ApplicationStore`."""

        # In one order, so that two nodes that touch the same ones do not wait for each other.
        uses = [{"secret_id": secret_id, "time": time} for secret_id, time in sorted(last_use.items())]
        if uses:
            await self._database.write(lambda connection: connection.execute(_TOUCH, uses).rowcount)

    async def close_secrets(self) -> None:
        """Answers the look-ups that are under way and takes no more."""
        await self._look_ups.aclose()


def add_secrets(connection: Connection, new: Sequence[Secret]) -> None:
    """Inserts secrets of an application."""
    rows = [
        (
            secret.digest,
            secret.app_id,
            "",
            secret.kind,
            secret.secret_id,
            secret.hint,
            secret.create_time,
            secret.expire_time,
            secret.last_use_time,
            False,
        )
        for secret in new
    ]
    insert_many(connection, secrets, _COLUMNS, rows)


_BY_DIGEST = select(secrets).where(secrets.c.digest.in_(bindparam("digests", expanding=True)))


def _look_up(connection: Connection, questions: list[Sequence[bytes]]) -> Outcomes[list[KnownSecret]]:
    digests = {digest for question in questions for digest in question}
    found: dict[bytes, list[KnownSecret]] = {}
    for row in connection.execute(_BY_DIGEST, {"digests": list(digests)}):
        found.setdefault(row.digest, []).append(_known(row))
    return [[known for digest in dict.fromkeys(asked) for known in found.get(digest, ())] for asked in questions]


def _live(app_id: str, time: Micros) -> ColumnElement[bool]:
    """An application's own secrets that have not ended by that time."""
    own = (secrets.c.app_id == app_id) & (secrets.c.device_id == "")
    return own & or_(secrets.c.expire_time.is_(None), secrets.c.expire_time > time)


def _secret(row: Row[Any]) -> Secret:
    return Secret(
        secret_id=row.secret_id,
        app_id=row.app_id,
        kind=SecretKind(row.kind),
        digest=row.digest,
        hint=row.hint,
        create_time=row.create_time,
        expire_time=row.expire_time,
        last_use_time=row.last_use_time,
    )


def _known(row: Row[Any]) -> KnownSecret:
    return KnownSecret(
        app_id=row.app_id,
        kind=SecretKind(row.kind),
        digest=row.digest,
        secret_id=row.secret_id,
        device_id=row.device_id,
        expire_time=row.expire_time,
        retire_time=row.retire_time,
        pending=row.pending,
    )
