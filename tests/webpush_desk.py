"""The Web Push provider at work on a simulated push service, and the comparison of what it told with what was seen."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from bellhop_server.domain import HOUR
from bellhop_server.domain.application import VapidKey, WebPushCredential
from bellhop_server.domain.delivery import Answer, Chunk, Delivery, Verdict
from bellhop_server.domain.notification import Notification, Priority
from bellhop_server.providers.addresses import Addresses
from bellhop_server.providers.engine import choose
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.turns import Turns
from bellhop_server.providers.webpush import vapid
from bellhop_server.providers.webpush.adapter import WebPushProvider
from bellhop_server.providers.webpush.settings import WebPushSettings
from bellhop_simulators import WebPushSimulator
from bellhop_simulators.webpush.browser import BrowserSubscription
from tests.apns_desk import MovableClock, SimulatorClock

SUBJECT = "mailto:push@example.com"


class Desk:
    """A provider, its push service and its clock."""

    def __init__(self, push: WebPushSimulator, provider: WebPushProvider, clock: MovableClock) -> None:
        self.push = push
        self.provider = provider
        self.clock = clock
        self.key = vapid.load(push.credential()["webPush"]["vapidPrivateKey"])

    def browsers(
        self, count: int = 1, persona: str = "mozilla", key: VapidKey | None = None
    ) -> list[BrowserSubscription]:
        """So many that subscribed under the key."""
        public_key = (key or self.key).public_key
        return [self.push.subscriptions.subscribe(persona, public_key) for _ in range(count)]

    def chunk(self, browsers: Sequence[BrowserSubscription], *, seconds: float = 5.0, **changes: Any) -> Chunk:
        """A chunk for these; `changes` by field."""
        expire_time = self.clock.now() + HOUR
        chunk = Chunk(
            app_id="shop",
            credential_id="web-push",
            credential_version=1,
            credential=WebPushCredential((self.key,), SUBJECT),
            notification=Notification(title="Hello"),
            priority=Priority.NORMAL,
            now_or_never=False,
            deliveries=[
                Delivery(each.endpoint, f"{each.p256dh}.{each.auth}", str(uuid.uuid4()), expire_time)
                for each in browsers
            ],
            deadline=self.clock.monotonic() + seconds,
            vapid_public_key=self.key.public_key,
        )
        return replace(chunk, **changes)

    async def send(self, chunk: Chunk) -> list[Answer]:
        """The answers in order; asserts that there is one for each, and that they tell what the push service saw."""
        before = self.push.journal.total
        answers: dict[int, Answer] = {}

        def report(index: int, answer: Answer) -> None:
            assert index not in answers, "reported twice"
            answers[index] = answer

        async with asyncio.timeout(20):
            await self.provider.send(chunk, report, lambda index: None)
        assert sorted(answers) == list(range(len(chunk.deliveries)))
        told = [answers[index] for index in range(len(chunk.deliveries))]
        entries = list(self.push.journal.entries)[before - self.push.journal.total :] if before else None
        entries = list(self.push.journal.entries) if entries is None else entries
        taken = Counter(entry.path for entry in entries if entry.accepted)
        for delivery, answer in zip(chunk.deliveries, told, strict=True):
            there = taken[delivery.address.removeprefix(self.push.url)]
            match answer.verdict:
                case Verdict.ACCEPTED:
                    assert there == 1, answer
                case Verdict.UNKNOWN:
                    assert there <= 1, answer
                case _:
                    assert there == 0, answer
        return told


@asynccontextmanager
async def webpush_desk(
    engine: str = "ngh2",
    *,
    hosts: str = "",
    limits: dict[str, float] | None = None,
    addresses: Addresses | None = None,
) -> AsyncIterator[Desk]:
    """A desk with short pauses between connections. `hosts`: those that may be called, else the simulator's alone; in
    them `{port}` is its port."""
    clock = MovableClock()
    numbers: dict[str, Any] = {"connections": 2, "backoff_first": 0.005, "backoff_most": 0.05} | (limits or {})
    async with WebPushSimulator(clock=SimulatorClock(clock)) as push:
        provider = WebPushProvider(
            WebPushSettings(
                hosts.format(port=urlsplit(push.url).port) or push.url.removeprefix("https://"), push.ca_file
            ),
            clock,
            Turns(),
            limits=Limits(**numbers),
            engine=choose(engine),
            addresses=addresses,
        )
        try:
            yield Desk(push, provider, clock)
        finally:
            await provider.aclose()
