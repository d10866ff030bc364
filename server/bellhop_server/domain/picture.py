"""The part of the registry that some commands touch, in memory: what the rules read and change before it is saved."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from bellhop_server.domain import DAY, Micros
from bellhop_server.domain.application import Policy
from bellhop_server.domain.device import Device, DeviceState
from bellhop_server.domain.grant import GrantUse

FAREWELL: Micros = 90 * DAY

DeviceKey = tuple[str, str]
"""(app id, device id)."""
TargetKey = tuple[str, bytes]
"""(app id, digest of the target)."""
UserKey = tuple[str, str]
"""(app id, user id)."""
LoginKey = tuple[str, str, str]
"""(app id, user id, session id); an empty session: all logins of the user."""

GrantKey = tuple[str, str]
"""(app id, grant id)."""

_NEVER: Micros = 2**63


@dataclass(frozen=True, slots=True)
class DeviceSecret:
    """A device secret that lives, or once did: a retired one is kept, so that it is never taken again.

    `pending`: issued beside the one before, and not used yet. `farewell_until`: it retired because its device went, and
    until then it still gets UnregisterDevice the answer that there is nothing left to do.
    """

    create_time: Micros
    pending: bool = False
    retire_time: Micros | None = None
    farewell_until: Micros | None = None

    @property
    def live(self) -> bool:
        """Whether it proves its device."""
        return self.retire_time is None


class Keyring:
    """The secrets of one device: all live ones, and of the retired ones at least those that a command presents."""

    def __init__(self, secrets: Mapping[bytes, DeviceSecret]) -> None:
        self._secrets = dict(secrets)
        self.changed: dict[bytes, DeviceSecret] = {}
        """What has to be saved, by digest."""

    def __contains__(self, digest: bytes) -> bool:
        """Whether it is or ever was a secret of the device."""
        return digest in self._secrets

    def live(self, digest: bytes | None) -> bool:
        """Whether it proves the device now."""
        secret = None if digest is None else self._secrets.get(digest)
        return secret is not None and secret.live

    def says_farewell(self, digest: bytes | None, now: Micros) -> bool:
        """Whether it went with the device, and not too long ago."""
        secret = None if digest is None else self._secrets.get(digest)
        return secret is not None and secret.farewell_until is not None and now < secret.farewell_until

    def use(self, digest: bytes, now: Micros) -> None:
        """A live secret was presented. The first use of a pending one retires the others."""
        if self._secrets[digest].pending:
            self.keep_only(digest, now)

    def keep_only(self, digest: bytes, now: Micros) -> None:
        """Retires every other one."""
        self._retire(now, but=digest)
        self._settle(digest)

    def start_over(self, digest: bytes, now: Micros) -> None:
        """Retires all there are; from now on this one is the device's secret."""
        self._retire(now)
        self._set(digest, DeviceSecret(now))

    def issue(self, digest: bytes, presented: bytes | None, now: Micros) -> None:
        """Adds a secret beside one that works on until the new one is used: the presented one, or else the newest."""
        kept = presented or self._newest()
        if kept is None:
            self.start_over(digest, now)
            return
        self.keep_only(kept, now)
        self._set(digest, DeviceSecret(now, pending=True))

    def bury(self, now: Micros) -> None:
        """The device goes, and its secrets with it."""
        self._retire(now, farewell_until=now + FAREWELL)

    def _newest(self) -> bytes | None:
        live = [digest for digest, secret in self._secrets.items() if secret.live]
        return max(
            live, key=lambda digest: (self._secrets[digest].pending, self._secrets[digest].create_time), default=None
        )

    def _retire(self, now: Micros, but: bytes | None = None, farewell_until: Micros | None = None) -> None:
        for digest, secret in list(self._secrets.items()):
            if secret.live and digest != but:
                retired = replace(secret, pending=False, retire_time=now, farewell_until=farewell_until)
                self._set(digest, retired)

    def _settle(self, digest: bytes) -> None:
        if self._secrets[digest].pending:
            self._set(digest, replace(self._secrets[digest], pending=False))

    def _set(self, digest: bytes, secret: DeviceSecret) -> None:
        self._secrets[digest] = self.changed[digest] = secret


