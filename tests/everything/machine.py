"""Anything may happen next."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from bellhop_server.domain import DAY, HOUR, MINUTE, SECOND
from bellhop_server.domain.message import (
    Audience,
    AudienceKind,
    ResendPolicy,
    ResultFilter,
    Send,
    SendOptions,
)
from bellhop_server.domain.notification import Notification, Priority
from tests.everything.play import APPS, Play
from tests.everything.provider import MOODS
from tests.everything.theatre import Theatre

# Few of each, so that they meet. Most happens in the first application; the other one shows what leaks.
APPLICATIONS = st.sampled_from([APPS[0]] * 5 + [APPS[1]])
DEVICES = st.sampled_from(["phone", "tablet", "watch", "car"])
USERS = st.sampled_from(["ann", "bob", "cem"])
TOKENS = st.sampled_from(["aa" * 32, "bb" * 32, "cc" * 32, "dd" * 32])
SESSIONS = st.sampled_from(["", "", "web"])
TTLS = st.sampled_from([None, None, MINUTE, HOUR])
GENERATIONS = st.none() | st.integers(1, 3)
AUDIENCES = st.builds(
    Audience,
    st.just(AudienceKind.USERS),
    st.sampled_from([("ann",), ("bob",), ("ann", "bob", "cem")]),
    exclude_user_ids=st.sampled_from([(), (), ("bob",)]),
) | st.sampled_from(
    [
        Audience(AudienceKind.DEVICES, ("phone", "watch", "no such device")),
        Audience(AudienceKind.EVERYONE),
        Audience(AudienceKind.EVERYONE, exclude_user_ids=("ann",)),
    ]
)
OPTIONS = st.builds(
    SendOptions,
    ttl=st.sampled_from([DAY, DAY, 10 * MINUTE, 20 * SECOND, 0]),
    priority=st.sampled_from(Priority),
    resend=st.sampled_from(ResendPolicy),
)
LEAPS = st.sampled_from([0.05, 0.3, 1.0, 5.0, 9.0, 30.0, 90.0, 700.0, 4_000.0])


class EverythingMachine(RuleBasedStateMachine):
    """One run. What the model finds wrong is raised by the rule that brought it about."""

    def __init__(self, theatre: Theatre) -> None:
        super().__init__()
        self._theatre = theatre
        self._sends = 0
        self._repeatable: dict[tuple[str, str], Send] = {}
        self.play: Play | None = None

    def _run(self, work: Any) -> None:
        self._theatre.run(work)

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        """The seed is for the order of what happens at the same time."""
        self.play = self._theatre.open(seed)
        self._run(self.play.begin())

    def teardown(self) -> None:
        if self.play is None:
            return
        try:
            if self._theatre.well:
                self._run(self.play.end())
        finally:
            self._theatre.close(self.play)

    @rule(app=APPLICATIONS, device=DEVICES, user=USERS, token=TOKENS)
    def log_in(self, app: str, device: str, user: str, token: str) -> None:
        self._run(self.play.register(app, device, user, token))

    @rule(
        app=APPLICATIONS,
        device=DEVICES,
        user=st.none() | USERS,
        token=st.none() | TOKENS,
        session=SESSIONS,
        ttl=TTLS,
        generation=GENERATIONS,
    )
    def register(
        self,
        app: str,
        device: str,
        user: str | None,
        token: str | None,
        session: str,
        ttl: int | None,
        generation: int | None,
    ) -> None:
        binding = {"session_id": session, "binding_ttl": ttl} if user else {}
        self._run(self.play.register(app, device, user, token, binding_generation=generation, **binding))

    @rule(app=APPLICATIONS, device=DEVICES, token=TOKENS)
    def register_without_a_secret(self, app: str, device: str, token: str) -> None:
        self._run(self.play.register(app, device, None, token, authority=False))

    @rule(app=APPLICATIONS, device=DEVICES, token=TOKENS)
    def rotate(self, app: str, device: str, token: str) -> None:
        self._run(self.play.rotate(app, device, token))

    @rule(app=APPLICATIONS, device=DEVICES, expected=st.none() | USERS, generation=GENERATIONS)
    def log_out(self, app: str, device: str, expected: str | None, generation: int | None) -> None:
        self._run(self.play.unregister(app, device, expected_user_id=expected, binding_generation=generation))

    @rule(app=APPLICATIONS, user=USERS, session=SESSIONS)
    def log_out_everywhere(self, app: str, user: str, session: str) -> None:
        self._run(self.play.unregister_user(app, user, session))

    @rule(
        app=APPLICATIONS,
        audience=AUDIENCES,
        options=OPTIONS,
        key=st.sampled_from(["", "", "k"]),
        later=st.sampled_from([None, None, None, MINUTE, HOUR]),
        request_id=st.sampled_from(["", "", "r1", "r2"]),
        at_once=st.sampled_from([1, 1, 2]),
    )
    def send(
        self,
        app: str,
        audience: Audience,
        options: SendOptions,
        key: str,
        later: int | None,
        request_id: str,
        at_once: int,
    ) -> None:
        """With an id that was used before it is other content."""
        self._sends += 1
        if later is not None and self._theatre.schedules:
            now = self.play.stage.clock.now()
            options = SendOptions(options.ttl, options.priority, options.resend, now + later)
        notification = Notification(title=f"send-{self._sends}", collapse_key=key)
        send = Send(app, audience, notification, options, request_id)
        if request_id:
            self._repeatable.setdefault((app, request_id), send)
        self._run(self.play.send(send, at_once if request_id else 1))

    @rule(user=USERS, mood=st.sampled_from(sorted(MOODS)), resend=st.sampled_from(ResendPolicy))
    def send_to_one(self, user: str, mood: str, resend: ResendPolicy) -> None:
        """The plain case, with whatever the provider makes of it."""
        self.play.set_mood(mood)
        options = SendOptions(resend=resend)
        self.send("shop", Audience(AudienceKind.USERS, (user,)), options, "", None, "", 1)

    @rule(
        user=USERS,
        device=DEVICES,
        token=TOKENS,
        how=st.sampled_from(["out", "out everywhere", "another user", "anonymous", "another device", "rotate"]),
        steps=st.none() | st.integers(0, 12),
    )
    def log_out_while_it_is_under_way(self, user: str, device: str, token: str, how: str, steps: int | None) -> None:
        play = self.play
        self._run(play.register("shop", device, user, token))
        self.send_to_one(user, "slow to take", ResendPolicy.ALWAYS)
        play.hurry = steps
        match how:
            case "out":
                self._run(play.unregister("shop", device))
            case "out everywhere":
                self._run(play.unregister_user("shop", user, ""))
            case "another user":
                self._run(play.register("shop", device, "dan", token))
            case "anonymous":
                self._run(play.register("shop", device, None, None))
            case "another device":
                self._run(play.register("shop", "car", "dan", token))
            case "rotate":
                self._run(play.rotate("shop", device, "ee" * 32))

    @rule(
        user=USERS,
        device=DEVICES,
        token=TOKENS,
        resend=st.sampled_from(ResendPolicy),
        mood=st.sampled_from(["unreachable", "doubtful", "refused"]),
        how=st.sampled_from(["stays", "in again", "another user", "ends", "cancelled", "crash"]),
    )
    def something_changes_between_two_attempts(
        self, user: str, device: str, token: str, resend: ResendPolicy, mood: str, how: str
    ) -> None:
        play = self.play
        self._run(play.register("shop", device, user, token, binding_ttl=9 * SECOND if how == "ends" else None))
        self.send_to_one(user, mood, resend)
        match how:
            case "in again":
                self._run(play.unregister("shop", device))
                self._run(play.register("shop", device, user, token))
            case "another user":
                self._run(play.register("shop", device, "dan", token))
            case "cancelled" if play.model.kept:
                self.cancel(1)
            case "crash":
                self._run(play.crash())
        play.set_mood("healthy")
        self._run(play.advance(12.5))

    @precondition(lambda self: self._repeatable)
    @rule(data=st.data(), at_once=st.sampled_from([1, 2]))
    def repeat(self, data: st.DataObject, at_once: int) -> None:
        send = self._repeatable[data.draw(st.sampled_from(sorted(self._repeatable)))]
        self._run(self.play.send(send, at_once))

    @precondition(lambda self: self.play.model.kept)
    @rule(which=st.integers(1, 4))
    def cancel(self, which: int) -> None:
        refs = sorted(self.play.model.kept)
        self._run(self.play.cancel(refs[max(-which, -len(refs))]))

    @precondition(lambda self: self.play.model.kept and len(self.play.watchers) < 6)
    @rule(which=st.integers(1, 4), shows=st.sampled_from(ResultFilter))
    def watch(self, which: int, shows: ResultFilter) -> None:
        refs = sorted(self.play.model.kept)
        self._run(self.play.watch(refs[max(-which, -len(refs))], shows))

    @precondition(lambda self: self.play.watchers)
    @rule(which=st.integers(0, 5), again=st.booleans())
    def cut_a_stream(self, which: int, again: bool) -> None:
        watcher = self.play.watchers[which % len(self.play.watchers)]
        self._run(self.play.cut(watcher, again=again))

    @rule(mood=st.sampled_from(sorted(MOODS)))
    def change_the_provider(self, mood: str) -> None:
        self.play.set_mood(mood)

    @rule(share=st.sampled_from([0.5, 1.0]))
    def the_provider_goes_on(self, share: float) -> None:
        self._run(self.play.go_on(share))

    @rule(seconds=LEAPS)
    def time_passes(self, seconds: float) -> None:
        self._run(self.play.advance(seconds))

    @rule(by=st.sampled_from([-3 * SECOND, 3 * SECOND, MINUTE]))
    def the_clock_is_set(self, by: int) -> None:
        self._run(self.play.set_wall(by))

    @rule(days=st.sampled_from([1, 1, 8, 31, 32]))
    def a_long_time_passes(self, days: int) -> None:
        self._run(self.play.advance(days * DAY / SECOND))

    @rule()
    def crash(self) -> None:
        self._run(self.play.crash())

    @rule(steps=st.integers(0, 30))
    def crash_soon(self, steps: int) -> None:
        self.play.stage.fuse = steps

    @rule(times=st.integers(1, 12))
    def the_database_is_away(self, times: int) -> None:
        self.play.stage.server.gate.refuse = times

    @rule(steps=st.integers(0, 12))
    def hurry(self, steps: int) -> None:
        """What comes next begins before the one before it has ended."""
        self.play.hurry = steps
