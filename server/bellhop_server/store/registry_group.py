"""A group of registry commands in one transaction: lock what they touch, load it, apply the rules, save the difference.

On SQLite the one writer is the lock. On PostgreSQL two groups must not see the same thing at once, be it there yet or
not, so the order is always the same: first, sorted and in one statement, advisory locks on the name of every device,
target and user that a command gives (these keep out whoever would create it); then, sorted and in one statement, the
rows of devices (whoever changes a device holds its row); last the counter. A row found by its target that loses the
target or goes while we wait for it is not returned any more.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, Select, and_, bindparam, func, literal_column, or_, select
from sqlalchemy.sql.expression import any_

from bellhop_server.domain.application import AnonymousPolicy, SecretKind
from bellhop_server.domain.device import Device, DeviceState, user_key
from bellhop_server.domain.errors import BellhopError
from bellhop_server.domain.picture import DeviceKey, DeviceSecret, Picture
from bellhop_server.domain.quota import UNVERIFIED_DEVICES
from bellhop_server.domain.registration import Register, RegistryAnswer, RegistryCommand, Unregister, UnregisterUser
from bellhop_server.domain.registry import carry_out
from bellhop_server.store import device_rows
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.counter import next_number
from bellhop_server.store.tables import applications, devices, secrets

_SECRET_COLUMNS = ("digest", "app_id", "device_id", "kind", "create_time", "expire_time", "retire_time", "pending")
_REPLACE_KEY = """(digest, app_id, device_id) DO UPDATE SET
  expire_time = excluded.expire_time, retire_time = excluded.retire_time, pending = excluded.pending"""
_REPLACE_DEVICE = "(app_id, device_id) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in device_rows.COLUMNS[2:]
)


def apply_group(connection: Connection, commands: list[RegistryCommand]) -> list[RegistryAnswer | BellhopError]:
    """Carries the commands out in their order and answers each in its place; an error of the rules is an answer."""
    if connection.dialect.name == "postgresql":
        _lock(connection, commands)
    queries = _queries(connection.dialect.name)
    picture = _load(connection, commands, queries)
    epochs = _Epochs(connection, sum(isinstance(command, Register) for command in commands))
    answers: list[RegistryAnswer | BellhopError] = []
    for command in commands:
        try:
            answers.append(carry_out(command, picture, epochs.next))
        except BellhopError as error:
            answers.append(error)
    _save(connection, picture)
    return answers


class _Epochs:
    """Binding epochs, drawn at once for the whole group when the first is needed. Those left over are lost."""

    def __init__(self, connection: Connection, most: int) -> None:
        self._connection = connection
        self._most = most
        self._drawn: Iterator[int] | None = None

    def next(self) -> int:
        """One that was never given."""
        if self._drawn is None:
            last = next_number(self._connection, "binding_epoch", self._most)
            self._drawn = iter(range(last - self._most + 1, last + 1))
        return next(self._drawn)


def _lock(connection: Connection, commands: Sequence[RegistryCommand]) -> None:
    names: set[tuple[str, str, bytes]] = set()
    for command in commands:
        if isinstance(command, UnregisterUser):
            names.add(("user", command.app_id, user_key(command.user_id)))
            continue
        names.add(("device", command.app_id, command.device_id.encode()))
        if isinstance(command, Unregister):
            continue
        if command.target is not None:
            names.add(("target", command.app_id, command.target.digest))
        if isinstance(command, Register) and command.user_id is not None:
            names.add(("user", command.app_id, user_key(command.user_id)))
    keys = sorted({_lock_key(*name) for name in names})
    # A plan that was kept from a small table would go on reading all of it once it is large.
    connection.exec_driver_sql(
        "SELECT set_config('plan_cache_mode', 'force_custom_plan', true), count(pg_advisory_xact_lock(key))"
        " FROM unnest($1::bigint[]) AS key",
        (keys,),
    )


def _lock_key(kind: str, app_id: str, name: bytes) -> int:
    digest = hashlib.blake2b(b"%s/%s/%s" % (kind.encode(), app_id.encode(), name), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _load(connection: Connection, commands: Sequence[RegistryCommand], queries: "_Queries") -> Picture:
    """Sets of names, not of pairs: what belongs to another application of the group does no harm."""
    named: set[str] = set()
    targets: set[bytes] = set()
    leavers: set[bytes] = set()
    presented: set[bytes] = set()
    bound: dict[tuple[str, bytes], str] = {}
    for command in commands:
        if isinstance(command, UnregisterUser):
            leavers.add(user_key(command.user_id))
            continue
        named.add(command.device_id)
        if command.proof.device_secret is not None:
            presented.add(command.proof.device_secret)
        if isinstance(command, Unregister):
            continue
        if command.target is not None:
            targets.add(command.target.digest)
        if isinstance(command, Register) and command.user_id is not None:
            bound[command.app_id, user_key(command.user_id)] = command.user_id

    names: dict[str, list[Any]] = {
        "apps": list({command.app_id for command in commands}),
        "device_ids": list(named),
        "targets": list(targets),
        "leavers": list(leavers),
    }
    policies = {app_id: AnonymousPolicy(policy) for app_id, policy in connection.execute(queries.applications, names)}
    found = device_rows.to_devices(connection.execute(queries.devices, names))

    names["device_ids"] = list(named.union(device.device_id for device in found))
    names["presented"] = list(presented)
    rows = list(connection.execute(queries.live_secrets, names))
    if presented:
        rows += connection.execute(queries.retired_secrets, names)
    keyrings: dict[DeviceKey, dict[bytes, DeviceSecret]] = defaultdict(dict)
    for app_id, device_id, digest, create_time, pending, retire_time, expire_time in rows:
        keyrings[app_id, device_id][digest] = DeviceSecret(create_time, bool(pending), retire_time, expire_time)

    counts = {(app_id, user_id): 0 for (app_id, _), user_id in bound.items()}
    if bound:
        names["users"] = list({key for _, key in bound})
        for app_id, key, count in connection.execute(queries.user_counts, names):
            if (app_id, key) in bound:
                counts[app_id, bound[app_id, key]] = count

    def count_unverified(app_id: str) -> int:
        return connection.execute(queries.unverified_count, {"app_id": app_id}).scalar_one()

    return Picture(found, keyrings, policies, counts, count_unverified)


class _Queries:
    """What is asked of the database, made once for each of the two."""

    def __init__(self, dialect: str) -> None:
        def among(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
            # On PostgreSQL a set is one parameter: each number of parameters would be another statement to prepare.
            if dialect == "sqlite":
                return column.in_(bindparam(name, expanding=True))
            return column == any_(bindparam(name, type_=ARRAY(column.type)))

        # Locked, so that none is deleted while a device is being added to it.
        self.applications: Select[Any] = (
            select(applications.c.app_id, applications.c.anonymous_policy)
            .where(among(applications.c.app_id, "apps"))
            .order_by(applications.c.app_id)
            .with_for_update(read=True, key_share=True)
        )
        # The application in each branch, so that each finds an index of its own.
        in_apps = among(devices.c.app_id, "apps")
        # A literal state, or SQLite has no use for the partial indexes.
        verified: ColumnElement[bool] = literal_column("devices.state != 3")
        self.devices: Select[Any] = (
            select(*(devices.c[name] for name in device_rows.COLUMNS))
            .where(
                or_(
                    and_(in_apps, among(devices.c.device_id, "device_ids")),
                    and_(in_apps, among(devices.c.target_digest, "targets"), verified),
                    and_(in_apps, among(devices.c.user_key, "leavers")),
                )
            )
            .order_by(devices.c.app_id, devices.c.device_id)
            .with_for_update()
        )
        names = ("app_id", "device_id", "digest", "create_time", "pending", "retire_time", "expire_time")
        of_devices: Select[Any] = select(*(secrets.c[name] for name in names)).where(
            among(secrets.c.app_id, "apps"),
            among(secrets.c.device_id, "device_ids"),
            secrets.c.kind == SecretKind.DEVICE.value,
        )
        self.live_secrets = of_devices.where(secrets.c.retire_time.is_(None))
        self.retired_secrets = of_devices.where(
            secrets.c.retire_time.is_not(None), among(secrets.c.digest, "presented")
        )
        self.user_counts: Select[Any] = (
            select(devices.c.app_id, devices.c.user_key, func.count())
            .where(in_apps, among(devices.c.user_key, "users"))
            .group_by(devices.c.app_id, devices.c.user_key)
        )
        unverified: ColumnElement[bool] = literal_column("devices.state = 3")
        some: Select[Any] = select(devices.c.app_id).where(devices.c.app_id == bindparam("app_id"), unverified)
        # Beyond the limit and what a group takes out it does not matter how many they are.
        self.unverified_count = select(func.count()).select_from(some.limit(2 * UNVERIFIED_DEVICES).subquery())


_queries = cache(_Queries)


def _save(connection: Connection, picture: Picture) -> None:
    # What leaves a target goes first, wholly: rows come back in any order, and no two may hold one target for a moment.
    gone: list[DeviceKey] = []
    rows: list[tuple[Any, ...]] = []
    for key in sorted(picture.touched):
        before, after = picture.loaded.get(key), picture.device(key)
        if before is not None and (after is None or _leaves_target(before, after)):
            gone.append(key)
        if after is not None and after is not before:
            rows.append(device_rows.to_row(after))
    if gone:
        _delete(connection, gone)
    insert_many(connection, devices, device_rows.COLUMNS, rows, _REPLACE_DEVICE)
    changed = [
        (
            digest,
            *key,
            SecretKind.DEVICE.value,
            secret.create_time,
            secret.farewell_until,
            secret.retire_time,
            secret.pending,
        )
        for key, keyring in picture.keyrings.items()
        for digest, secret in keyring.changed.items()
    ]
    changed.sort(key=lambda row: row[:3])
    insert_many(connection, secrets, _SECRET_COLUMNS, changed, _REPLACE_KEY)


def _leaves_target(before: Device, after: Device) -> bool:
    return before.state is not DeviceState.UNVERIFIED and (
        after.state is DeviceState.UNVERIFIED or before.target.digest != after.target.digest
    )


def _delete(connection: Connection, keys: list[DeviceKey]) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("DELETE FROM devices WHERE app_id = ? AND device_id = ?", list(keys))
    else:
        connection.exec_driver_sql(
            "DELETE FROM devices USING unnest($1::text[], $2::text[]) AS gone (app_id, device_id)"
            " WHERE devices.app_id = gone.app_id AND devices.device_id = gone.device_id",
            tuple(map(list, zip(*keys, strict=True))),
        )
