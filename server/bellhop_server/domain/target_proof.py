"""Nonces: how an app shows that it receives on the target that its device names.

The rules are told at the top of `registry.py`.
"""

from typing import NamedTuple

from bellhop_server.domain import HOUR, MINUTE, Micros
from bellhop_server.domain.device import Device, DeviceState, Target
from bellhop_server.domain.errors import InvalidRequest, Violation
from bellhop_server.domain.registration import Register, Update

NONCE_LIFE: Micros = HOUR
"""How long a nonce that was pushed proves its device."""
NONCE_PAUSE: Micros = MINUTE
"""How long there is no other one for the same device and target."""


class Nonce(NamedTuple):
    """What a device waits to be shown. `issued`: it is a fresh one, to be pushed now."""

    digest: bytes | None = None
    issue_time: Micros | None = None
    issued: bool = False


def proves_target(command: Register | Update, before: Device | None) -> bool:
    """Whether the caller shows the nonce that was pushed to the device's own target.

    A device that has its target for its own has nothing to prove: it may be repeating what was answered and lost.
    Raises InvalidRequest for a nonce that proves nothing.
    """
    shown = command.target_nonce
    if shown is None:
        return False
    if before is not None and (command.target is None or command.target.digest == before.target.digest):
        if before.state is not DeviceState.UNVERIFIED:
            return False
        issued = before.nonce_time
        if shown == before.nonce_digest and issued is not None and command.now - issued < NONCE_LIFE:
            return True
    text = "is not what was last pushed to this device's target, or that was more than an hour ago"
    raise InvalidRequest([Violation("target_nonce", text)])


def next_nonce(command: Register | Update, before: Device | None, target: Target, state: DeviceState) -> Nonce:
    """What a device waits for that has this target, in this state, from now on."""
    if state is not DeviceState.UNVERIFIED:
        return Nonce()
    kept = Nonce()
    if before is not None and before.target.digest == target.digest:
        kept = Nonce(before.nonce_digest, before.nonce_time)
    recent = kept.issue_time is not None and command.now - kept.issue_time < NONCE_PAUSE
    if command.target is None or recent or not command.fresh_nonce:
        return kept
    return Nonce(command.fresh_nonce, command.now, issued=True)
