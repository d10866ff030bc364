"""Provider tokens at work, with both engines, against the rules of a simulated APNs."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bellhop_server.domain.delivery import Verdict
from bellhop_simulators import ConcurrencyPolicy
from tests.apns_desk import Desk, apns_desk, verdicts

ACCEPTED = Verdict.ACCEPTED
REFUSED = Verdict.CREDENTIALS_INVALID
MINUTES = 60.0


@pytest.fixture(params=["ngh2", "h2"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with apns_desk(request.param) as desk:
        yield desk


async def test_one_token_for_all_connections(desk: Desk) -> None:
    await desk.send(desk.chunk())
    desk.apns.goaway()
    await desk.send(desk.chunk(10))

    assert len(desk.apns.connections) == 2
    assert len(desk.provider_tokens()) == 1


async def test_the_token_is_renewed_in_time_for_ever(desk: Desk) -> None:
    for _ in range(12):
        assert verdicts(await desk.send(desk.chunk(3))) == {ACCEPTED: 3}
        desk.clock.advance(15 * MINUTES)

    assert desk.reasons() == set()
    assert len(desk.provider_tokens()) == 4  # At 0, 45, 90 and 135 minutes.


async def test_no_connection_sees_two_tokens_within_twenty_minutes(desk: Desk) -> None:
    await desk.send(desk.chunk())
    desk.clock.advance(30 * MINUTES)
    desk.apns.goaway()
    await desk.send(desk.chunk())
    desk.clock.advance(11 * MINUTES)

    assert verdicts(await desk.send(desk.chunk(5))) == {ACCEPTED: 5}
    assert desk.reasons() == set()
    assert len(desk.provider_tokens()) == 2
    assert len(desk.apns.connections) == 3


async def test_a_connection_that_is_old_enough_survives_the_renewal(desk: Desk) -> None:
    await desk.send(desk.chunk())
    desk.clock.advance(41 * MINUTES)
    await desk.send(desk.chunk())

    assert len(desk.provider_tokens()) == 2
    assert len(desk.apns.connections) == 1


async def test_the_token_expires_in_use(desk: Desk) -> None:
    desk.apns.faults.add({"status": 403, "reason": "ExpiredProviderToken"}, {"request": 20})

    assert verdicts(await desk.send(desk.chunk(100))) == {ACCEPTED: 100}
    assert verdicts(await desk.send(desk.chunk(5))) == {ACCEPTED: 5}
    assert {entry.connection for entry in list(desk.apns.journal.entries)[-5:]} == {2}
    assert len(desk.provider_tokens()) == 1  # It was too young to be replaced.
    assert desk.provider.breakers("shop") == []


async def test_a_token_that_expires_in_use_is_replaced_when_it_is_old_enough(desk: Desk) -> None:
    await desk.send(desk.chunk())
    desk.clock.advance(25 * MINUTES)
    desk.apns.faults.add({"status": 403, "reason": "ExpiredProviderToken"}, times=1)

    assert verdicts(await desk.send(desk.chunk(3))) == {ACCEPTED: 3}
    assert len(desk.provider_tokens()) == 2


async def test_our_clock_is_two_hours_late(desk: Desk) -> None:
    desk.clock.skew = -7200.0

    answers = await desk.send(desk.chunk(50))

    # Nothing is lost by it: it goes when the clock is right.
    assert verdicts(answers) == {Verdict.THROTTLED_SENDER: 50}
    assert desk.reasons() == {"ExpiredProviderToken"}
    assert desk.apns.journal.total == 2
    assert [breaker.reason for breaker in desk.provider.breakers("shop")] == ["ExpiredProviderToken"]
    assert verdicts(await desk.send(desk.chunk(5, topic="com.example.other"))) == {Verdict.THROTTLED_SENDER: 5}
    assert desk.apns.journal.total == 2

    desk.clock.skew = 0.0
    desk.clock.advance(5 * MINUTES)
    assert verdicts(await desk.send(desk.chunk(5))) == {ACCEPTED: 5}
    assert desk.provider.breakers("shop") == []


async def test_our_clock_is_two_hours_early(desk: Desk) -> None:
    desk.clock.skew = 7200.0
    assert verdicts(await desk.send(desk.chunk(50))) == {REFUSED: 50}
    assert desk.reasons() == {"InvalidProviderToken"}

    desk.clock.skew = 0.0
    desk.clock.advance(5 * MINUTES)
    assert verdicts(await desk.send(desk.chunk(5))) == {ACCEPTED: 5}


async def test_a_clock_that_is_set_right_at_work(desk: Desk) -> None:
    for skew in (0.0, 7200.0, 0.0, -7200.0, 0.0):
        desk.clock.skew = skew
        await desk.send(desk.chunk())
        if skew:
            desk.clock.advance(5 * MINUTES)
    assert verdicts(await desk.send(desk.chunk(5))) == {ACCEPTED: 5}


async def test_a_token_refused_once_is_tried_on_a_new_connection(desk: Desk) -> None:
    desk.apns.faults.add({"status": 403, "reason": "InvalidProviderToken"}, times=1)

    assert verdicts(await desk.send(desk.chunk(20))) == {ACCEPTED: 20}
    assert [entry.connection for entry in desk.apns.journal.entries][:2] == [1, 2]
    assert desk.provider.breakers("shop") == []


@pytest.mark.parametrize("engine", ["ngh2", "h2"])
async def test_a_connection_from_before_the_refusal_is_none_to_try_again_on(engine: str) -> None:
    async with apns_desk(engine, concurrency=ConcurrencyPolicy(authenticated=2)) as desk:
        desk.apns.faults.add({"delay": 0.05}, {"token": [*(tokens := desk.tokens(20))]})
        await desk.send(desk.chunk(tokens=tokens))
        assert len(desk.apns.connections.open) == 2
        (token,) = desk.tokens(1)
        desk.apns.faults.add({"status": 403, "reason": "InvalidProviderToken"}, {"token": token}, times=1)

        assert verdicts(await desk.send(desk.chunk(tokens=[token]))) == {ACCEPTED: 1}
        assert desk.apns.journal.find(token=token)[-1].connection == 3


@pytest.mark.parametrize("then", [{"status": 200}, {"status": 400, "reason": "BadDeviceToken"}])
async def test_a_refusal_that_was_mended_does_not_count_later(desk: Desk, then: dict[str, Any]) -> None:
    await desk.send(desk.chunk())
    desk.apns.faults.add({"status": 403, "reason": "InvalidProviderToken"}, {"request": [1, 3]})
    desk.apns.faults.add(then, {"request": 2})

    (first,) = await desk.send(desk.chunk())
    (second,) = await desk.send(desk.chunk())

    assert first.status == then["status"]
    assert second.verdict is ACCEPTED


async def test_a_token_too_many_and_none_before_it_pauses_the_sender(desk: Desk) -> None:
    desk.apns.faults.add({"status": 429, "reason": "TooManyProviderTokenUpdates"})

    assert verdicts(await desk.send(desk.chunk(50))) == {Verdict.THROTTLED_SENDER: 50}
    assert [breaker.reason for breaker in desk.provider.breakers("shop")] == ["TooManyProviderTokenUpdates"]
    seen = desk.apns.journal.total
    assert verdicts(await desk.send(desk.chunk(50))) == {Verdict.THROTTLED_SENDER: 50}
    assert desk.apns.journal.total == seen

    desk.apns.faults.clear()
    desk.clock.advance(5 * MINUTES)
    assert verdicts(await desk.send(desk.chunk(5))) == {ACCEPTED: 5}
    assert len(desk.provider_tokens()) == 1


async def test_a_stray_refusal_of_a_token_that_is_taken_costs_its_own_push_alone(desk: Desk) -> None:
    stray = {"status": 429, "reason": "TooManyProviderTokenUpdates"}
    desk.apns.faults.add(stray, {"every": 3}, name="stray")
    desk.apns.faults.add(stray, {"request": 1})

    first = await desk.send(desk.chunk(1))
    rest = await desk.send(desk.chunk(60))

    assert verdicts(first) == {Verdict.THROTTLED_SENDER: 1}
    assert verdicts(rest) == {ACCEPTED: 40, Verdict.THROTTLED_SENDER: 20}
    assert desk.provider.breakers("shop") == []
    assert len(desk.provider_tokens()) == 1


async def test_a_token_that_is_taken_after_all_ends_the_pause(desk: Desk) -> None:
    await desk.send(desk.chunk())
    (slow,) = desk.tokens(1)
    desk.apns.faults.add({"delay": 0.1}, {"token": slow})
    desk.apns.faults.add({"status": 429, "reason": "TooManyProviderTokenUpdates"}, times=20)

    answers = await desk.send(desk.chunk(tokens=[slow, *desk.tokens(20)]))

    assert verdicts(answers) == {ACCEPTED: 1, Verdict.THROTTLED_SENDER: 20}
    assert desk.provider.breakers("shop") == []
    assert verdicts(await desk.send(desk.chunk(5))) == {ACCEPTED: 5}


async def test_a_token_too_many_leads_back_to_the_one_before(desk: Desk) -> None:
    await desk.send(desk.chunk())
    desk.clock.advance(41 * MINUTES)
    desk.apns.faults.add({"status": 429, "reason": "TooManyProviderTokenUpdates"}, times=1)

    first = await desk.send(desk.chunk())
    then = await desk.send(desk.chunk(5))

    assert verdicts(first) == {Verdict.THROTTLED_SENDER: 1}
    assert verdicts(then) == {ACCEPTED: 5}
    entries = list(desk.apns.journal.entries)
    assert entries[0].headers["authorization"] == entries[-1].headers["authorization"]
    assert len(desk.provider_tokens()) == 2
