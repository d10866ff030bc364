"""A group of registry commands in one transaction: lock what they touch, load it, apply the rules, save the difference.

On SQLite the one writer is the lock. On PostgreSQL two groups must not see the same thing at once, be it there yet or
not, so the order is always the same: first, sorted and in one statement, advisory locks on the name of every device,
target and user that a command gives (these keep out whoever would create it); then, sorted and in one statement, the
rows of devices (whoever changes a device holds its row); last the counter. A row found by its target that loses the
target or goes while we wait for it is not returned any more.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from bellhop_server.domain import Micros
from bellhop_server.domain.application import SecretKind
from bellhop_server.domain.device import Device, DeviceState, user_key
from bellhop_server.domain.errors import BellhopError
from bellhop_server.domain.picture import DeviceKey, Picture, TargetKey
from bellhop_server.domain.registration import (
    Expire,
    Register,
    RegistryAnswer,
    RegistryCommand,
    Unregister,
    UnregisterUser,
)
from bellhop_server.domain.registry import carry_out
from bellhop_server.store import device_rows
from bellhop_server.store.binding_rows import CHUNK, leaving, save_lateness
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.counter import next_number
from bellhop_server.store.registry_picture import load_picture, unnamed_targets
from bellhop_server.store.subscriptions import end_subscriptions
from bellhop_server.store.tables import devices, secrets

_SECRET_COLUMNS = ("digest", "app_id", "device_id", "kind", "create_time", "expire_time", "retire_time", "pending")
_REPLACE_KEY = """(digest, app_id, device_id) DO UPDATE SET
  expire_time = excluded.expire_time, retire_time = excluded.retire_time, pending = excluded.pending"""
_REPLACE_DEVICE = "(app_id, device_id) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in device_rows.COLUMNS[2:]
)


def apply_group(connection: Connection, commands: list[RegistryCommand]) -> list[RegistryAnswer | BellhopError]:
    """Carries the commands out in their order and answers each in its place; an error of the rules is an answer."""
    unnamed = unnamed_targets(connection, commands)
    if connection.dialect.name == "postgresql":
        _lock(connection, commands, unnamed)
    leavers = {each: leaving(connection, each) for each in commands if isinstance(each, UnregisterUser)}
    picture = load_picture(connection, commands, leavers, unnamed)
    epochs = _Epochs(connection, sum(map(_epochs_wanted, commands)))
    answers: list[RegistryAnswer | BellhopError] = []
    for command in commands:
        try:
            answer = carry_out(command, picture, epochs.next)
        except BellhopError as error:
            answers.append(error)
            continue
        if isinstance(command, UnregisterUser):
            answer = replace(answer, more=len(leavers[command]) == CHUNK)
        answers.append(answer)
    _save(connection, picture, max(command.now for command in commands))
    return answers


class _Epochs:
    """Binding epochs, drawn at once for the whole group when the first is needed. Those left over are lost."""

    def __init__(self, connection: Connection, wanted: int) -> None:
        self._connection = connection
        self._wanted = wanted
        self._drawn: Iterator[int] = iter(())

    def next(self) -> int:
        """One that was never given."""
        epoch = next(self._drawn, None)
        if epoch is not None:
            return epoch
        last = next_number(self._connection, "binding_epoch", self._wanted)
        self._drawn = iter(range(last - self._wanted + 1, last + 1))
        return next(self._drawn)


def _epochs_wanted(command: RegistryCommand) -> int:
    """As many as it may need, unless it meets bindings that have ended."""
    return len(command.device_ids) if isinstance(command, Expire) else 1


def _lock(connection: Connection, commands: Sequence[RegistryCommand], unnamed: Collection[TargetKey]) -> None:
    names = {("target", *key) for key in unnamed}
    for command in commands:
        if isinstance(command, UnregisterUser):
            names.add(("user", command.app_id, user_key(command.user_id)))
            continue
        if isinstance(command, Expire):
            continue  # It changes rows that are there, and no others.
        names.add(("device", command.app_id, command.device_id.encode()))
        if isinstance(command, Unregister):
            continue
        if command.target is not None:
            names.add(("target", command.app_id, command.target.digest))
        if isinstance(command, Register) and command.user_id is not None:
            # Whoever shows a bind grant binds its user, or is refused: so this keeps apart who shows the same one.
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


def _save(connection: Connection, picture: Picture, now: Micros) -> None:
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
    save_lateness(connection, picture)
    if picture.removed:
        end_subscriptions(connection, picture.removed, now)


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
