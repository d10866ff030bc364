"""The phones behind a simulated APNs. A token that was never mentioned here is a phone that is on and has every app."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from bellhop_simulators.apns.rules import ACCEPTED, STATUS_OF_REASON, Verdict, refusal
from bellhop_simulators.clock import Clock

STORED_FOR = 30 * 86_400.0
"""Seconds for which a notification without `apns-expiration` is kept."""


@dataclass(frozen=True, slots=True)
class Notification:
    """What a phone gets, or will get when it is back: `expires` in seconds since the epoch."""

    token: str
    bundle_id: str
    apns_id: str
    payload: bytes
    expires: float


@dataclass(slots=True)
class _Device:
    environment: str | None = None
    bundle_ids: frozenset[str] | None = None
    dead_since: float | None = None
    dead_reason: Literal["Unregistered", "ExpiredToken"] = "Unregistered"
    online: bool = True
    slots: dict[str, Notification] = field(default_factory=dict)


class ApnsDevices:
    """Tokens of which something is known. Tokens are hex digits of either case; the same in both environments."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._devices: dict[str, _Device] = {}

    def restrict(self, token: str, *, environment: str | None = None, bundle_ids: Iterable[str] | None = None) -> None:
        """Make a token good in one environment (else BadDeviceToken), for these apps (else DeviceTokenNotForTopic)."""
        device = self._device(token)
        device.environment = environment
        device.bundle_ids = None if bundle_ids is None else frozenset(bundle_ids)

    def unregister(
        self,
        token: str,
        *,
        at: float | None = None,
        reason: Literal["Unregistered", "ExpiredToken"] = "Unregistered",
    ) -> None:
        """The app is gone: 410 with the time `at` (seconds since the epoch; default now). What was stored is lost."""
        device = self._device(token)
        device.dead_since = self._clock.now() if at is None else at
        device.dead_reason = reason
        device.slots.clear()

    def register(self, token: str) -> None:
        """The token is good again."""
        self._device(token).dead_since = None

    def set_offline(self, token: str) -> None:
        """The phone is off: from now on the newest notification for each app is stored, until it expires."""
        self._device(token).online = False

    def set_online(self, token: str) -> list[Notification]:
        """The phone is on again; returns what it gets now, by bundle id."""
        device = self._device(token)
        device.online = True
        arrived = self.stored(token)
        device.slots.clear()
        return arrived

    def stored(self, token: str) -> list[Notification]:
        """What is kept for a phone and has not expired, by bundle id."""
        now = self._clock.now()
        return [kept for _, kept in sorted(self._device(token).slots.items()) if kept.expires > now]

    def judge(self, token: str, environment: str, bundle_id: str) -> Verdict:
        """What APNs says to a push, as far as the device goes."""
        device = self._devices.get(token)
        if device is None:
            return ACCEPTED
        if device.environment not in (None, environment):
            return refusal("BadDeviceToken")
        if device.dead_since is not None:
            return Verdict(STATUS_OF_REASON[device.dead_reason], device.dead_reason, int(device.dead_since * 1000))
        if device.bundle_ids is not None and bundle_id not in device.bundle_ids:
            return refusal("DeviceTokenNotForTopic")
        return ACCEPTED

    def deliver(self, token: str, bundle_id: str, apns_id: str, expiration: str | None, payload: bytes) -> None:
        """Take an accepted push: one slot for each (token, bundle id) while the phone is off."""
        device = self._devices.get(token)
        if device is None or device.online:
            return
        now = self._clock.now()
        expires = now + STORED_FOR if expiration is None else float(expiration)
        if expires > now:  # 0 and the past: one attempt, which failed.
            device.slots[bundle_id] = Notification(token, bundle_id, apns_id, payload, expires)

    def _device(self, token: str) -> _Device:
        return self._devices.setdefault(token.lower(), _Device())
