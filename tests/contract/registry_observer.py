"""P2 and P5 from the outside: what one command may have changed in the registry, told from its rows before and after.

It knows none of the decisions of the rules, only what must never happen and what must always be possible.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from bellhop_server.domain import HOUR, MINUTE
from bellhop_server.domain.application import SecretKind
from bellhop_server.domain.device import Device, DeviceState, Target
from bellhop_server.domain.errors import BellhopError, StaleBinding
from bellhop_server.domain.registration import (
    Expire,
    Register,
    RegistryAnswer,
    RegistryCommand,
    Unregister,
    UnregisterUser,
    Update,
)
from bellhop_server.store import device_rows
from bellhop_server.store.tables import devices, secrets


@dataclass(frozen=True)
class Seen:
    """An application's devices, and the digests of each device's live secrets."""

    devices: dict[str, Device]
    live: dict[str, frozenset[bytes]]

    def holder(self, target: Target | None) -> str | None:
        """The verified device that has the target; there must be one at most."""
        found = [
            device.device_id
            for device in self.devices.values()
            if device.target == target and device.state is not DeviceState.UNVERIFIED
        ]
        assert len(found) < 2
        return found[0] if found else None

    def as_of(self, now: int) -> "Seen":
        """As everybody has to see it at that time."""
        return Seen({name: device.as_of(now) for name, device in self.devices.items()}, self.live)

    def opens(self, device_id: str, secret: bytes | None) -> bool:
        return secret in self.live.get(device_id, frozenset())


def look(connection: Connection, app_id: str) -> Seen:
    """What is there now."""
    columns = [devices.c[name] for name in device_rows.COLUMNS]
    rows = connection.execute(select(*columns).where(devices.c.app_id == app_id))
    found = {device.device_id: device for device in device_rows.to_devices(rows)}
    live: dict[str, frozenset[bytes]] = {}
    query = select(secrets.c.device_id, secrets.c.digest).where(
        secrets.c.app_id == app_id, secrets.c.kind == SecretKind.DEVICE.value, secrets.c.retire_time.is_(None)
    )
    for device_id, digest in connection.execute(query):
        live[device_id] = live.get(device_id, frozenset()) | {digest}
    return Seen(found, live)


class Pushed(NamedTuple):
    """A nonce, and what it was pushed to."""

    nonce: bytes
    target: bytes
    time: int


class Observer:
    """Remembers what must not come back, and checks every step."""

    def __init__(self) -> None:
        self._epochs: set[int] = set()
        self._ever: dict[str, set[bytes]] = {}
        self._dead: dict[str, set[bytes]] = {}
        self._shown: dict[str, int] = {}
        self._ended_logins: dict[tuple[str, str], int] = {}
        self._nonces: dict[str, Pushed] = {}

    def check(
        self, command: RegistryCommand, outcome: RegistryAnswer | BellhopError, before: Seen, after: Seen
    ) -> None:
        """Raises AssertionError when the command may not have had this outcome."""
        if isinstance(outcome, RegistryAnswer):
            _check_departed(outcome, before, after)
        for gone in self._nonces.keys() - before.devices.keys():
            del self._nonces[gone]
        before, after = self._settled(command.now, before, after)
        self._check_bindings(before, after)
        self._check_secrets(before, after)
        if isinstance(outcome, BellhopError):
            assert after == before, "what is refused changes nothing"
            assert isinstance(outcome, StaleBinding) <= self._late(command)
            assert self._late(command) or self._void(command, before) or not _must_succeed(command, before)
            return
        assert not self._void(command, before)
        assert not self._late(command)
        if isinstance(command, Expire):
            assert after == before
            return
        if isinstance(command, UnregisterUser):
            login = (command.user_id, command.session_id)
            self._ended_logins[login] = max(command.now, self._ended_logins.get(login, 0))
            gone = {
                name
                for name, device in before.devices.items()
                if device.user_id == command.user_id and command.session_id in ("", device.session_id)
            }
            assert outcome.removed == len(gone)
            _check_others(gone, before, after)
            assert not gone & after.devices.keys()
            return
        proved = self._proves(command, before)
        self._check_authority(command, before, after, proved=proved)
        self._check_nonces(command, outcome, before, after)
        if isinstance(command, Register | Unregister) and command.binding_generation is not None:
            self._shown[command.device_id] = command.binding_generation
        if isinstance(command, Unregister):
            known = before.devices.get(command.device_id)
            goes = known is not None and command.expected_user_id in (None, known.user_id)
            assert outcome.removed == goes
            assert (command.device_id in after.devices) == (known is not None and not goes)
            return
        device = after.devices[command.device_id]
        assert outcome.device == device
        if isinstance(command, Register):
            assert (device.user_id, device.facts) == (command.user_id, command.facts)
            ttl = None if command.user_id is None else command.binding_ttl
            assert device.binding_expire_time == (None if ttl is None else command.now + ttl)
            assert device.session_id == command.session_id
            assert outcome.created == (command.device_id not in before.devices)
            assert outcome.secret_issued == after.opens(command.device_id, command.fresh_secret)
            if not outcome.secret_issued:
                assert after.opens(command.device_id, command.proof.device_secret)
        else:
            assert device.user_id == before.devices[command.device_id].user_id
        self._check_target(command, device, before, after, proved=proved)

    def _proves(self, command: RegistryCommand, before: Seen) -> bool:
        """Whether the last nonce that was pushed to the device's target comes back within the hour."""
        if not isinstance(command, Register | Update) or command.target_nonce is None:
            return False
        known, pushed = before.devices.get(command.device_id), self._nonces.get(command.device_id)
        if known is None or pushed is None or known.state is not DeviceState.UNVERIFIED:
            return False
        named = command.target or known.target
        same = named.digest == known.target.digest == pushed.target
        return same and command.target_nonce == pushed.nonce and command.now < pushed.time + HOUR

    def _void(self, command: RegistryCommand, before: Seen) -> bool:
        """Whether it shows a nonce that proves nothing, and there is something to prove."""
        if not isinstance(command, Register | Update) or command.target_nonce is None:
            return False
        known = before.devices.get(command.device_id)
        has_it = known is not None and known.state is not DeviceState.UNVERIFIED
        has_it = has_it and command.target in (None, known.target)
        return not has_it and not self._proves(command, before)

    def _check_nonces(self, command: Any, outcome: RegistryAnswer, before: Seen, after: Seen) -> None:
        """One is pushed to whoever waits for the target that it has named, once a minute; no other one is kept."""
        name = command.device_id
        device = after.devices.get(name)
        pushed = self._nonces.get(name)
        if device is None or device.state is not DeviceState.UNVERIFIED or getattr(command, "target", None) is None:
            assert not outcome.nonce_issued
        else:
            recent = pushed is not None and pushed.target == device.target.digest
            recent = recent and command.now < pushed.time + MINUTE
            assert outcome.nonce_issued != recent
            if outcome.nonce_issued:
                self._nonces[name] = Pushed(command.fresh_nonce, device.target.digest, command.now)
        if device is not None and device.state is not DeviceState.UNVERIFIED:
            self._nonces.pop(name, None)
        for name, device in after.devices.items():
            kept = self._nonces.get(name)
            assert (device.nonce_digest, device.nonce_time) == ((kept.nonce, kept.time) if kept else (None, None))

    def _settled(self, now: int, before: Seen, after: Seen) -> tuple[Seen, Seen]:
        """Both as everybody sees them, with an epoch for the end of a binding where there is one already."""
        ended = Seen(dict(before.as_of(now).devices), before.live)
        for name, device in ended.devices.items():
            was, then = before.devices[name], after.devices.get(name)
            if device is was or then is None or then.user_id is not None or then.binding_epoch == was.binding_epoch:
                continue
            assert then.binding_epoch not in self._epochs
            self._epochs.add(then.binding_epoch)
            ended.devices[name] = replace(device, binding_epoch=then.binding_epoch)
        return ended, after.as_of(now)

    def _late(self, command: RegistryCommand) -> bool:
        """Whether a later login or logout is known, of those that can come too late."""
        if not isinstance(command, Register | Unregister):
            return False
        generation = command.binding_generation
        if generation is not None and generation < self._shown.get(command.device_id, 0):
            return True
        if not isinstance(command, Register) or command.user_id is None:
            return False
        logins = [(command.user_id, ""), (command.user_id, command.session_id)]
        return any(command.received < self._ended_logins.get(login, 0) for login in logins)

    def _check_bindings(self, before: Seen, after: Seen) -> None:
        for name, device in after.devices.items():
            earlier = before.devices.get(name)
            if earlier is not None and (earlier.user_id, earlier.session_id) == (device.user_id, device.session_id):
                assert device.binding_epoch == earlier.binding_epoch
                assert device.bind_time == earlier.bind_time
            else:
                assert device.binding_epoch not in self._epochs
                self._epochs.add(device.binding_epoch)
            assert (device.bind_time is None) == (device.user_id is None)
            assert after.holder(device.target) in (name, None) or device.state is DeviceState.UNVERIFIED

    def _check_secrets(self, before: Seen, after: Seen) -> None:
        for name in before.live.keys() | after.live.keys():
            was, now = before.live.get(name, frozenset()), after.live.get(name, frozenset())
            dead = self._dead.setdefault(name, set())
            assert not now & dead, "a retired secret never comes back"
            dead |= self._ever.setdefault(name, set()) - now
            self._ever[name] |= was | now
            assert len(now) <= 2
        assert after.live.keys() == after.devices.keys(), "every device has a secret, and no other has one"

    def _check_authority(self, command: Any, before: Seen, after: Seen, *, proved: bool) -> None:
        """Nothing is taken from anybody without proof, and no secret survives a change of user.

        `proved`: by a nonce.
        """
        name, proof = command.device_id, command.proof
        opened = before.opens(name, proof.device_secret)
        target = getattr(command, "target", None) or (before.devices[name].target if proved else None)
        holder = None if target is None else before.holder(target)
        as_holder = holder is not None and before.opens(holder, proof.device_secret) and _waits(command, before)
        if name in before.devices:
            assert proof.authority or opened or as_holder
            assert proof.device_secret is None or opened or as_holder or self._may_bring(command, before)
        may_go = {name}
        if holder is not None and holder not in after.devices:
            assert proof.authority or as_holder or holder == name or proved
            may_go.add(holder)
        _check_others(may_go, before, after)
        device = after.devices.get(name)
        if device is not None and device.user_id is not None and self._moved(name, before, after):
            assert proof.authority
        if name in before.devices and device is not None and self._moved(name, before, after):
            kept = before.live[name] & after.live[name]
            assert kept == (frozenset() if proof.authority else {proof.device_secret})

    def _may_bring(self, command: Any, before: Seen) -> bool:
        """A secret that opens nothing: only with authority, on a registration that changes the user."""
        if not isinstance(command, Register) or not command.proof.authority:
            return False
        ever = command.proof.device_secret in self._ever.get(command.device_id, set())
        moves = before.devices[command.device_id].user_id != command.user_id
        return moves and (ever or command.proof.device_secret_ownable)

    def _check_target(self, command: Any, device: Device, before: Seen, after: Seen, *, proved: bool) -> None:
        earlier = before.devices.get(command.device_id)
        if command.target is None and proved:
            assert earlier is not None
            assert (device.target, device.state, device.target_time) == (
                earlier.target,
                DeviceState.ACTIVE,
                command.now,
            )
            return
        if command.target is None:
            assert earlier is not None
            assert (device.target, device.state, device.target_time) == (
                earlier.target,
                earlier.state,
                earlier.target_time,
            )
            return
        assert (device.target, device.target_time) == (command.target, command.now)
        holder = before.holder(command.target)
        if command.proof.authority or holder in (None, command.device_id) or proved:
            assert device.state is DeviceState.ACTIVE
        elif holder in after.devices:
            assert device.state is DeviceState.UNVERIFIED
            assert after.devices[holder] == before.devices[holder]
        else:
            assert device.state is DeviceState.ACTIVE

    @staticmethod
    def _moved(name: str, before: Seen, after: Seen) -> bool:
        return name not in before.devices or before.devices[name].user_id != after.devices[name].user_id


