"""What outlives a binding: generations that devices have shown, when logins were ended, what grants were used for."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from bellhop_server.domain import Micros
from bellhop_server.domain.binding import GENERATION_LIFE, GRANT_USE_LIFE, REVOCATION_LIFE
from bellhop_server.domain.device import user_key
from bellhop_server.domain.picture import LoginKey, Picture
from bellhop_server.domain.registration import UnregisterUser
from bellhop_server.store.bulk import delete_some, insert_many
from bellhop_server.store.tables import binding_generations, devices, grant_uses, revocations

# Devices of a user that one transaction takes out, since others' writes wait for it on SQLite.
CHUNK = 100

_NOTE_GENERATION = "(app_id, device_id) DO UPDATE SET generation = excluded.generation, seen_time = excluded.seen_time"
_NOTE_REVOCATION = """(app_id, user_key, session_id) DO UPDATE SET revoke_time =
  CASE WHEN excluded.revoke_time > revocations.revoke_time THEN excluded.revoke_time ELSE revocations.revoke_time END"""


def bound_at(now: Micros) -> ColumnElement[bool]:
    """Of rows of devices: somebody is bound to it at that time."""
    end = devices.c.binding_expire_time
    return and_(devices.c.user_key.is_not(None), or_(end.is_(None), end > now))


def leaving(connection: Connection, command: UnregisterUser) -> list[str]:
    """The next devices that it takes out, CHUNK of them unless there are no more."""
    of_user = devices.c.user_key == user_key(command.user_id)
    some = select(devices.c.device_id).where(devices.c.app_id == command.app_id, of_user, bound_at(command.now))
    if command.session_id:
        some = some.where(devices.c.session_id == command.session_id)
    return list(connection.execute(some.order_by(devices.c.device_id).limit(CHUNK)).scalars())


def save_lateness(connection: Connection, picture: Picture) -> None:
    """Saves what a later command will be compared with."""
    if picture.shown:
        rows: Iterable[tuple[Any, ...]] = ((*key, picture.generations[key], at) for key, at in picture.shown.items())
        columns = ("app_id", "device_id", "generation", "seen_time")
        insert_many(connection, binding_generations, columns, sorted(rows), _NOTE_GENERATION)
    if picture.revoked:
        ended = sorted(map(_revocation, picture.revoked, map(picture.revocations.__getitem__, picture.revoked)))
        columns = ("app_id", "user_key", "session_id", "revoke_time")
        insert_many(connection, revocations, columns, ended, _NOTE_REVOCATION)
    if picture.granted:
        used = sorted((*key, *picture.grant_uses[key]) for key in picture.granted)
        use_columns = ("app_id", "grant_id", "device_id", "binding_epoch", "expire_time")
        # There already: the same device showed it again, for the binding that it has made.
        insert_many(connection, grant_uses, use_columns, used, "DO NOTHING")


def _revocation(key: LoginKey, at: Micros) -> tuple[str, bytes, str, Micros]:
    app_id, user_id, session_id = key
    return app_id, user_key(user_id), session_id, at


def forget_generations(connection: Connection, now: Micros, limit: int) -> int:
    """Deletes those that were last shown too long ago; returns how many."""
    return delete_some(connection, binding_generations, binding_generations.c.seen_time <= now - GENERATION_LIFE, limit)


def forget_revocations(connection: Connection, now: Micros, limit: int) -> int:
    """Deletes those that nobody can be too late for any more; returns how many."""
    return delete_some(connection, revocations, revocations.c.revoke_time <= now - REVOCATION_LIFE, limit)


def forget_grants(connection: Connection, now: Micros, limit: int) -> int:
    """Deletes the uses of those that nobody can show any more; returns how many."""
    return delete_some(connection, grant_uses, grant_uses.c.expire_time <= now - GRANT_USE_LIFE, limit)
