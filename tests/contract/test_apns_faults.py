"""What may go wrong at APNs, with both engines: no push is lost, none is there twice, and the sender is told the truth.

`Desk.send` compares every answer with the journal of the simulator.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bellhop_server.domain import SECOND
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_simulators import ConcurrencyPolicy
from tests.apns_desk import Desk, apns_desk, verdicts

ACCEPTED = Verdict.ACCEPTED


@pytest.fixture(params=["ngh2", "h2"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with apns_desk(request.param) as desk:
        yield desk


async def warmed_up(desk: Desk) -> None:
    """One connection is open, was answered, and allows as many streams as it will."""
    assert (await desk.send(desk.chunk()))[0].verdict is ACCEPTED


def refused_streams(desk: Desk) -> int:
    return desk.apns.journal.by_reason["REFUSED_STREAM"]


async def test_nothing_goes_wrong(desk: Desk) -> None:
    chunk = desk.chunk(300)

    answers = await desk.send(chunk)

    assert answers == [Answer(ACCEPTED, 200, "", each.provider_message_id) for each in chunk.deliveries]
    assert desk.apns.journal.total == 300


async def test_one_stream_at_first_is_one_stream(desk: Desk) -> None:
    assert verdicts(await desk.send(desk.chunk(200))) == {ACCEPTED: 200}
    assert refused_streams(desk) == 0
    assert len(desk.apns.connections) <= 2


@pytest.mark.parametrize("engine", ["ngh2", "h2"])
async def test_one_stream_at_first_that_costs_the_connection_when_exceeded(engine: str) -> None:
    async with apns_desk(engine, concurrency=ConcurrencyPolicy(enforcement="goaway")) as desk:
        assert verdicts(await desk.send(desk.chunk(200))) == {ACCEPTED: 200}
        assert len(desk.apns.connections) <= 2


async def test_the_limit_falls_in_flight_and_comes_back(desk: Desk) -> None:
    await warmed_up(desk)
    desk.apns.faults.add(
        {"status": 400, "max_concurrent_streams": 1, "restore_after": 0.1}, {"request": 20}, name="fallen"
    )

    answers = await desk.send(desk.chunk(300))

    assert verdicts(answers) == {ACCEPTED: 299, Verdict.TOKEN_INVALID: 1}
    assert refused_streams(desk) == 0


async def test_one_in_a_hundred_is_bad_and_the_limit_drops_each_time(desk: Desk) -> None:
    desk.apns.faults.add({"status": 400, "reason": "BadDeviceToken"}, {"every": 100})

    answers = await desk.send(desk.chunk(500))

    assert verdicts(answers) == {ACCEPTED: 495, Verdict.TOKEN_INVALID: 5}
    assert {answer.reason for answer in answers} == {"", "BadDeviceToken"}
    assert refused_streams(desk) == 0


@pytest.mark.promise("P9")
async def test_refused_streams_go_again(desk: Desk) -> None:
    desk.apns.faults.add({"reset_stream": "REFUSED_STREAM"}, {"every": 10}, times=20, name="refused")

    assert verdicts(await desk.send(desk.chunk(300))) == {ACCEPTED: 300}
    assert sum(entry.fault == "refused" for entry in desk.apns.journal.entries) == 20


@pytest.mark.promise("P9")
async def test_a_stream_reset_for_any_other_reason_is_in_doubt(desk: Desk) -> None:
    desk.apns.faults.add({"reset_stream": "INTERNAL_ERROR"}, {"request": 7})

    answers = await desk.send(desk.chunk(50))

    assert verdicts(answers) == {ACCEPTED: 49, Verdict.UNKNOWN: 1}


@pytest.mark.promise("P9")
async def test_goaway_that_covers_a_part(desk: Desk) -> None:
    await warmed_up(desk)
    desk.apns.faults.add({"delay": 0.1}, times=49)
    desk.apns.faults.add({"goaway": {"reason": "Shutdown"}}, times=1)

    assert verdicts(await desk.send(desk.chunk(200))) == {ACCEPTED: 200}


async def test_graceful_goaway(desk: Desk) -> None:
    await warmed_up(desk)
    desk.apns.faults.add({"goaway": {"reason": "Shutdown", "last_stream": "all"}}, {"request": 50})

    assert verdicts(await desk.send(desk.chunk(200))) == {ACCEPTED: 200}


async def test_the_body_of_an_error_comes_in_pieces(desk: Desk) -> None:
    desk.apns.faults.add({"status": 400, "reason": "BadDeviceToken", "fragment": 3}, {"every": 10})

    answers = await desk.send(desk.chunk(50))

    assert verdicts(answers) == {ACCEPTED: 45, Verdict.TOKEN_INVALID: 5}


@pytest.mark.promise("P9")
@pytest.mark.parametrize("engine", ["ngh2", "h2"])
async def test_no_answer_is_in_doubt_and_holds_up_nobody_else(engine: str) -> None:
    async with apns_desk(engine, limits={"answer": 0.3}) as desk:
        desk.apns.faults.add({"no_answer": True}, {"request": 5})

        answers = await desk.send(desk.chunk(100))

        assert verdicts(answers) == {ACCEPTED: 99, Verdict.UNKNOWN: 1}
        assert verdicts(await desk.send(desk.chunk(10))) == {ACCEPTED: 10}


async def test_header_blocks_that_trickle(desk: Desk) -> None:
    await warmed_up(desk)
    desk.apns.faults.add({"slow_headers": 0.2}, {"request": 10})

    assert verdicts(await desk.send(desk.chunk(100))) == {ACCEPTED: 100}


@pytest.mark.promise("P9")
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_the_connection_ends_without_a_word_once_a_request_was_read(desk: Desk, how: str) -> None:
    await warmed_up(desk)
    desk.apns.faults.add({"connection": how}, {"request": 30})

    answers = await desk.send(desk.chunk(100))

    assert verdicts(answers).keys() <= {ACCEPTED, Verdict.UNKNOWN}
    assert answers[29].verdict is Verdict.UNKNOWN
    assert verdicts(await desk.send(desk.chunk(10))) == {ACCEPTED: 10}


@pytest.mark.promise("P11")
@pytest.mark.parametrize("age", [86_400.0, -60.0])
async def test_gone_since_a_time_in_milliseconds(desk: Desk, age: float) -> None:
    (token,) = desk.tokens(1)
    since = int(desk.clock.now() / SECOND - age)
    desk.apns.devices.unregister(token, at=since)

    (answer,) = await desk.send(desk.chunk(tokens=[token]))

    assert answer[:3] == (Verdict.TOKEN_GONE_SINCE, 410, "Unregistered")
    assert answer.invalid_since == since * SECOND


@pytest.mark.parametrize("then", [{"retry_after": 90}, {"retry_after_date": 90}])
async def test_a_target_that_is_asked_too_often(desk: Desk, then: dict[str, Any]) -> None:
    desk.apns.faults.add({"status": 429, "reason": "TooManyRequests", **then}, {"request": 3})

    answers = await desk.send(desk.chunk(5))

    assert verdicts(answers) == {ACCEPTED: 4, Verdict.THROTTLED_TARGET: 1}
    assert answers[2].retry_after == pytest.approx(90, abs=2)


@pytest.mark.parametrize(
    ("then", "verdict", "reason"),
    [
        ({"status": 502, "body": "<html>bad gateway</html>"}, Verdict.PROVIDER_UNAVAILABLE, "HTTP 502"),
        ({"status": 500, "reason": "InternalServerError"}, Verdict.PROVIDER_UNAVAILABLE, "InternalServerError"),
        ({"status": 503, "reason": "ServiceUnavailable"}, Verdict.PROVIDER_UNAVAILABLE, "ServiceUnavailable"),
        ({"status": 400, "body_size": 200_000}, Verdict.ADAPTER_BUG, "HTTP 400"),
        ({"status": 410, "body": ""}, Verdict.TOKEN_GONE_SINCE, "HTTP 410"),
        ({"status": 302, "body": ""}, Verdict.PROVIDER_UNAVAILABLE, "HTTP 302"),
        ({"status": 200, "body": ""}, ACCEPTED, ""),
        ({"status": 200, "body_size": 200_000}, ACCEPTED, ""),
    ],
)
async def test_odd_answers(desk: Desk, then: dict[str, Any], verdict: Verdict, reason: str) -> None:
    await warmed_up(desk)
    desk.apns.faults.add(then, {"every": 10}, name="odd")

    chunk = desk.chunk(40)
    answers = await desk.send(chunk)

    odd = {entry.apns_id for entry in desk.apns.journal.entries if entry.fault == "odd"}
    assert len(odd) == 4
    for delivery, answer in zip(chunk.deliveries, answers, strict=True):
        hit = delivery.provider_message_id in odd
        assert (answer.verdict, answer.reason) == ((verdict, reason) if hit else (ACCEPTED, ""))


@pytest.mark.parametrize(("status", "reason"), [(503, "Shutdown"), (400, "IdleTimeout")])
async def test_a_connection_at_its_end_was_not_sent_to(desk: Desk, status: int, reason: str) -> None:
    await warmed_up(desk)
    desk.apns.faults.add({"status": status, "reason": reason}, {"request": 3})

    answers = await desk.send(desk.chunk(3))
    again = await desk.send(desk.chunk(3))

    assert verdicts(answers) == {ACCEPTED: 2, Verdict.NOT_SENT: 1}
    assert verdicts(again) == {ACCEPTED: 3}
    assert {entry.connection for entry in list(desk.apns.journal.entries)[-3:]} == {2}


async def test_nobody_answers_the_door(desk: Desk) -> None:
    elsewhere = desk.provider
    await desk.apns.__aexit__(None, None, None)
    told: list[Answer] = []

    await elsewhere.send(desk.chunk(3, seconds=0.2), lambda _, answer: told.append(answer), lambda _: None)

    assert verdicts(told) == {Verdict.NOT_SENT: 3}
    assert {answer.reason for answer in told} == {"ConnectionRefused"}


@pytest.mark.promise("P3")
async def test_past_its_deadline_nothing_is_sent(desk: Desk) -> None:
    assert verdicts(await desk.send(desk.chunk(10, seconds=0.0))) == {Verdict.NOT_SENT: 10}
    assert desk.apns.journal.total == 0
