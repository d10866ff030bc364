"""A provider that does what it is told, and keeps a journal of what it was handed."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.application import Breaker, Credential, ProbeResult
from bellhop_server.domain.delivery import ANSWER, Answer, Chunk, Delivery, Verdict
from bellhop_server.domain.device import Platform

if TYPE_CHECKING:
    from tests.everything.stage import Stage


class Halt(Enum):
    """How far a request gets by itself."""

    NOWHERE = auto()
    AT_THE_PROVIDER = auto()
    ANSWERED = auto()


@dataclass(frozen=True)
class Plan:
    """What becomes of a request: where it waits, and its answer in the end."""

    halt: Halt = Halt.ANSWERED
    verdict: Verdict = Verdict.ACCEPTED
    retry_after: float | None = None
    invalid_since: Micros = 0


HEALTHY = (Plan(),)
MOODS: dict[str, tuple[Plan, ...]] = {
    "healthy": HEALTHY,
    "slow to take": (Plan(Halt.NOWHERE),),
    "slow to answer": (Plan(Halt.AT_THE_PROVIDER), Plan(Halt.AT_THE_PROVIDER, Verdict.UNKNOWN)),
    "doubtful": (Plan(verdict=Verdict.UNKNOWN), Plan()),
    "unreachable": (Plan(verdict=Verdict.NOT_SENT), Plan(Halt.NOWHERE, Verdict.NOT_SENT)),
    "refused": (Plan(verdict=Verdict.PROVIDER_UNAVAILABLE),),
    "overloaded": (
        Plan(verdict=Verdict.PROVIDER_UNAVAILABLE),
        Plan(verdict=Verdict.PROVIDER_UNAVAILABLE, retry_after=30.5),
        Plan(verdict=Verdict.THROTTLED_TARGET),
        Plan(verdict=Verdict.THROTTLED_SENDER, retry_after=90_000.0),
    ),
    "refusing": (
        Plan(verdict=Verdict.TOKEN_GONE_SINCE, invalid_since=1),
        Plan(verdict=Verdict.TOKEN_GONE_SINCE, invalid_since=2**60),
        Plan(verdict=Verdict.TOKEN_GONE_SINCE),
        Plan(verdict=Verdict.TOKEN_INVALID),
        Plan(verdict=Verdict.PAYLOAD_INVALID),
        Plan(Halt.AT_THE_PROVIDER, Verdict.TOKEN_GONE_SINCE, invalid_since=2**60),
    ),
}
MOODS["mixed"] = tuple(plan for mood in MOODS.values() for plan in mood) + HEALTHY * 8


@dataclass(eq=False)
class Push:
    """One request as the provider knows it. `left`: when it was handed over for certain, or may have been."""

    app_id: str
    delivery: Delivery
    deadline: float
    plan: Plan
    received: int
    received_time: Micros
    tell: Callable[[Answer], None] = field(repr=False)
    tell_handed_over: Callable[[], None] = field(repr=False)
    left: int | None = None
    answer: Answer | None = None


class SteeredProvider:
    """`ports.Provider` in one life of the server."""

    platform = Platform.APNS

    def __init__(
        self,
        stage: "Stage",
        order: random.Random,
        mood: str,
        hear: tuple[Callable[[Push], None], Callable[[Push], None]],
    ) -> None:
        """`hear`: who is told when a request comes in, and when it leaves."""
        self.mood = mood
        self._stage = stage
        self._order = order
        self._hear_received, self._hear_left = hear
        self._waiting: list[Push] = []

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        """See `ports.Provider`."""
        loop, clock = asyncio.get_running_loop(), self._stage.clock
        unanswered = len(chunk.deliveries)
        all_answered: asyncio.Future[None] = loop.create_future()

        def told(index: int) -> Callable[[Answer], None]:
            def tell(answer: Answer) -> None:
                nonlocal unanswered
                report(index, answer)
                unanswered -= 1
                if not unanswered and not all_answered.done():
                    all_answered.set_result(None)

            return tell

        pushes = []
        for index, delivery in enumerate(chunk.deliveries):
            plan = self._order.choice(MOODS[self.mood])
            take = _bound(handed_over, index)
            push = Push(chunk.app_id, delivery, chunk.deadline, plan, self._stage.now(), clock.now(), told(index), take)
            pushes.append(push)
            self._hear_received(push)
        for push in pushes:
            self._waiting.append(push)
            self._move(push, push.plan.halt)
        timers = [loop.call_at(chunk.deadline, self._time_out, pushes)]
        timers.append(loop.call_at(chunk.deadline + ANSWER, self._give_up, pushes))
        try:
            await all_answered
        finally:
            for timer in timers:
                timer.cancel()

    def go_on(self, share: float) -> None:
        """Some of what waits gets one step further, or to its answer."""
        for push in list(self._waiting):
            if self._order.random() < share:
                at_the_provider = push.left is None and self._order.random() < 0.5
                self._move(push, Halt.AT_THE_PROVIDER if at_the_provider else Halt.ANSWERED)

    def _move(self, push: Push, halt: Halt) -> None:
        if push.answer is not None or halt is Halt.NOWHERE:
            return
        if push.left is None and self._stage.clock.monotonic() >= push.deadline:
            # Too late to be written.
            self._answer(push, Answer(Verdict.NOT_SENT, reason="Deadline"))
            return
        if halt is Halt.ANSWERED:
            plan = push.plan
            verdict = plan.verdict
            if push.left is not None and verdict is Verdict.NOT_SENT:
                verdict = Verdict.UNKNOWN
            status = (
                200 if verdict is Verdict.ACCEPTED else 0 if verdict in (Verdict.NOT_SENT, Verdict.UNKNOWN) else 503
            )
            reason = "" if verdict is Verdict.ACCEPTED else verdict.name
            name = push.delivery.provider_message_id
            since = min(plan.invalid_since, self._stage.clock.now() + 60 * SECOND)
            self._answer(push, Answer(verdict, status, reason, name, plan.retry_after, since))
        elif push.left is None:
            self._leave(push)
            push.tell_handed_over()

    def _time_out(self, pushes: list[Push]) -> None:
        for push in pushes:
            if push.left is None and push.answer is None:
                self._answer(push, Answer(Verdict.NOT_SENT, reason="Deadline"))

    def _give_up(self, pushes: list[Push]) -> None:
        for push in pushes:
            if push.answer is None:
                self._answer(push, Answer(Verdict.UNKNOWN, reason="NoAnswer"))

    def _leave(self, push: Push) -> None:
        push.left = self._stage.now()
        self._hear_left(push)

    def _answer(self, push: Push, answer: Answer) -> None:
        if answer.verdict is not Verdict.NOT_SENT and push.left is None:
            self._leave(push)
        self._waiting.remove(push)
        push.answer = answer
        push.tell(answer)

    async def probe(self, credential: Credential) -> ProbeResult:
        """See `ports.Provider`."""
        return ProbeResult(True, "", 0)

    def breakers(self, app_id: str) -> list[Breaker]:
        """See `ports.Provider`."""
        return []

    def forget(self, app_id: str, credential_id: str) -> None:
        """See `ports.Provider`."""

    async def aclose(self) -> None:
        """See `ports.Provider`."""


def _bound(handed_over: Callable[[int], None], index: int) -> Callable[[], None]:
    return lambda: handed_over(index)
