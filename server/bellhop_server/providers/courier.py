"""How the deliveries of an errand are sent: at once, after one that goes ahead, or not at all for now."""

import asyncio
from collections.abc import Sequence

from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.ports import Clock
from bellhop_server.providers.breaker import OpenBreaker
from bellhop_server.providers.errand import Errand
from bellhop_server.providers.flight import Flight, HandedOver, Report

_NOTHING_LEARNT = frozenset({Verdict.PROVIDER_UNAVAILABLE, Verdict.THROTTLED_SENDER, Verdict.NOT_SENT})


class Courier:
    """Minds the breakers. One serves all errands of an adapter."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def deliver(self, errand: Errand, numbers: Sequence[int], report: Report, handed_over: HandedOver) -> None:
        """Sends these deliveries, and returns when all are reported."""
        if errand.line.outage.breaker is not None:
            await self._try_line(errand, numbers, report, handed_over)
            return
        breaker = errand.account.breakers.find(errand.scope)
        if breaker is None:
            await self._fly(errand, numbers, report, handed_over)
        elif breaker.probing or self._clock.monotonic() < breaker.retry_at:
            report_all(numbers, breaker.answer(self._clock.monotonic()), report)
        else:
            await self._fly_after_one(errand, numbers, breaker, report, handed_over)

    async def _try_line(self, errand: Errand, numbers: Sequence[int], report: Report, handed_over: HandedOver) -> None:
        """Sends one when it is time for that, and nothing else: whether it comes through may take long to tell."""
        outage = errand.line.outage
        breaker, now = outage.breaker, self._clock.monotonic()
        assert breaker is not None
        if breaker.probing or now < breaker.retry_at:
            report_all(numbers, breaker.answer(now), report)
            return
        heard: list[Answer] = []

        def listen(number: int, answer: Answer) -> None:
            heard.append(answer)
            report(number, answer)

        breaker.probing = True
        report_all(numbers[1:], breaker.answer(now), report)
        try:
            await self._fly(errand, numbers[:1], listen, handed_over)
        finally:
            breaker.probing = False
        (answer,) = heard
        if outage.breaker is breaker:
            if answer.status and answer.verdict is not Verdict.PROVIDER_UNAVAILABLE:
                outage.close()
            else:
                outage.failed(answer)

    async def _fly_after_one(
        self,
        errand: Errand,
        numbers: Sequence[int],
        breaker: OpenBreaker,
        report: Report,
        handed_over: HandedOver,
    ) -> None:
        """Sends one; the others follow it if it passes, and share its refusal if not."""
        breakers = errand.account.breakers
        heard: list[Answer] = []

        def listen(number: int, answer: Answer) -> None:
            heard.append(answer)
            report(number, answer)

        breaker.probing = True
        try:
            await self._fly(errand, numbers[:1], listen, handed_over)
        finally:
            breaker.probing = False
        (answer,) = heard
        if breakers.find(errand.scope) is breaker:
            if answer.status == 0 or answer.verdict in _NOTHING_LEARNT:
                report_all(numbers[1:], Answer(Verdict.NOT_SENT, reason=answer.reason), report)
                return
            breakers.close(breaker)
        if len(numbers) > 1:
            await self.deliver(errand, numbers[1:], report, handed_over)

    async def _fly(self, errand: Errand, numbers: Sequence[int], report: Report, handed_over: HandedOver) -> None:
        flight = Flight(errand, numbers, self._clock.monotonic, report, handed_over)
        flight.take_off()
        try:
            await flight.ended
        except asyncio.CancelledError:
            flight.abandon()
            raise


def report_all(numbers: Sequence[int], answer: Answer, report: Report) -> None:
    """The same answer for each."""
    for number in numbers:
        report(number, answer)
