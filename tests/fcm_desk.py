"""The FCM provider at work on a simulated FCM, and the comparison of what it told with what was seen."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from bellhop_server.domain import HOUR
from bellhop_server.domain.application import Credential, FcmCredential, FcmOffer
from bellhop_server.domain.delivery import Answer, Chunk, Delivery, Verdict
from bellhop_server.domain.device import Platform
from bellhop_server.domain.notification import Notification, Priority
from bellhop_server.providers.engine import choose
from bellhop_server.providers.fcm.adapter import FcmProvider
from bellhop_server.providers.fcm.settings import RATE, FcmSettings
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.turns import Turns
from bellhop_simulators import FcmSimulator
from bellhop_simulators.fcm.service_accounts import ServiceAccount
from tests.apns_desk import MovableClock, SimulatorClock


class Desk:
    """A provider, its FCM and its clock."""

    def __init__(self, fcm: FcmSimulator, provider: FcmProvider, clock: MovableClock) -> None:
        self.fcm = fcm
        self.provider = provider
        self.clock = clock
        self.secret = self.accepted(fcm.account)
        self._numbers = 0

    def accepted(self, account: ServiceAccount) -> FcmCredential:
        """What is stored of an account's key file."""
        secret = self.provider.accept(FcmOffer(account.service_account_json), None)
        assert isinstance(secret, FcmCredential)
        return secret

    def tokens(self, count: int) -> list[str]:
        """So many device tokens that no other call gives."""
        first, self._numbers = self._numbers, self._numbers + count
        return [f"phone-{number}:APA91b" for number in range(first + 1, first + count + 1)]

    def chunk(
        self, count: int = 1, *, seconds: float = 5.0, tokens: Sequence[str] = (), fid: bool = False, **changes: Any
    ) -> Chunk:
        """A chunk for `count` new phones; `changes` by field."""
        expire_time = self.clock.now() + HOUR
        supplement = "fid" if fid else ""
        chunk = Chunk(
            app_id="shop",
            credential_id="fcm",
            credential_version=1,
            credential=self.secret,
            notification=Notification(title="Hello"),
            priority=Priority.NORMAL,
            now_or_never=False,
            deliveries=[
                Delivery(token, supplement, str(uuid.uuid4()), expire_time) for token in tokens or self.tokens(count)
            ],
            deadline=self.clock.monotonic() + seconds,
        )
        return replace(chunk, **changes)

    async def send(self, chunk: Chunk) -> list[Answer]:
        """The answers in order; asserts that there is one for each, and that they tell what FCM saw."""
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
        told = [answers[index] for index in range(len(chunk.deliveries))]
        self.audit(chunk, told)
        return told

    def audit(self, chunk: Chunk, told: Sequence[Answer]) -> None:
        """No push is lost, none is there twice, and who was told that it is there or not was told the truth.

        For chunks whose devices are in no other one.
        """
        taken = Counter(entry.token for entry in self.fcm.journal.entries if entry.accepted)
        for delivery, answer in zip(chunk.deliveries, told, strict=True):
            there = taken[delivery.address]
            if answer.verdict is Verdict.ACCEPTED:
                assert there == 1, answer
            elif answer.verdict is Verdict.UNKNOWN:
                assert there <= 1, answer
            else:
                assert there == 0, answer

    def sent(self) -> int:
        """How many messages came to FCM, whatever became of them."""
        return sum(entry.path != "/token" for entry in self.fcm.journal.entries)

    def asked(self) -> int:
        """How often an access token was asked for."""
        return sum(entry.path == "/token" for entry in self.fcm.journal.entries)

    def shown(self) -> list[str]:
        """The access tokens that FCM was shown, in the order of their first use."""
        seen = [entry.headers["authorization"] for entry in self.fcm.journal.entries if entry.path != "/token"]
        return list(dict.fromkeys(seen))

    def reasons(self) -> list[str]:
        """Of the open breakers of the application."""
        return [breaker.reason for breaker in self.provider.breakers("shop")]

    def credential(self, **changes: Any) -> Credential:
        """As it is stored, with `changes` to what is secret."""
        return Credential("shop", "fcm", Platform.FCM, 1, 0, replace(self.secret, **changes))


@asynccontextmanager
async def fcm_desk(
    engine: str = "ngh2", *, limits: dict[str, float] | None = None, rate: float = RATE, **options: Any
) -> AsyncIterator[Desk]:
    """A desk with short pauses between connections. `options` are the simulator's."""
    clock = MovableClock()
    numbers: dict[str, Any] = {"connections": 2, "backoff_first": 0.005, "backoff_most": 0.05} | (limits or {})
    async with FcmSimulator(clock=SimulatorClock(clock), **options) as fcm:
        provider = FcmProvider(
            FcmSettings(fcm.url, fcm.token_url, fcm.ca_file, rate),
            clock,
            Turns(),
            limits=Limits(**numbers),
            engine=choose(engine),
        )
        try:
            yield Desk(fcm, provider, clock)
        finally:
            await provider.aclose()


def verdicts(answers: Sequence[Answer]) -> Counter[Verdict]:
    """How often each was given."""
    return Counter(answer.verdict for answer in answers)
