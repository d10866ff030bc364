"""Devices: one installation of an application each, where it is found, and whom it is bound to."""

import hashlib
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import NamedTuple

from bellhop_server.domain import Micros


class Platform(IntEnum):
    """A network that carries notifications."""

    APNS = 1
    FCM = 2
    WEB_PUSH = 3


class ApnsEnvironment(IntEnum):
    """Apple's two separate worlds of tokens."""

    SANDBOX = 1
    PRODUCTION = 2


class DeviceState(IntEnum):
    """Whether a device takes part in sends."""

    ACTIVE = 1
    DEAD = 2
    UNVERIFIED = 3


@dataclass(frozen=True, slots=True)
class Target:
    """Where a provider finds a device.

    `address` is the provider's own word for it, in normal form: for APNs the token in lower-case hexadecimal, for FCM
    the registration token or installation id, for Web Push the endpoint. `supplement` is what else must be known
    to reach it: `fid` for an installation id; for Web Push `p256dh` and `auth`, base64url without padding, joined by a
    dot.
    `apns_topic` empty and `apns_environment` None mean "what the credential says", resolved at hand-over;
    `vapid_public_key` is the key that a Web Push subscription was made with, empty: the current one.
    """

    platform: Platform
    address: str = field(repr=False)
    apns_topic: str = ""
    apns_environment: ApnsEnvironment | None = None
    supplement: str = field(default="", repr=False)
    vapid_public_key: str = ""

    @property
    def digest(self) -> bytes:
        """SHA-256 over network and address: what makes two targets the same one, whatever topic they name."""
        return hashlib.sha256(b"%d:%s" % (self.platform, self.address.encode())).digest()

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the address: tells two targets apart without showing them."""
        return hashlib.sha256(self.address.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What an app says of its installation."""

    locale: str = ""
    time_zone: str = ""
    app_version: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Device:
    """One installation. `user_id` None: anonymous. `binding_epoch` changes exactly when the user or the session does,
    never back. `binding_expire_time`: when the binding ends by itself; None: it does not.

    `refusals`: how often in a row a push service refused the key that the target was made with, since `refused_since`;
    a push that it takes ends the row. `nonce_digest`: SHA-256 of what was pushed to the target of an UNVERIFIED device
    at `nonce_time`, so that its app can show that it receives there. `sealed_binding_key`: what stamps its
    notifications for as long as the binding stands; None: nothing does.
    """

    app_id: str
    device_id: str
    user_id: str | None
    binding_epoch: int
    target: Target
    facts: DeviceFacts
    state: DeviceState
    register_time: Micros
    bind_time: Micros | None
    update_time: Micros
    target_time: Micros
    target_accepted: bool = False
    session_id: str = ""
    binding_expire_time: Micros | None = None
    refusals: int = 0
    refused_since: Micros | None = None
    nonce_digest: bytes | None = field(default=None, repr=False)
    nonce_time: Micros | None = None
    sealed_binding_key: bytes | None = field(default=None, repr=False)

    def as_of(self, now: Micros) -> "Device":
        """The device as it is at that time: anonymous once its binding has ended by itself, whatever is stored."""
        end = self.binding_expire_time
        if end is None or now < end:
            return self
        return replace(
            self,
            user_id=None,
            session_id="",
            bind_time=None,
            binding_expire_time=None,
            update_time=end,
            sealed_binding_key=None,
        )


class Found(NamedTuple):
    """A device as it is found when something is to be handed over to it: what the decision needs, and no more.

    A tuple, since a broadcast reads millions. The fields are those of Device and of its Target; `state`, `platform` and
    `apns_environment` are plain numbers; `target_digest`, which is the target's, and `sealed_binding_key` are in
    hexadecimal digits.
    """

    device_id: str
    user_id: str | None
    binding_epoch: int
    binding_expire_time: Micros | None
    state: int
    platform: int
    address: str
    target_digest: str
    supplement: str
    apns_topic: str
    apns_environment: int | None
    vapid_public_key: str
    target_time: Micros
    target_accepted: bool
    refused_since: Micros | None
    sealed_binding_key: str | None


@dataclass(frozen=True, slots=True)
class DeadTarget:
    """A target that a provider declared dead, as it was when it was handed over."""

    device_id: str
    target_digest: bytes
    target_time: Micros


def user_key(user_id: str) -> bytes:
    """SHA-256 of a user id: what is indexed, since user ids are long and of any alphabet."""
    return hashlib.sha256(user_id.encode()).digest()
