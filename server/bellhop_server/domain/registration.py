"""What can be asked of the registry, and what it answers. The rules that carry it out are in `registry.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bellhop_server.domain import Micros
from bellhop_server.domain.application import SecretKind
from bellhop_server.domain.device import Device, DeviceFacts, Target
from bellhop_server.domain.grant import Grant


@dataclass(frozen=True, slots=True)
class Proof:
    """How the caller has shown what it may do; digests only.

    `authority`: a valid client or app secret, or a bind grant, came with the call. `kinds`: of the secrets that did.
    `device_secret`: SHA-256 of the `device-secret` that came, whatever it is worth; None: none came.
    `device_secret_ownable`: its text is long enough (32 characters) to become a device's own secret.
    """

    authority: bool
    device_secret: bytes | None = None
    device_secret_ownable: bool = False
    kinds: frozenset[SecretKind] = frozenset()


@dataclass(frozen=True, slots=True)
class Register:
    """Bind a device to `user_id`, or with None register it without a user or unbind it.

    Replaces everything but an absent target. `fresh_secret` is the digest of the secret that will be handed out if the
    rules say so. `received`: when the call came in, before anything was done about it. `binding_ttl` None: as the
    application's policy says. `binding_generation`: the client's count of its logins and logouts; None: it keeps none.
    `target_nonce`: digest of what the caller says was pushed to its target; None: nothing. `fresh_nonce`: the digest of
    what will be pushed there if the rules say so. `grant`: the bind grant that came; None: none did.
    `sealed_binding_key`: the key of its stamps; None: it wants none.
    """

    app_id: str
    device_id: str
    user_id: str | None
    target: Target | None
    facts: DeviceFacts
    proof: Proof
    fresh_secret: bytes = field(repr=False)
    now: Micros
    received: Micros
    session_id: str = ""
    binding_ttl: Micros | None = None
    binding_generation: int | None = None
    target_nonce: bytes | None = field(default=None, repr=False)
    fresh_nonce: bytes = field(default=b"", repr=False)
    grant: Grant | None = None
    sealed_binding_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Update:
    """Change what is present. None: stays; an empty text forgets. The nonces are as in `Register`."""

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
    target_nonce: bytes | None = field(default=None, repr=False)
    fresh_nonce: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Unregister:
    """Take a device out: it and its secret. With `expected_user_id` only if it is bound to that user."""

    app_id: str
    device_id: str
    proof: Proof
    now: Micros
    expected_user_id: str | None = None
    binding_generation: int | None = None


@dataclass(frozen=True, slots=True)
class UnregisterUser:
    """End all logins of a user, or those of one session if `session_id` is not empty, and take their devices out.

    That they have ended is noted with the first devices; what was asked for before `now` binds nobody any more. The
    devices themselves go some at a time: repeat it until the answer has no `more`.
    """

    app_id: str
    user_id: str
    now: Micros
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class Expire:
    """Unbind those of the devices whose binding has ended by itself. They stay, anonymous."""

    app_id: str
    device_ids: tuple[str, ...]
    now: Micros


RegistryCommand = Register | Update | Unregister | UnregisterUser | Expire


@dataclass(frozen=True, slots=True)
class RegistryAnswer:
    """What became of a command.

    `device` as it is now (Register, Update); `created`: it was new; `secret_issued`: hand out the fresh secret;
    `nonce_issued`: push the fresh nonce to the device's target;
    `removed`: how many devices were taken out (Unregister, UnregisterUser); `more`: there may be others to take out
    (UnregisterUser). `departed`: as they were before, the devices that the command took out or unbound, or whose user,
    session or target it changed.
    """

    device: Device | None = None
    created: bool = False
    secret_issued: bool = False
    nonce_issued: bool = False
    removed: int = 0
    more: bool = False
    departed: tuple[Device, ...] = ()
