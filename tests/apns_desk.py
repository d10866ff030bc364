"""The APNs provider at work on a simulated APNs, and the comparison of what it told with what was seen."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from bellhop_server.domain import HOUR, SECOND, Micros
from bellhop_server.domain.application import ApnsCredential, Credential
from bellhop_server.domain.delivery import Answer, Chunk, Delivery, Verdict
from bellhop_server.domain.device import ApnsEnvironment, Platform
from bellhop_server.domain.notification import Notification, Priority
from bellhop_server.providers.apns.adapter import ApnsProvider
from bellhop_server.providers.apns.settings import ApnsSettings
from bellhop_server.providers.engine import choose
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.turns import Turns
from bellhop_simulators import ApnsSimulator

TOPIC = "com.example.app"


class MovableClock:
    """The machine's clock, which a test may move: both hands by `advance`, the wall clock alone by `skew`."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self.skew = 0.0

    def now(self) -> Micros:
        return int((time.time() + self._ahead + self.skew) * SECOND)

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


class SimulatorClock:
    """Apple's clock: ours, but for the skew."""

    def __init__(self, clock: MovableClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now() / SECOND - self._clock.skew


class Desk:
    """A provider, its APNs and its clock."""

    def __init__(self, apns: ApnsSimulator, provider: ApnsProvider, clock: MovableClock) -> None:
        self.apns = apns
        self.provider = provider
        self.clock = clock
        self.secret = ApnsCredential(apns.key.key_id, apns.key.team_id, apns.key.p8, tuple(apns.key.topics))
        self.handed: set[str] = set()
        """The provider message ids that were told to be handed over before they were answered."""
        self._numbers = 0

    def tokens(self, count: int) -> list[str]:
        """So many device tokens that no other call gives."""
        first, self._numbers = self._numbers, self._numbers + count
        return [f"{number:064x}" for number in range(first + 1, first + count + 1)]

    def chunk(
        self,
        count: int = 1,
        *,
        seconds: float = 5.0,
        tokens: Sequence[str] = (),
        environment: ApnsEnvironment = ApnsEnvironment.PRODUCTION,
        topic: str = TOPIC,
        **changes: Any,
    ) -> Chunk:
        """A chunk for `count` new phones; `changes` by field."""
        expire_time = self.clock.now() + HOUR
        chunk = Chunk(
            app_id="shop",
            credential_id="apns",
            credential_version=1,
            credential=self.secret,
            notification=Notification(title="Hello"),
            priority=Priority.NORMAL,
            now_or_never=False,
            deliveries=[Delivery(token, "", str(uuid.uuid4()), expire_time) for token in tokens or self.tokens(count)],
            deadline=self.clock.monotonic() + seconds,
            apns_topic=topic,
            apns_environment=environment,
        )
        return replace(chunk, **changes)

    async def send(self, chunk: Chunk) -> list[Answer]:
        """The answers in order; asserts that there is one for each, and that they tell what APNs saw."""
        answers: dict[int, Answer] = {}
        handed: set[int] = set()

        def report(index: int, answer: Answer) -> None:
            assert index not in answers, "reported twice"
            answers[index] = answer

        def handed_over(index: int) -> None:
            assert index not in handed, "told twice"
            assert index not in answers, "told too late"
            handed.add(index)

        async with asyncio.timeout(20):
            await self.provider.send(chunk, report, handed_over)
        assert sorted(answers) == list(range(len(chunk.deliveries)))
        self.handed |= {chunk.deliveries[index].provider_message_id for index in handed}
        told = [answers[index] for index in range(len(chunk.deliveries))]
        self.audit(chunk, told)
        return told

    def audit(self, chunk: Chunk, told: Sequence[Answer]) -> None:
        """No push is lost, none is there twice, and who was told that it is there or not was told the truth."""
        taken = Counter(entry.apns_id for entry in self.apns.journal.entries if entry.accepted)
        for delivery, answer in zip(chunk.deliveries, told, strict=True):
            there = taken[delivery.provider_message_id]
            if answer.verdict is Verdict.ACCEPTED:
                assert there == 1, answer
            elif answer.verdict is Verdict.UNKNOWN:
                assert there <= 1, answer
            else:
                assert there == 0, answer

    def provider_tokens(self) -> list[str]:
        """Those that APNs was shown, in the order of their first use."""
        return list(dict.fromkeys(entry.headers["authorization"] for entry in self.apns.journal.entries))

    def reasons(self) -> set[str]:
        """Why APNs refused whatever it refused."""
        return {entry.reason for entry in self.apns.journal.entries if entry.reason}

    async def open_connections(self, count: int) -> None:
        """Waits until APNs has so many."""
        async with asyncio.timeout(10):
            while len(self.apns.connections.open) != count:  # noqa: ASYNC110 - the simulator tells nobody of it
                await asyncio.sleep(0.001)

    def credential(self, **changes: Any) -> Credential:
        """As it is stored, with `changes` to what is secret."""
        return Credential("shop", "apns", Platform.APNS, 1, 0, replace(self.secret, **changes))


@asynccontextmanager
async def apns_desk(
    engine: str = "ngh2", *, limits: dict[str, float] | None = None, **options: Any
) -> AsyncIterator[Desk]:
    """A desk with short pauses between connections. `options` are the simulator's."""
    clock = MovableClock()
    numbers: dict[str, Any] = {"connections": 2, "backoff_first": 0.005, "backoff_most": 0.05} | (limits or {})
    async with ApnsSimulator(clock=SimulatorClock(clock), **options) as apns:
        provider = ApnsProvider(
            ApnsSettings(apns.url, apns.sandbox_url, apns.ca_file),
            clock,
            Turns(),
            limits=Limits(**numbers),
            engine=choose(engine),
        )
        try:
            yield Desk(apns, provider, clock)
        finally:
            await provider.aclose()


def verdicts(answers: Sequence[Answer]) -> Counter[Verdict]:
    """How often each was given."""
    return Counter(answer.verdict for answer in answers)