def _waits(command: Any, before: Seen) -> bool:
    """Whether it registers a device that is new, or nobody's and UNVERIFIED until it shows the token to be its own."""
    if not isinstance(command, Register):
        return False
    known = before.devices.get(command.device_id)
    unclaimed = known is not None and known.user_id is None and command.user_id is None
    return known is None or (unclaimed and known.state is DeviceState.UNVERIFIED)


def _check_departed(answer: RegistryAnswer, before: Seen, after: Seen) -> None:
    """Whoever went, or has another binding or target, is told as they were; and nobody else."""
    gone = {
        name
        for name, device in before.devices.items()
        if name not in after.devices
        or (device.binding_epoch, device.target) != (after.devices[name].binding_epoch, after.devices[name].target)
    }
    assert {device.device_id for device in answer.departed} == gone
    assert {before.devices[name].binding_epoch for name in gone} <= {each.binding_epoch for each in answer.departed}


def _check_others(named: set[str], before: Seen, after: Seen) -> None:
    """Whoever is not named is as before, secrets included."""
    for name in (before.devices.keys() | after.devices.keys()) - named:
        assert after.devices.get(name) == before.devices.get(name)
        assert after.live.get(name) == before.live.get(name)


def _must_succeed(command: RegistryCommand, before: Seen) -> bool:
    """Whether it has what it takes: authority and no device secret, or the device's live one and no user to bind to."""
    if isinstance(command, UnregisterUser | Expire):
        return True
    known = command.device_id in before.devices
    proof = command.proof
    if proof.device_secret is None:
        allowed = proof.authority or (not known and isinstance(command, Register) and command.user_id is None)
    else:
        allowed = before.opens(command.device_id, proof.device_secret)
        allowed &= proof.authority or not isinstance(command, Register) or command.user_id is None
    if isinstance(command, Unregister):
        return allowed
    return allowed and (known or (isinstance(command, Register) and command.target is not None))
