"""A group of registry commands in one transaction: lock what they touch, load it, apply the rules, save the difference.

On SQLite the one writer is the lock. On PostgreSQL two groups must not see the same thing at once, be it there yet or
not, so the order is always the same: first, sorted and in one statement, advisory locks on the name of every device,
target and user that a command gives (these keep out whoever would create it); then, sorted and in one statement, the
rows of devices (whoever changes a device holds its row); last the counter. A row found by its target that loses the
target or goes while we wait for it is not returned any more.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Connection, and_, bindparam, func, or_, select
from sqlalchemy.sql.expression import any_

from bellhop_server.domain.application import SecretKind
from bellhop_server.domain.device import Device, DeviceState, user_key
from bellhop_server.domain.errors import BellhopError, CredentialsInvalid
from bellhop_server.domain.picture import DeviceKey, DeviceSecret, Picture
from bellhop_server.domain.registration import Register, RegistryAnswer, RegistryCommand, Unregister, UnregisterUser
from bellhop_server.domain.registry import UNVERIFIED_DEVICES, carry_out
from bellhop_server.store import device_rows
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.tables import applications, devices, secrets

_SECRET_COLUMNS = ("digest", "app_id", "device_id", "kind", "create_time", "expire_time", "retire_time", "pending")
_REPLACE_KEY = """(digest, app_id, device_id) DO UPDATE SET
  expire_time = excluded.expire_time, retire_time = excluded.retire_time, pending = excluded.pending"""
_REPLACE_DEVICE = "(app_id, device_id) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in device_rows.COLUMNS[2:]
)
_DEVICE_COLUMNS = [devices.c[name] for name in device_rows.COLUMNS]


def apply_group(connection: Connection, commands: list[RegistryCommand]) -> list[RegistryAnswer | BellhopError]:
    """Carries the commands out in their order and answers each in its place; an error of the rules is an answer."""
    if connection.dialect.name == "postgresql":
        _lock(connection, commands)
    known = _known_applications(connection, commands)
    picture = _load(connection, commands)
    epochs = _Epochs(connection, sum(isinstance(command, Register) for command in commands))
    answers: list[RegistryAnswer | BellhopError] = []
    for command in commands:
        try:
            if command.app_id not in known:
                # Deleted since its secret was looked at; that application's secrets are worth nothing any more.
                raise CredentialsInvalid
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
            last = self._connection.exec_driver_sql(
                f"INSERT INTO counters (name, value) VALUES ('binding_epoch', {self._most})"  # noqa: S608 - a number
                " ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value RETURNING value"
            ).scalar_one()
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
    connection.exec_driver_sql("SELECT count(pg_advisory_xact_lock(key)) FROM unnest($1::bigint[]) AS key", (keys,))


def _lock_key(kind: str, app_id: str, name: bytes) -> int:
    digest = hashlib.blake2b(b"%s/%s/%s" % (kind.encode(), app_id.encode(), name), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _known_applications(connection: Connection, commands: Sequence[RegistryCommand]) -> set[str]:
    # Locked, so that none is deleted while a device is being added to it.
    apps = {command.app_id for command in commands}
    query = select(applications.c.app_id).where(_among(connection, applications.c.app_id, apps))
    return set(connection.scalars(query.order_by(applications.c.app_id).with_for_update(read=True, key_share=True)))


def _load(connection: Connection, commands: Sequence[RegistryCommand]) -> Picture:
    """Sets of names, not of pairs: what belongs to another application of the group does no harm."""
    apps = {command.app_id for command in commands}
    named: set[str] = set()
    targets: set[bytes] = set()
    binds: dict[tuple[str, bytes], str] = {}
    leavers: set[bytes] = set()
    presented: set[bytes] = set()
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
            binds[command.app_id, user_key(command.user_id)] = command.user_id

    found = _load_devices(connection, apps, named, targets, leavers)
    named.update(device.device_id for device in found)
    return Picture(
        found,
        _load_secrets(connection, apps, named, presented),
        _count_devices_of(connection, apps, binds),
        lambda app_id: _count_unverified(connection, app_id),
    )


def _load_devices(
    connection: Connection, apps: set[str], named: set[str], targets: set[bytes], leavers: set[bytes]
) -> list[Device]:
    in_apps = _among(connection, devices.c.app_id, apps)
    # The application in each branch, so that each finds an index of its own.
    branches = []
    if named:
        branches.append(and_(in_apps, _among(connection, devices.c.device_id, named)))
    if targets:
        verified = devices.c.state != DeviceState.UNVERIFIED.value
        branches.append(and_(in_apps, _among(connection, devices.c.target_digest, targets), verified))
    if leavers:
        branches.append(and_(in_apps, _among(connection, devices.c.user_key, leavers)))
    query = select(*_DEVICE_COLUMNS).where(or_(*branches))
    rows = connection.execute(query.order_by(devices.c.app_id, devices.c.device_id).with_for_update())
    return [device_rows.to_device(row) for row in rows]


def _load_secrets(
    connection: Connection, apps: set[str], device_ids: set[str], presented: set[bytes]
) -> dict[DeviceKey, dict[bytes, DeviceSecret]]:
    columns = [secrets.c[name] for name in ("app_id", "device_id", "digest")]
    columns += [secrets.c[name] for name in ("create_time", "pending", "retire_time", "expire_time")]
    of_devices = and_(
        _among(connection, secrets.c.app_id, apps),
        _among(connection, secrets.c.device_id, device_ids),
        secrets.c.kind == SecretKind.DEVICE.value,
    )
    rows = list(connection.execute(select(*columns).where(of_devices, secrets.c.retire_time.is_(None))))
    if presented:
        known = _among(connection, secrets.c.digest, presented)
        rows += connection.execute(select(*columns).where(of_devices, known, secrets.c.retire_time.is_not(None)))
    keyrings: dict[DeviceKey, dict[bytes, DeviceSecret]] = defaultdict(dict)
    for app_id, device_id, digest, create_time, pending, retire_time, expire_time in rows:
        keyrings[app_id, device_id][digest] = DeviceSecret(create_time, bool(pending), retire_time, expire_time)
    return keyrings


def _count_devices_of(
    connection: Connection, apps: set[str], users: dict[tuple[str, bytes], str]
) -> dict[tuple[str, str], int]:
    counts = {(app_id, user_id): 0 for (app_id, _), user_id in users.items()}
    if not users:
        return counts
    query = (
        select(devices.c.app_id, devices.c.user_key, func.count())
        .where(
            _among(connection, devices.c.app_id, apps),
            _among(connection, devices.c.user_key, {key for _, key in users}),
        )
        .group_by(devices.c.app_id, devices.c.user_key)
    )
    for app_id, key, count in connection.execute(query):
        if (app_id, key) in users:
            counts[app_id, users[app_id, key]] = count
    return counts


def _count_unverified(connection: Connection, app_id: str) -> int:
    """Up to the limit; the devices of the group among them."""
    some = select(1).where(devices.c.app_id == app_id, devices.c.state == 3).limit(UNVERIFIED_DEVICES).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


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


def _among(connection: Connection, column: ColumnElement[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """A set as one parameter on PostgreSQL, where each number of parameters would be another statement to prepare."""
    if connection.dialect.name == "sqlite":
        return column.in_(list(values))
    return column == any_(bindparam(None, list(values), type_=ARRAY(column.type)))
