"""P1 under anything: grants made, shown, shown again, by the right and the wrong, while logins come and go."""

from typing import NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from bellhop_server.domain import DAY, MINUTE
from bellhop_server.domain.application import digest_of
from bellhop_server.domain.device import DeviceFacts, Platform, Target
from bellhop_server.domain.errors import BellhopError, BindGrantExpired, CredentialsInvalid
from bellhop_server.domain.grant import Grant
from bellhop_server.domain.registration import Proof, Register, RegistryAnswer, Unregister, UnregisterUser
from tests.contract.registry_world import BOUNDED, World

pytestmark = pytest.mark.promise("P1")

DEVICES = st.sampled_from(["phone", "tablet"])
USERS = st.sampled_from(["ann", "bob"])
SESSIONS = st.sampled_from(["", "web", "kiosk"])
AUTHORITY = Proof(authority=True)


class Login(NamedTuple):
    """Who is logged in on a device: what the model knows. `number` counts logins."""

    user: str
    session: str
    number: int
    ends: int | None


class GrantMachine(RuleBasedStateMachine):
    """A model of who is bound where, and by which login each grant was used."""

    grants = Bundle("grants")

    def __init__(self, shared: World) -> None:
        super().__init__()
        self._world = shared
        self._app = shared.new_application()
        self._now = DAY
        self._numbers = 0
        self._bound: dict[str, Login] = {}
        self._used: dict[str, tuple[str, int]] = {}
        self._ended: dict[tuple[str, str], int] = {}

    def _tick(self) -> int:
        self._now += 1
        for device, login in list(self._bound.items()):
            if login.ends is not None and login.ends <= self._now:
                del self._bound[device]
        return self._now

    @rule(
        target=grants, user=USERS, device=st.just("") | DEVICES, session=SESSIONS, ttl=st.sampled_from([10, 3 * MINUTE])
    )
    def issue(self, user: str, device: str, session: str, ttl: int) -> Grant:
        now = self._tick()
        return Grant(self._app, f"grant-{now}", user, device, session, now, now + ttl)

    @rule(shown=grants, device=DEVICES, ttl=st.none() | st.just(MINUTE))
    def show(self, shown: Grant, device: str, ttl: int | None) -> None:
        """As it was granted, and sometimes late or again."""
        self.show_for(shown, shown.device_id or device, shown.user_id, shown.session_id, ttl)

    @rule(shown=grants, device=DEVICES, user=USERS, session=SESSIONS, ttl=st.none() | st.just(MINUTE))
    def show_for(self, shown: Grant, device: str, user: str, session: str, ttl: int | None) -> None:
        """Whatever it was granted for."""
        now = self._tick()
        expected = self._expected(shown, device, user, session, now)
        outcome = self._register(device, user, session, ttl, shown)
        if expected is not None:
            assert type(outcome) is expected
            return
        assert isinstance(outcome, RegistryAnswer)
        assert outcome.device is not None
        again = shown.grant_id in self._used
        assert again <= (not outcome.created)
        if again:
            assert outcome.departed == ()
        self._used[shown.grant_id] = (device, self._bound[device].number)

    def _expected(self, shown: Grant, device: str, user: str, session: str, now: int) -> type[BellhopError] | None:
        """What has to be the answer; None: it binds."""
        if user != shown.user_id or shown.device_id not in ("", device) or shown.session_id not in ("", session):
            return CredentialsInvalid
        ended = max(self._ended.get((user, each), 0) for each in ("", session))
        if now >= shown.expire_time or shown.issue_time < ended:
            return BindGrantExpired
        used, bound = self._used.get(shown.grant_id), self._bound.get(device)
        if used is None:
            return None
        stands = bound is not None and used == (device, bound.number) and bound.session == session
        return None if stands else BindGrantExpired

    @rule(device=DEVICES, user=USERS, session=SESSIONS, ttl=st.none() | st.just(MINUTE))
    def log_in_by_secret(self, device: str, user: str, session: str, ttl: int | None) -> None:
        self._tick()
        assert isinstance(self._register(device, user, session, ttl, None), RegistryAnswer)

    def _register(
        self, device: str, user: str, session: str, ttl: int | None, shown: Grant | None
    ) -> RegistryAnswer | BellhopError:
        command = Register(
            self._app,
            device,
            user,
            Target(Platform.APNS, device.encode().hex()),
            DeviceFacts(),
            AUTHORITY,
            digest_of(f"{device} {self._now}"),
            self._now,
            self._now,
            session_id=session,
            binding_ttl=ttl,
            grant=shown,
        )
        outcome = self._world.execute(command)
        if isinstance(outcome, RegistryAnswer):
            known = self._bound.get(device)
            same = known is not None and (known.user, known.session) == (user, session)
            self._numbers += not same
            number = known.number if same and known is not None else self._numbers
            self._bound[device] = Login(user, session, number, None if ttl is None else self._now + ttl)
        return outcome

    @rule(device=DEVICES)
    def log_out(self, device: str) -> None:
        self._world.execute(Unregister(self._app, device, AUTHORITY, self._tick()))
        self._bound.pop(device, None)

    @rule(user=USERS, session=SESSIONS)
    def end_logins(self, user: str, session: str) -> None:
        now = self._tick()
        self._world.execute(UnregisterUser(self._app, user, now, session))
        self._ended[user, session] = now
        for device, login in list(self._bound.items()):
            if login.user == user and session in ("", login.session):
                del self._bound[device]

    @rule(passed=st.sampled_from([5, MINUTE, 2 * MINUTE]))
    def wait(self, passed: int) -> None:
        self._now += passed
        self._tick()

    @rule()
    def sweep(self) -> None:
        self._world.sweep(self._now)

    @invariant()
    def whoever_the_model_knows_is_bound_and_nobody_else(self) -> None:
        seen = self._world.look(self._app).as_of(self._now).devices
        bound = {name: (each.user_id, each.session_id) for name, each in seen.items() if each.user_id is not None}
        assert bound == {name: (login.user, login.session) for name, login in self._bound.items()}


def test_grants_under_anything(world: World) -> None:
    run_state_machine_as_test(lambda: GrantMachine(world), settings=BOUNDED)
