"""Handed over to APNs but not answered yet: told at once, and never handed over a second time without being asked."""

from collections.abc import AsyncIterator

import pytest

from bellhop_server.domain import SECOND
from bellhop_server.domain.delivery import Verdict
from tests.apns_desk import Desk, apns_desk, verdicts

ACCEPTED = Verdict.ACCEPTED


@pytest.fixture(params=["ngh2", "h2"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with apns_desk(request.param, limits={"confirm": 0.02, "answer": 1.0}) as desk:
        yield desk


async def test_slow_answers(desk: Desk) -> None:
    await desk.send(desk.chunk())
    desk.apns.faults.add({"delay": 0.3}, {"every": 2}, name="slow")
    chunk = desk.chunk(40)

    assert verdicts(await desk.send(chunk)) == {ACCEPTED: 40}

    slow = {entry.apns_id for entry in desk.apns.journal.entries if entry.fault == "slow"}
    assert len(slow) == 20
    assert desk.handed >= slow


@pytest.mark.promise("P3")
async def test_no_answer_at_all(desk: Desk) -> None:
    """It is in doubt what became of it, but not where it is: a logout need not wait for the answer."""
    await desk.send(desk.chunk())
    desk.apns.faults.add({"no_answer": True}, {"request": 2}, name="silent")
    chunk = desk.chunk(3, seconds=0.3)

    answers = await desk.send(chunk)

    assert verdicts(answers) == {ACCEPTED: 2, Verdict.UNKNOWN: 1}
    assert {answer.reason for answer in answers} == {"", "AnswerTimeout"}
    assert {entry.apns_id for entry in desk.apns.journal.entries if entry.fault == "silent"} <= desk.handed


@pytest.mark.promise("P3")
@pytest.mark.parametrize("reason", ["ExpiredProviderToken", "InvalidProviderToken"])
async def test_what_was_handed_over_is_not_tried_again_by_itself(desk: Desk, reason: str) -> None:
    await desk.send(desk.chunk())
    desk.apns.faults.add({"status": 403, "reason": reason, "delay": 0.3}, {"request": 2})
    chunk = desk.chunk(2)

    answers = await desk.send(chunk)

    (refused,) = (entry.apns_id for entry in desk.apns.journal.entries if entry.reason == reason)
    assert refused in desk.handed
    by_id = dict(zip((each.provider_message_id for each in chunk.deliveries), answers, strict=True))
    assert (by_id[refused].verdict, by_id[refused].reason) == (Verdict.NOT_SENT, reason)
    assert desk.apns.journal.total == 3
    # That is no word against the credential: the next attempt goes by a new connection.
    assert verdicts(await desk.send(desk.chunk(5))) == {ACCEPTED: 5}


@pytest.mark.promise("P4")
async def test_each_push_ends_with_its_own_binding(desk: Desk) -> None:
    chunk = desk.chunk(6)
    ends = [chunk.deliveries[0].expire_time + number // 2 * 60 * SECOND for number in range(6)]
    deliveries = [each._replace(expire_time=end) for each, end in zip(chunk.deliveries, ends, strict=True)]

    await desk.send(desk.chunk(deliveries=deliveries))

    told = {entry.apns_id: entry.headers["apns-expiration"] for entry in desk.apns.journal.entries}
    assert told == {each.provider_message_id: str(each.expire_time // SECOND) for each in deliveries}


async def test_nothing_to_send_is_sent_at_once(desk: Desk) -> None:
    assert await desk.send(desk.chunk(deliveries=[])) == []