class Picture:
    """Devices with their keyrings, and what has to be counted.

    It must hold, as far as they exist: the application (by its policy) and the device of every command, the verified
    holder of every target that a command presents, the devices of a user to be unregistered, and the keyrings of them
    all. `user_counts`: how many devices each user has whom a command binds one to; of those whose binding has ended,
    the ones in the picture. `count_unverified` tells how many UNVERIFIED devices an application had when the picture
    was taken; it is asked only when one more would be made. `generations`: the highest binding generation that each
    device has shown, as far as a command gives one. `revocations`: when logins were ended, as far as a command binds a
    device to such a user and had come in before. `grant_uses`: what the grants of the commands have bound.
    """

    def __init__(
        self,
        devices: Iterable[Device],
        secrets: Mapping[DeviceKey, Mapping[bytes, DeviceSecret]],
        policies: Mapping[str, Policy],
        user_counts: Mapping[UserKey, int],
        count_unverified: Callable[[str], int],
        generations: Mapping[DeviceKey, int] | None = None,
        revocations: Mapping[LoginKey, Micros] | None = None,
        grant_uses: Mapping[GrantKey, GrantUse] | None = None,
    ) -> None:
        self.loaded: dict[DeviceKey, Device] = {(device.app_id, device.device_id): device for device in devices}
        """Devices as they were."""
        self.policies = policies
        """By application; one that is missing does not exist."""
        self.touched: set[DeviceKey] = set()
        """Devices that were put or removed."""
        self.removed: set[DeviceKey] = set()
        """Devices that were taken out, be they there again."""
        self.departed: list[Device] = []
        """As they were: devices that the present command took out, or whose user, session or target it changed."""
        self.generations: dict[DeviceKey, int] = dict(generations or {})
        self.shown: dict[DeviceKey, Micros] = {}
        """When the generations were shown that have to be saved."""
        self.revocations: dict[LoginKey, Micros] = dict(revocations or {})
        self.revoked: set[LoginKey] = set()
        """The revocations that have to be saved."""
        self.grant_uses: dict[GrantKey, GrantUse] = dict(grant_uses or {})
        self.granted: set[GrantKey] = set()
        """The uses that have to be saved."""
        self.keyrings: dict[DeviceKey, Keyring] = {key: Keyring(ring) for key, ring in secrets.items()}
        self._devices: dict[DeviceKey, Device] = {}
        self._holders: dict[TargetKey, Device] = {}
        self._of_user: dict[UserKey, dict[str, Device]] = defaultdict(dict)
        self._user_counts = dict(user_counts)
        self._count_unverified = count_unverified
        self._unverified: dict[str, int] = {}
        self._first_end = _NEVER
        for key, device in self.loaded.items():
            self._enter(key, device)

    def device(self, key: DeviceKey) -> Device | None:
        """The device as it is now."""
        return self._devices.get(key)

    def keyring(self, key: DeviceKey) -> Keyring:
        """Its secrets; empty for a device that never had one."""
        keyring = self.keyrings.get(key)
        if keyring is None:
            keyring = self.keyrings[key] = Keyring({})
        return keyring

    def holder(self, key: TargetKey) -> Device | None:
        """The verified device that has this target."""
        return self._holders.get(key)

    def devices_of(self, key: UserKey) -> list[Device]:
        """The devices of a user whom a command unregisters."""
        return list(self._of_user[key].values())

    def ended(self, now: Micros) -> list[Device]:
        """Devices whose binding has ended by itself."""
        if now < self._first_end:
            return []
        ends = [(device.binding_expire_time, device) for device in self._devices.values()]
        self._first_end = min((end for end, _ in ends if end is not None and end > now), default=_NEVER)
        return [device for end, device in ends if end is not None and end <= now]

    def user_count(self, key: UserKey) -> int:
        """How many devices a user has to whom a command binds one."""
        return self._user_counts[key]

    def unverified_count(self, app_id: str) -> int:
        """How many UNVERIFIED devices the application has."""
        count = self._unverified.get(app_id)
        if count is None:
            before = sum(1 for key, device in self.loaded.items() if _unverified_in(app_id, device))
            now = sum(1 for device in self._devices.values() if _unverified_in(app_id, device))
            count = self._count_unverified(app_id) - before + now
            self._unverified[app_id] = count
        return count

    def put(self, device: Device) -> None:
        """Creates or replaces a device. Its target must be free, or the device UNVERIFIED."""
        key = (device.app_id, device.device_id)
        before = self._leave(key)
        if before is not None and (before.binding_epoch, before.target) != (device.binding_epoch, device.target):
            self.departed.append(before)
        self._enter(key, device)
        self._count(device, 1)
        self.touched.add(key)

    def remove(self, device: Device, now: Micros) -> None:
        """Takes a device out, and retires its secrets."""
        key = (device.app_id, device.device_id)
        self._leave(key)
        self.departed.append(device)
        self.keyring(key).bury(now)
        self.touched.add(key)
        self.removed.add(key)

    def note_generation(self, key: DeviceKey, generation: int, now: Micros) -> None:
        """The device has shown this generation, the highest so far or the same again."""
        self.generations[key] = generation
        self.shown[key] = now

    def use_grant(self, key: GrantKey, use: GrantUse) -> None:
        """A grant has bound a device."""
        self.grant_uses[key] = use
        self.granted.add(key)

    def revoke(self, key: LoginKey, now: Micros) -> None:
        """These logins were ended."""
        self.revocations[key] = max(now, self.revocations.get(key, now))
        self.revoked.add(key)

    def _enter(self, key: DeviceKey, device: Device) -> None:
        self._devices[key] = device
        if device.state is not DeviceState.UNVERIFIED:
            self._holders[device.app_id, device.target.digest] = device
        if device.user_id is not None:
            self._of_user[device.app_id, device.user_id][device.device_id] = device
        if device.binding_expire_time is not None and device.binding_expire_time < self._first_end:
            self._first_end = device.binding_expire_time

    def _leave(self, key: DeviceKey) -> Device | None:
        device = self._devices.pop(key, None)
        if device is None:
            return None
        self._count(device, -1)
        if device.state is not DeviceState.UNVERIFIED:
            del self._holders[device.app_id, device.target.digest]
        if device.user_id is not None:
            del self._of_user[device.app_id, device.user_id][device.device_id]
        return device

    def _count(self, device: Device, change: int) -> None:
        if device.user_id is not None and (device.app_id, device.user_id) in self._user_counts:
            self._user_counts[device.app_id, device.user_id] += change
        if device.state is DeviceState.UNVERIFIED and device.app_id in self._unverified:
            self._unverified[device.app_id] += change


def _unverified_in(app_id: str, device: Device) -> bool:
    return device.app_id == app_id and device.state is DeviceState.UNVERIFIED
