"""The part of the registry that a group of commands touches, read into memory."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.expression import any_

from bellhop_server.domain import Micros
from bellhop_server.domain.application import AnonymousPolicy, BindingPolicy, Policy, SecretKind
from bellhop_server.domain.device import user_key
from bellhop_server.domain.grant import GrantUse
from bellhop_server.domain.picture import DeviceKey, DeviceSecret, GrantKey, LoginKey, Picture, TargetKey
from bellhop_server.domain.quota import UNVERIFIED_DEVICES
from bellhop_server.domain.registration import Expire, Register, RegistryCommand, Unregister, UnregisterUser, Update
from bellhop_server.store import device_rows
from bellhop_server.store.tables import applications, binding_generations, devices, grant_uses, revocations, secrets


def unnamed_targets(connection: Connection, commands: Sequence[RegistryCommand]) -> set[TargetKey]:
    """The targets, as they are just now, of devices that are to be proved to have them, by commands that name none.

    If one changes before it is locked, the nonce of the command is void, and nobody asks who has the other one.
    """
    proving = {
        (command.app_id, command.device_id)
        for command in commands
        if isinstance(command, Register | Update) and command.target is None and command.target_nonce is not None
    }
    if not proving:
        return set()
    names = {"apps": list({app_id for app_id, _ in proving}), "device_ids": list({each for _, each in proving})}
    rows = connection.execute(_queries(connection.dialect.name).unnamed_targets, names)
    return {(app_id, digest) for app_id, device_id, digest in rows if (app_id, device_id) in proving}


def load_picture(
    connection: Connection,
    commands: Sequence[RegistryCommand],
    leavers: Mapping[UnregisterUser, list[str]],
    unnamed: Collection[TargetKey],
) -> Picture:
    """What the rules need to carry the commands out. `leavers`: the devices that each UnregisterUser takes out.

    `unnamed`: see `unnamed_targets`. Looked up by sets of names, not of pairs: what belongs to another application of
    the group does no harm.
    """
    queries = _queries(connection.dialect.name)
    named = {device_id for device_ids in leavers.values() for device_id in device_ids}
    targets = {digest for _, digest in unnamed}
    presented: set[bytes] = set()
    bound: dict[tuple[str, bytes], str] = {}
    numbered: set[str] = set()
    grants: set[str] = set()
    now = since = commands[0].now
    for command in commands:
        now = max(now, command.now)
        if isinstance(command, UnregisterUser):
            continue
        if isinstance(command, Expire):
            named.update(command.device_ids)
            continue
        named.add(command.device_id)
        if command.proof.device_secret is not None:
            presented.add(command.proof.device_secret)
        if isinstance(command, Register | Unregister) and command.binding_generation is not None:
            numbered.add(command.device_id)
        if isinstance(command, Unregister):
            continue
        if command.target is not None:
            targets.add(command.target.digest)
        if isinstance(command, Register) and command.user_id is not None:
            bound[command.app_id, user_key(command.user_id)] = command.user_id
            since = min(since, command.received)
            if command.grant is not None:
                since = min(since, command.grant.issue_time)
                grants.add(command.grant.grant_id)

    names: dict[str, Any] = {
        "apps": list({command.app_id for command in commands}),
        "device_ids": list(named),
        "targets": list(targets),
    }
    policies = {
        app_id: Policy(AnonymousPolicy(anonymous), ttl, BindingPolicy(binding))
        for app_id, anonymous, ttl, binding in connection.execute(queries.applications, names)
    }
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
    revocations: dict[LoginKey, Micros] = {}
    if bound:
        names |= {"users": list({key for _, key in bound}), "now": now, "since": since}
        for app_id, key, session_id, number in connection.execute(queries.of_users, names):
            user_id = bound.get((app_id, key))
            if user_id is None:
                continue
            if session_id is None:
                counts[app_id, user_id] = number
            else:
                revocations[app_id, user_id, session_id] = number
        for device in found:
            # The query has left these out, and the picture takes them off when it ends their binding.
            if device.as_of(now) is not device and (device.app_id, device.user_id) in counts:
                counts[device.app_id, str(device.user_id)] += 1

    def count_unverified(app_id: str) -> int:
        return connection.execute(queries.unverified_count, {"app_id": app_id}).scalar_one()

    generations: dict[DeviceKey, int] = {}
    if numbered:
        names["numbered"] = list(numbered)
        for app_id, device_id, generation in connection.execute(queries.generations, names):
            generations[app_id, device_id] = generation

    uses: dict[GrantKey, GrantUse] = {}
    if grants:
        for app_id, grant_id, *use in connection.execute(queries.grant_uses, names | {"grants": list(grants)}):
            uses[app_id, grant_id] = GrantUse._make(use)

    return Picture(found, keyrings, policies, counts, count_unverified, generations, revocations, uses)


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
            select(
                applications.c.app_id,
                applications.c.anonymous_policy,
                applications.c.default_binding_ttl,
                applications.c.binding_policy,
            )
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
                )
            )
            .order_by(devices.c.app_id, devices.c.device_id)
            .with_for_update()
        )
        self.unnamed_targets: Select[Any] = select(
            devices.c.app_id, devices.c.device_id, devices.c.target_digest
        ).where(in_apps, among(devices.c.device_id, "device_ids"))
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
        # Two answers in one statement: how many devices each user has, and (with a session, be it empty) which of
        # their logins were ended since.
        end = devices.c.binding_expire_time
        counts = (
            select(devices.c.app_id, devices.c.user_key, cast(null(), Text), func.count())
            .where(in_apps, among(devices.c.user_key, "users"), or_(end.is_(None), end > bindparam("now")))
            .group_by(devices.c.app_id, devices.c.user_key)
        )
        ended = revocations.c
        self.of_users = union_all(
            counts,
            select(ended.app_id, ended.user_key, ended.session_id, ended.revoke_time).where(
                among(ended.app_id, "apps"), among(ended.user_key, "users"), ended.revoke_time > bindparam("since")
            ),
        )
        shown = binding_generations.c
        self.generations: Select[Any] = select(shown.app_id, shown.device_id, shown.generation).where(
            among(shown.app_id, "apps"), among(shown.device_id, "numbered")
        )
        self.grant_uses: Select[Any] = select(grant_uses).where(
            among(grant_uses.c.app_id, "apps"), among(grant_uses.c.grant_id, "grants")
        )
        unverified: ColumnElement[bool] = literal_column("devices.state = 3")
        some: Select[Any] = select(devices.c.app_id).where(devices.c.app_id == bindparam("app_id"), unverified)
        # Beyond the limit and what a group takes out it does not matter how many they are.
        self.unverified_count = select(func.count()).select_from(some.limit(2 * UNVERIFIED_DEVICES).subquery())


_queries = cache(_Queries)
