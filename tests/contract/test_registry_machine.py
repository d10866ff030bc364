"""P2 and P5 under anything: random commands with random proofs and clocks that jump, on both databases."""

from collections.abc import Collection
from dataclasses import replace
from enum import Enum, auto
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from bellhop_server.domain import DAY, HOUR, MINUTE
from bellhop_server.domain.application import digest_of
from bellhop_server.domain.device import Device, DeviceFacts, Platform, Target
from bellhop_server.domain.errors import BellhopError
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
from tests.contract.registry_observer import Observer, Seen
from tests.contract.registry_world import BOUNDED, World

pytestmark = [pytest.mark.promise("P2"), pytest.mark.promise("P5")]

# Few of each, so that they meet.
DEVICES = st.sampled_from(["phone", "tablet", "\U0001f4f1"])
USERS = st.sampled_from(["ann", "A\u030angstro\u0308m", "\u00c5ngstr\u00f6m"])
TARGETS = st.sampled_from([Target(Platform.APNS, f"{number:02x}" * 32) for number in range(3)])
FACTS = st.sampled_from([DeviceFacts(), DeviceFacts("de", "Europe/Vienna", "1", {"tier": "gold"})])


SESSIONS = st.sampled_from(["", "web", "kiosk"])
GENERATIONS = st.none() | st.integers(1, 4)
TTLS = st.none() | st.sampled_from([MINUTE, 2 * MINUTE])
# How long a call has been under way.
DELAYS = st.sampled_from([0, 0, 2, 10, MINUTE])
BINDINGS = st.fixed_dictionaries({"session_id": SESSIONS, "binding_ttl": TTLS, "binding_generation": GENERATIONS})
UNNAMED = {"session_id": "", "binding_ttl": None, "binding_generation": None}


class Shown(Enum):
    """The device secret that a caller shows."""

    NONE = auto()
    LIVE = auto()
    OF_THE_HOLDER = auto()
    OF_ANOTHER = auto()
    RETIRED = auto()
    BROUGHT = auto()
    SHORT = auto()


class ShownNonce(Enum):
    """The nonce that a caller shows, of those that were pushed."""

    NONE = auto()
    LAST = auto()
    EARLIER = auto()
    OF_ANOTHER = auto()
    WRONG = auto()


NONCES = st.sampled_from(ShownNonce)
PROOFS = st.tuples(st.booleans(), st.sampled_from(Shown))


