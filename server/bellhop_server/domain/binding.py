"""Bindings: whom a device is bound to, by which login, until when, and which logins and logouts come too late.

The rules are told at the top of `registry.py`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from bellhop_server.domain import DAY, Micros
from bellhop_server.domain.application import BindingPolicy, Policy, SecretKind
from bellhop_server.domain.device import Device
from bellhop_server.domain.errors import BindGrantExpired, CredentialsInvalid, DeniedByPolicy, StaleBinding
from bellhop_server.domain.grant import GrantUse
from bellhop_server.domain.picture import Picture
from bellhop_server.domain.registration import Register, Unregister

GENERATION_LIFE: Micros = 90 * DAY
"""How long the highest binding generation of a device is known after it was last shown."""
REVOCATION_LIFE: Micros = DAY
"""How long it is known that logins were ended: longer than any call is under way."""
GRANT_USE_LIFE: Micros = DAY
"""How long it is known after a grant's end that it was used: longer than any call is under way that came in before."""


class Binding(NamedTuple):
    """Fields of Device."""

    user_id: str | None
    session_id: str
    binding_epoch: int
    bind_time: Micros | None
    binding_expire_time: Micros | None


def binding_of(command: Register, before: Device | None, policy: Policy, new_epoch: Callable[[], int]) -> Binding:
    """The binding that a registration makes, or prolongs when user and session are the same as before."""
    user_id, session_id = command.user_id, command.session_id
    ttl = command.binding_ttl or policy.default_binding_ttl
    end = None if user_id is None or ttl is None else command.now + ttl
    if before is not None and (before.user_id, before.session_id) == (user_id, session_id):
        return Binding(user_id, session_id, before.binding_epoch, before.bind_time, end)
    return Binding(user_id, session_id, new_epoch(), None if user_id is None else command.now, end)


def check_binder(command: Register, policy: BindingPolicy) -> None:
    """Whether the policy takes what the caller binds with. Raises DeniedByPolicy."""
    if policy is BindingPolicy.SECRET_OR_GRANT or SecretKind.APP in command.proof.kinds:
        return
    granted = command.grant is not None
    secret = SecretKind.CLIENT in command.proof.kinds
    if not (granted if policy is BindingPolicy.GRANT else secret):
        raise DeniedByPolicy("binding_policy")


def check_grant(command: Register, before: Device | None, picture: Picture) -> None:
    """Raises CredentialsInvalid for a grant of something else, BindGrantExpired for one that binds no more."""
    grant = command.grant
    if grant is None:
        return
    if not grant.fits(command.user_id, command.device_id, command.session_id):
        raise CredentialsInvalid
    use = picture.grant_uses.get((command.app_id, grant.grant_id))
    over = grant.expire_time <= command.now or _ended_since(grant.issue_time, command, picture)
    if over or (use is not None and not _stands(use, command, before)):
        raise BindGrantExpired(grant.expire_time)


def _stands(use: GrantUse, command: Register, before: Device | None) -> bool:
    """Whether the binding that the grant has made is there still, and is the very one that the command asks for."""
    if before is None or before.session_id != command.session_id:
        return False
    return (before.device_id, before.binding_epoch) == (use.device_id, use.binding_epoch)


def note_grant(command: Register, binding: Binding, picture: Picture) -> None:
    """The command succeeds: what it was granted has been used."""
    if command.grant is not None:
        use = GrantUse(command.device_id, binding.binding_epoch, command.grant.expire_time)
        picture.use_grant((command.app_id, command.grant.grant_id), use)


def end_bindings(picture: Picture, now: Micros, new_epoch: Callable[[], int]) -> None:
    """Unbinds every device of the picture whose binding has ended by itself. Its secrets stay as they are."""
    for device in picture.ended(now):
        picture.put(replace(device.as_of(now), binding_epoch=new_epoch()))


def check_late(command: Register | Unregister, picture: Picture) -> None:
    """Raises StaleBinding when a later login or logout is known.

    That is: the device has shown a higher generation; or all logins of the user, or of the session, were ended after
    the call had come in.
    """
    seen = picture.generations.get((command.app_id, command.device_id))
    if seen is not None and command.binding_generation is not None and command.binding_generation < seen:
        raise StaleBinding(command.device_id, seen)
    if isinstance(command, Register) and _ended_since(command.received, command, picture):
        raise StaleBinding(command.device_id, None)


def note_generation(command: Register | Unregister, picture: Picture) -> None:
    """The command succeeds: what is lower than its generation will be too late."""
    if command.binding_generation is not None:
        picture.note_generation((command.app_id, command.device_id), command.binding_generation, command.now)


def _ended_since(time: Micros, command: Register, picture: Picture) -> bool:
    """Whether the logins of the user, or of the session, were ended after that time."""
    if not picture.revocations or command.user_id is None:
        return False
    key = (command.app_id, command.user_id)
    return any(picture.revocations.get((*key, session_id), 0) > time for session_id in {"", command.session_id})
