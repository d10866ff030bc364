"""A provider that is away is spared: what waits for it waits in the store, and one request now and then asks for it."""

from bellhop_server.domain.delivery import Verdict
from bellhop_server.domain.device import ApnsEnvironment, Platform
from bellhop_server.providers.outage import MOST_FAILURES, PAUSES
from tests.apns_desk import apns_desk, verdicts


async def test_a_provider_that_fails_is_left_alone_and_asked_by_one() -> None:
    async with apns_desk() as desk:
        fault = desk.apns.faults.add({"status": 503})

        told = verdicts(await desk.send(desk.chunk(100)))
        assert told[Verdict.PROVIDER_UNAVAILABLE] >= MOST_FAILURES
        seen = desk.apns.journal.total

        # Nothing is asked of it, and everybody is told to come later.
        answers = await desk.send(desk.chunk(50))
        assert desk.apns.journal.total == seen
        assert verdicts(answers) == {Verdict.NOT_SENT: 50}
        assert all(0 < (answer.retry_after or 0) <= PAUSES[0] for answer in answers)
        assert {answer.reason for answer in answers} == {"ServiceUnavailable"}
        (breaker,) = desk.provider.breakers("shop")
        assert (breaker.credential_id, breaker.platform, breaker.reason) == (
            "apns",
            Platform.APNS,
            "ServiceUnavailable",
        )

        # Its time has come: one asks, and the others do not wait for what it hears.
        desk.clock.advance(PAUSES[0])
        told = verdicts(await desk.send(desk.chunk(50)))
        assert told == {Verdict.PROVIDER_UNAVAILABLE: 1, Verdict.NOT_SENT: 49}
        assert desk.apns.journal.total == seen + 1

        # It is there again, which the next one finds out.
        desk.apns.faults.remove(fault)
        desk.clock.advance(PAUSES[1])
        assert verdicts(await desk.send(desk.chunk(50))) == {Verdict.ACCEPTED: 1, Verdict.NOT_SENT: 49}
        assert desk.provider.breakers() == []
        assert verdicts(await desk.send(desk.chunk(50))) == {Verdict.ACCEPTED: 50}


async def test_a_provider_that_never_answers_holds_up_the_first_alone() -> None:
    async with apns_desk(limits={"answer": 0.2, "confirm": 0.05}) as desk:
        assert verdicts(await desk.send(desk.chunk())) == {Verdict.ACCEPTED: 1}
        desk.apns.faults.add({"no_answer": True})

        assert verdicts(await desk.send(desk.chunk(40))) == {Verdict.UNKNOWN: 40}
        begin = desk.clock.monotonic()
        assert verdicts(await desk.send(desk.chunk(1000))) == {Verdict.NOT_SENT: 1000}
        assert desk.clock.monotonic() - begin < 0.2


async def test_another_environment_is_another_way() -> None:
    async with apns_desk() as desk:
        desk.apns.faults.add({"status": 500}, {"environment": "production"})
        await desk.send(desk.chunk(40))
        assert desk.provider.breakers()

        sandbox = await desk.send(desk.chunk(20, environment=ApnsEnvironment.SANDBOX))
        assert verdicts(sandbox) == {Verdict.ACCEPTED: 20}