class RegistryMachine(RuleBasedStateMachine):
    """One application. Every command is watched by an observer that knows only what must hold."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._app = world.new_application()
        self._observer = Observer()
        self._seen = Seen({}, {})
        self._shown: dict[str, set[bytes]] = {}
        self._nonces: dict[str, list[bytes]] = {}
        self._now = DAY

    @rule(
        device=DEVICES,
        user=st.none() | USERS,
        at=st.none() | TARGETS,
        facts=FACTS,
        proof=PROOFS,
        binding=BINDINGS,
        delay=DELAYS,
        nonce=NONCES,
    )
    def register(
        self,
        device: str,
        user: str | None,
        at: Target | None,
        facts: DeviceFacts,
        proof: tuple[bool, Shown],
        binding: dict[str, Any] = UNNAMED,
        delay: int = 0,
        nonce: ShownNonce = ShownNonce.NONE,
    ) -> None:
        now = self._tick()
        shown = self._proof(device, at, *proof)
        fresh = digest_of(f"a fresh secret {now}")
        if user is None:
            binding = UNNAMED | {"binding_generation": binding["binding_generation"]}
        nonces = self._nonce(device, nonce)
        self._do(Register(self._app, device, user, at, facts, shown, fresh, now, now - delay, **binding, **nonces))

    @rule(device=DEVICES, user=USERS, at=TARGETS, binding=BINDINGS)
    def log_in(self, device: str, user: str, at: Target, binding: dict[str, Any]) -> None:
        self.register(device, user, at, DeviceFacts(), (True, Shown.NONE), binding)

    @rule(passed=st.sampled_from([MINUTE // 2, MINUTE, 2 * MINUTE, HOUR]))
    def wait(self, passed: int) -> None:
        self._now += passed

    @rule()
    def write_down_what_has_ended(self) -> None:
        ended = self._world.ended(self._tick())
        if ended:
            self._do(Expire(self._app, tuple(name for app_id, name in ended if app_id == self._app), self._now))

    @rule(device=DEVICES)
    def log_in_again(self, device: str) -> None:
        known = self._seen.devices.get(device)
        if known is not None:
            session = {"session_id": known.session_id}
            self.register(device, known.user_id, None, known.facts, (True, Shown.NONE), UNNAMED | session)

    @rule(device=DEVICES, session=SESSIONS)
    def log_in_by_another_session(self, device: str, session: str) -> None:
        known = self._seen.devices.get(device)
        if known is not None and known.user_id is not None:
            binding = UNNAMED | {"session_id": session}
            self.register(device, known.user_id, None, known.facts, (True, Shown.NONE), binding)

    @rule(device=DEVICES, user=USERS, at=TARGETS, ended=SESSIONS, session=SESSIONS)
    def log_in_late(self, device: str, user: str, at: Target, ended: str, session: str) -> None:
        self.unregister_user(user, ended)
        binding = UNNAMED | {"session_id": session}
        self.register(device, user, at, DeviceFacts(), (True, Shown.NONE), binding, delay=2)

    @rule(device=DEVICES, expected=USERS)
    def log_out_expected(self, device: str, expected: str) -> None:
        self.unregister(device, (True, Shown.NONE), expected, None)

    @rule(device=DEVICES, at=st.none() | TARGETS)
    def unbind_itself(self, device: str, at: Target | None) -> None:
        self.register(device, None, at, DeviceFacts(), (False, Shown.LIVE))

    @rule(device=DEVICES, at=TARGETS)
    def rotate_its_token(self, device: str, at: Target) -> None:
        self.update(device, at, (False, Shown.LIVE))

    @rule(device=DEVICES, at=st.none() | TARGETS, proof=PROOFS, nonce=NONCES)
    def update(
        self, device: str, at: Target | None, proof: tuple[bool, Shown], nonce: ShownNonce = ShownNonce.NONE
    ) -> None:
        shown, now = self._proof(device, at, *proof), self._tick()
        nonces = self._nonce(device, nonce)
        self._do(Update(self._app, device, at, None, None, "2", {"a": "b"}, ("tier",), shown, now, **nonces))

    @rule(device=DEVICES, at=st.none() | TARGETS, nonce=NONCES, updates=st.booleans())
    def show_a_nonce(self, device: str, at: Target | None, nonce: ShownNonce, updates: bool) -> None:
        if updates:
            self.update(device, at, (False, Shown.LIVE), nonce)
        else:
            self.register(device, None, at, DeviceFacts(), (False, Shown.LIVE), nonce=nonce)

    @rule(
        device=DEVICES,
        owner=DEVICES,
        at=TARGETS,
        nonce=NONCES,
        passed=st.sampled_from([0, 0, MINUTE, HOUR]),
        again=st.booleans(),
        instead=st.none() | TARGETS,
    )
    def name_anothers_token_and_show_a_nonce(
        self, device: str, owner: str, at: Target, nonce: ShownNonce, passed: int, again: bool, instead: Target | None
    ) -> None:
        self.log_in(owner, "ann", at, UNNAMED)
        for _ in range(1 + again):
            if device in self._seen.devices:
                self.rotate_its_token(device, at)
            else:
                self.register(device, None, at, DeviceFacts(), (False, Shown.NONE))
            self.wait(passed)
        if instead is not None:
            self.rotate_its_token(device, instead)
        self.update(device, None, (False, Shown.LIVE), nonce)

    @rule(device=DEVICES, proof=PROOFS, expected=st.none() | USERS, generation=GENERATIONS)
    def unregister(self, device: str, proof: tuple[bool, Shown], expected: str | None, generation: int | None) -> None:
        shown = self._proof(device, None, *proof)
        self._do(Unregister(self._app, device, shown, self._tick(), expected, generation))

    @rule(user=USERS, session=SESSIONS)
    def unregister_user(self, user: str, session: str) -> None:
        self._do(UnregisterUser(self._app, user, self._tick(), session))

    def _do(self, command: RegistryCommand) -> None:
        outcome = self._world.execute(command)
        before, self._seen = self._seen, self._world.look(self._app)
        for name, digests in self._seen.live.items():
            self._shown.setdefault(name, set()).update(digests)
        self._observer.check(command, outcome, before, self._seen)
        if isinstance(outcome, RegistryAnswer) and outcome.nonce_issued:
            assert isinstance(command, Register | Update)
            self._nonces.setdefault(command.device_id, []).append(command.fresh_nonce)

    def _nonce(self, device: str, shown: ShownNonce) -> dict[str, bytes | None]:
        """A fresh one, and the one that is shown; None where there is no such one."""
        own = self._nonces.get(device, [])
        others = [nonce for name, nonces in self._nonces.items() if name != device for nonce in nonces]
        found = {
            ShownNonce.NONE: [],
            ShownNonce.LAST: own[-1:],
            ShownNonce.EARLIER: own[:-1],
            ShownNonce.OF_ANOTHER: others,
            ShownNonce.WRONG: [digest_of("never pushed")],
        }[shown]
        return {"target_nonce": found[-1] if found else None, "fresh_nonce": digest_of(f"nonce {self._now}")}

    def _tick(self) -> int:
        self._now += 1
        return self._now

    def _proof(self, device: str, at: Target | None, authority: bool, shown: Shown) -> Proof:
        """None where there is no such secret."""
        live = self._seen.live
        holder = self._seen.holder(at)
        found: dict[Shown, Collection[bytes]] = {
            Shown.NONE: (),
            Shown.LIVE: live.get(device, ()),
            Shown.OF_THE_HOLDER: live.get(holder or "", ()),
            Shown.OF_ANOTHER: [digest for name, digests in live.items() if name != device for digest in digests],
            Shown.RETIRED: self._shown.get(device, set()) - live.get(device, frozenset()),
            Shown.BROUGHT: [digest_of(f"brought {self._now % 4}")],
            Shown.SHORT: [digest_of("short")],
        }
        # The first of several by digest: as good as any, and the same when an example is run again.
        digest = min(found[shown], default=None)
        return Proof(authority, digest, digest is not None and shown is not Shown.SHORT)


def test_nothing_is_taken_without_proof_and_nothing_survives_a_change_of_user(world: World) -> None:
    class Machine(RegistryMachine):
        def __init__(self) -> None:
            super().__init__(world)

    run_state_machine_as_test(Machine, settings=BOUNDED)


@st.composite
def _commands(draw: st.DrawFn) -> list[RegistryCommand]:
    """Commands to an application without a name yet."""
    commands: list[RegistryCommand] = []
    fresh = [f"a secret that was issued by command {place}" for place in range(12)]
    texts = st.sampled_from([*fresh, "a secret that a device brought to Bellhop", "short"])
    now = DAY
    nonces = [digest_of(f"nonce {place}") for place in range(12)]
    for place in range(draw(st.integers(4, 12))):
        kind = draw(st.sampled_from([Register, Register, Register, Update, Unregister, UnregisterUser, Expire]))
        device, at, user = draw(DEVICES), draw(st.none() | TARGETS), draw(st.none() | USERS)
        now += draw(st.sampled_from([1, 1, 1, MINUTE]))
        text = draw(st.none() | texts)
        proof = Proof(
            draw(st.booleans()), None if text is None else digest_of(text), text is not None and len(text) >= 32
        )
        shown = {"target_nonce": draw(st.none() | st.sampled_from(nonces[: place + 1])), "fresh_nonce": nonces[place]}
        if kind is Register:
            received, binding = now - draw(DELAYS), draw(BINDINGS) if user else UNNAMED
            secret = digest_of(fresh[place])
            commands.append(
                Register("", device, user, at, draw(FACTS), proof, secret, now, received, **binding, **shown)
            )
        elif kind is Update:
            commands.append(Update("", device, at, "en", None, None, {"a": "b"}, (), proof, now, **shown))
        elif kind is Unregister:
            commands.append(Unregister("", device, proof, now, draw(st.none() | USERS), draw(GENERATIONS)))
        elif kind is UnregisterUser:
            commands.append(UnregisterUser("", user or "ann", now, draw(SESSIONS)))
        else:
            commands.append(Expire("", ("phone", "tablet"), now))
    return commands


def _compared(answers: list[RegistryAnswer | BellhopError]) -> list[object]:
    """Answers without the application's name, and with epochs by the order in which they first appear.

    In a group the end of a binding is met by commands that have nothing to do with it, so who departed is left out.
    """
    order: dict[int, int] = {}
    found: list[object] = []
    for answer in answers:
        if isinstance(answer, BellhopError):
            found.append((type(answer), answer.metadata))
        elif answer.device is None:
            found.append(replace(answer, departed=()))
        else:
            epoch = order.setdefault(answer.device.binding_epoch, len(order))
            device = replace(answer.device, app_id="", binding_epoch=epoch)
            found.append(replace(answer, device=device, departed=()))
    return found


def test_a_group_does_what_its_members_would_do_one_by_one(world: World) -> None:
    @BOUNDED
    @given(_commands())
    def compare(commands: list[RegistryCommand]) -> None:
        alone, together = world.new_application(), world.new_application()
        one_by_one = [world.execute(replace(command, app_id=alone)) for command in commands]
        # Something for the group to find, then the group.
        found_there = len(commands) // 2
        answers = [world.execute(replace(command, app_id=together)) for command in commands[:found_there]]
        answers += world.apply([replace(command, app_id=together) for command in commands[found_there:]])
        assert _compared(answers) == _compared(one_by_one)
        expected, found = world.look(alone), world.look(together)
        assert found.live == expected.live
        assert _without_names(found, commands[-1].now) == _without_names(expected, commands[-1].now)

    compare()


def _without_names(seen: Seen, now: int) -> dict[str, Device]:
    devices = seen.as_of(now).devices
    return {name: replace(device, app_id="", binding_epoch=0) for name, device in devices.items()}
