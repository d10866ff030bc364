"""What can be asked of the registry, and what it answers. The rules that carry it out are in `registry.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bellhop_server.domain import Micros
from bellhop_server.domain.device import Device, DeviceFacts, Target


@dataclass(frozen=True, slots=True)
class Proof:
    """How the caller has shown what it may do; digests only.

    `authority`: a valid client or app secret came with the call. `device_secret`: SHA-256 of the `device-secret` that
    came, whatever it is worth; None: none came. `device_secret_ownable`: its text is long enough (32 characters) to
    become a device's own secret.
    """

    authority: bool
    device_secret: bytes | None = None
    device_secret_ownable: bool = False


@dataclass(frozen=True, slots=True)
class Register:
    """Bind a device to `user_id`, or with None register it without a user or unbind it.

    Replaces everything but an absent target. `fresh_secret` is the digest of the secret that will be handed out if the
    rules say so.
    """

    app_id: str
    device_id: str
    user_id: str | None
    target: Target | None
    facts: DeviceFacts
    proof: Proof
    fresh_secret: bytes = field(repr=False)
    now: Micros


@dataclass(frozen=True, slots=True)
class Update:
    """Change what is present. None: stays; an empty text forgets."""

    app_id: str
    device_id: str
    target: Target | None
    locale: str | None
    time_zone: str | None
    app_version: str | None
    set_attributes: Mapping[str, str]
    remove_attributes: tuple[str, ...]
    proof: Proof
    now: Micros


@dataclass(frozen=True, slots=True)
class Unregister:
    """Take a device out: it and its secret."""

    app_id: str
    device_id: str
    proof: Proof
    now: Micros


@dataclass(frozen=True, slots=True)
class UnregisterUser:
    """Take out every device of a user."""

    app_id: str
    user_id: str
    now: Micros


RegistryCommand = Register | Update | Unregister | UnregisterUser


@dataclass(frozen=True, slots=True)
class RegistryAnswer:
    """What became of a command.

    `device` as it is now (Register, Update); `created`: it was new; `secret_issued`: hand out the fresh secret;
    `removed`: how many devices were taken out (Unregister, UnregisterUser). `departed`: the devices, as they were, that
    the command took out, or to which it gave another user, session or target.
    """

    device: Device | None = None
    created: bool = False
    secret_issued: bool = False
    removed: int = 0
    departed: tuple[Device, ...] = ()
