"""Bindings: whom a device is bound to, by which login, until when, and which logins and logouts come too late.

The rules are told at the top of `registry.py`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from bellhop_server.domain import DAY, Micros
from bellhop_server.domain.application import Policy
from bellhop_server.domain.device import Device
from bellhop_server.domain.errors import StaleBinding
from bellhop_server.domain.picture import Picture
from bellhop_server.domain.registration import Register, Unregister

GENERATION_LIFE: Micros = 90 * DAY
"""How long the highest binding generation of a device is known after it was last shown."""
REVOCATION_LIFE: Micros = DAY
"""How long it is known that logins were ended: longer than any call is under way."""


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
    if isinstance(command, Register) and command.user_id is not None and picture.revocations:
        key = (command.app_id, command.user_id)
        ended = [picture.revocations.get((*key, session_id), 0) for session_id in {"", command.session_id}]
        if command.received < max(ended):
            raise StaleBinding(command.device_id, None)


def note_generation(command: Register | Unregister, picture: Picture) -> None:
    """The command succeeds: what is lower than its generation will be too late."""
    if command.binding_generation is not None:
        picture.note_generation((command.app_id, command.device_id), command.binding_generation, command.now)
