"""A registry without a store, that tests of its rules speak to."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bellhop_server.domain import Micros
from bellhop_server.domain.application import AnonymousPolicy, BindingPolicy, Policy, SecretKind, digest_of
from bellhop_server.domain.device import Device, DeviceFacts, Platform, Target
from bellhop_server.domain.picture import Picture
from bellhop_server.domain.registration import (
    Expire,
    Proof,
    Register,
    RegistryAnswer,
    RegistryCommand,
    Unregister,
    UnregisterUser,
    Update,
)
from bellhop_server.domain.registry import carry_out

OWN = "a secret that the device made for itself"


SHORT = "too short to own"


FACTS = DeviceFacts("de-AT", "Europe/Vienna", "1.0", {"tier": "gold"})


OPEN, SECRET, OFF = AnonymousPolicy


def token(name: str) -> Target:
    return Target(Platform.APNS, name.encode().hex())


class Registry:
    """A picture that the test speaks to; each registration is offered a fresh secret of its own."""

    def __init__(
        self,
        users: dict[str, int] | None = None,
        unverified: int = 0,
        policy: AnonymousPolicy = OPEN,
        default_ttl: Micros | None = None,
        binding_policy: BindingPolicy = BindingPolicy.SECRET_OR_GRANT,
    ) -> None:
        counts = dict.fromkeys([("app", user) for user in ("ann", "bob")], 0)
        counts.update({("app", user): count for user, count in (users or {}).items()})
        self.picture = Picture(
            [], {}, {"app": Policy(policy, default_ttl, binding_policy)}, counts, lambda app_id: unverified
        )
        self.now: Micros = 1_000
        self._epochs = itertools.count(1)
        self._fresh = itertools.count(1)
        self._nonces = itertools.count(1)
        self.fresh = ""
        self.nonce = ""
        """The last one that was to be pushed."""

    def do(self, command: RegistryCommand) -> RegistryAnswer:
        return carry_out(command, self.picture, lambda: next(self._epochs))

    def register(
        self,
        device: str,
        user: str | None = None,
        at: str | None = None,
        *,
        authority: bool = True,
        secret: str | None = None,
        facts: DeviceFacts = FACTS,
        nonce: str = "",
        kinds: frozenset[SecretKind] = frozenset(),
        **binding: Any,
    ) -> RegistryAnswer:
        """`binding`: session_id, binding_ttl, binding_generation, received (default: now), grant,
        sealed_binding_key.
        """
        self.now += 1
        self.fresh = f"bhd_fresh_secret_number_{next(self._fresh):010}"
        return self._push(
            Register(
                "app",
                device,
                user,
                None if at is None else token(at),
                facts,
                replace(proof(authority, secret), kinds=kinds),
                digest_of(self.fresh),
                self.now,
                **{"received": self.now, **self._nonce(nonce), **binding},
            )
        )

    def login(self, device: str, user: str, at: str | None = None, secret: str | None = None) -> str:
        """Registers under authority; returns the fresh secret, which must have been issued."""
        assert self.register(device, user, at, secret=secret).secret_issued
        return self.fresh

    def update(
        self,
        device: str,
        at: str | None = None,
        *,
        authority: bool = True,
        secret: str | None = None,
        nonce: str = "",
        **changes: Any,
    ) -> RegistryAnswer:
        self.now += 1
        fields: dict[str, Any] = {
            "locale": None,
            "time_zone": None,
            "app_version": None,
            "set_attributes": {},
            "remove_attributes": (),
        }
        target = None if at is None else token(at)
        fields |= changes | self._nonce(nonce)
        return self._push(Update("app", device, target, **fields, proof=proof(authority, secret), now=self.now))

    def unregister(self, device: str, *, authority: bool = True, secret: str | None = None, **conditions: Any) -> int:
        """`conditions`: expected_user_id, binding_generation."""
        self.now += 1
        return self.do(Unregister("app", device, proof(authority, secret), self.now, **conditions)).removed

    def unregister_user(self, user: str, session: str = "") -> int:
        self.now += 1
        return self.do(UnregisterUser("app", user, self.now, session)).removed

    def expire(self, *devices: str) -> RegistryAnswer:
        return self.do(Expire("app", devices, self.now))

    def _nonce(self, shown: str) -> dict[str, bytes | None]:
        """A fresh one, and the one that is shown."""
        self._next_nonce = f"nonce {next(self._nonces)}"
        return {"target_nonce": digest_of(shown) if shown else None, "fresh_nonce": digest_of(self._next_nonce)}

    def _push(self, command: Register | Update) -> RegistryAnswer:
        answer = self.do(command)
        if answer.nonce_issued:
            self.nonce = self._next_nonce
        return answer

    def device(self, device: str) -> Device:
        found = self.picture.device(("app", device))
        assert found is not None
        return found

    def gone(self, device: str) -> bool:
        return self.picture.device(("app", device)) is None

    def holder(self, at: str) -> str | None:
        found = self.picture.holder(("app", token(at).digest))
        return found.device_id if found else None

    def proves(self, device: str, secret: str) -> bool:
        """Whether the secret opens the device, asked without using it."""
        return self.picture.keyring(("app", device)).live(digest_of(secret))

    def refuses(self, error: type[Exception], call: Callable[[], object]) -> None:
        """The call is refused, and nothing whatever has changed."""
        before = self.state()
        with pytest.raises(error):
            call()
        assert self.state() == before

    def state(self) -> object:
        picture = self.picture
        devices = {key: picture.device(key) for key in picture.touched}
        rings = {key: dict(ring.changed) for key, ring in picture.keyrings.items() if ring.changed}
        counts = picture.user_count(("app", "ann")), picture.unverified_count("app")
        return devices, rings, counts, dict(picture.grant_uses)


def proof(authority: bool, secret: str | None) -> Proof:
    if secret is None:
        return Proof(authority)
    return Proof(authority, digest_of(secret), len(secret) >= 32)
