"""What is known of requests on their way, with real engines and a clock that is an argument."""

import pytest

from bellhop_server.providers.backlog import Work
from bellhop_server.providers.engine import Pong
from bellhop_server.providers.in_flight import InFlight
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.reasons import Reason
from tests.raw_http2_server import ACK, INITIAL_WINDOW, MAX_CONCURRENT, PING, frame, reply, settings
from tests.request_batch import RecordingBatch
from tests.unit.engine_talk import BODY, FIELDS, Talk

LIMITS = Limits(confirm=1.0, answer=10.0)


class Journey:
    """Requests between a connection without a clock and a test's peer."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.in_flight = InFlight(talk.engine, LIMITS)
        self._sizes = 0

    def submit(self, now: float, *, deadline: float = 8.0, flush: bool = True) -> int:
        stream = self.talk.engine.submit(FIELDS, BODY)
        batch = RecordingBatch(1)
        batch.deadline = deadline
        self.in_flight.expect(now, deadline)
        self.in_flight.unconfirmed[stream] = (now, Work(batch), 0)
        if flush:
            self.talk.flush()
        return stream

    def ask(self, now: float, written: int = 0) -> bool:
        asked = self.in_flight.ask(now, written)
        self.talk.flush()
        return asked

    def acknowledge(self) -> list[int]:
        """The peer answers the last PING; returns the streams that are confirmed now."""
        self.talk.feed(frame(PING, ACK, 0, self.talk.reader.of(PING)[-1].payload))
        (*_, pong) = self.talk.of(Pong)
        assert isinstance(pong, Pong)
        self.in_flight.confirm(pong.data)
        return list(self.in_flight.confirmed)


@pytest.fixture
async def journey(talk: Talk) -> Journey:
    return Journey(talk)


async def test_nothing_is_asked_of_what_is_young_or_answered(journey: Journey) -> None:
    one = journey.submit(0.0)
    assert journey.in_flight.ask_at() == 1.0
    assert not journey.ask(0.9)
    del journey.in_flight.unconfirmed[one]
    assert not journey.ask(5.0)
    assert journey.talk.reader.of(PING) == []


async def test_one_ping_confirms_all_that_was_sent_before_it(journey: Journey) -> None:
    one, three = journey.submit(0.0), journey.submit(0.9)
    assert journey.ask(1.0)
    five = journey.submit(1.05)
    assert not journey.ask(3.0)  # One at a time.
    assert len(journey.talk.reader.of(PING)) == 1
    assert journey.acknowledge() == [one, three]
    assert list(journey.in_flight.unconfirmed) == [five]
    assert journey.ask(4.0)
    assert journey.acknowledge() == [one, three, five]
    first, second = journey.talk.reader.of(PING)
    assert first.payload != second.payload


async def test_pings_are_as_far_apart_as_what_they_ask_for_is_old(journey: Journey) -> None:
    journey.submit(0.0)
    journey.submit(0.5)
    assert journey.ask(1.0)
    journey.submit(1.0)
    journey.acknowledge()
    assert journey.in_flight.ask_at() == 2.0


@pytest.mark.parametrize("payload", [b"bellhop!", bytes(8), (2).to_bytes(8)])
async def test_another_ping_confirms_nothing(journey: Journey, payload: bytes) -> None:
    journey.submit(0.0)
    assert journey.ask(1.0)
    assert journey.in_flight.confirm(payload) == []
    assert list(journey.in_flight.confirmed) == []


async def test_a_ping_that_comes_back_twice_confirms_once(journey: Journey) -> None:
    journey.submit(0.0)
    assert journey.ask(1.0)
    journey.acknowledge()
    three = journey.submit(1.0)
    journey.acknowledge()
    assert list(journey.in_flight.unconfirmed) == [three]


async def test_what_is_answered_before_the_ping_comes_back_is_not_confirmed(journey: Journey) -> None:
    one, three = journey.submit(0.0), journey.submit(0.0)
    assert journey.ask(1.0)
    journey.talk.feed(reply(one))
    del journey.in_flight.unconfirmed[one]
    assert journey.acknowledge() == [three]


async def test_a_body_that_waits_for_a_window_is_not_behind_a_ping(journey: Journey) -> None:
    before = journey.submit(0.0)
    waiting = journey.submit(0.0, flush=False)
    journey.talk.feed(settings({INITIAL_WINDOW: 0}))
    there = [request.stream for request in journey.talk.reader.requests]
    assert journey.ask(1.0)
    assert journey.acknowledge() == there
    # Nothing else is there to be asked for, however long it takes.
    assert journey.ask(5.0) is False
    unconfirmed = list(journey.in_flight.unconfirmed)
    journey.talk.feed(settings({INITIAL_WINDOW: 65535}))
    assert journey.ask(6.0) is bool(unconfirmed)
    journey.acknowledge()
    assert {*journey.in_flight.confirmed} == {before, waiting}


async def test_what_is_late_is_late_by_its_deadline_or_for_its_answer(journey: Journey) -> None:
    one, three = journey.submit(0.0, deadline=8.0), journey.submit(0.0, deadline=20.0)
    journey.submit(1.0, deadline=20.0)
    assert journey.in_flight.late(7.9) == ({}, [])
    assert journey.in_flight.late(8.0) == ({one: Reason.HANDOVER_TIMEOUT}, [])
    del journey.in_flight.unconfirmed[one]
    assert journey.in_flight.due() == 1.0  # To ask.
    assert journey.in_flight.late(9.9) == ({}, [])
    assert journey.in_flight.late(10.0) == ({three: Reason.ANSWER_TIMEOUT}, [])


async def test_what_is_confirmed_is_late_only_for_its_answer(journey: Journey) -> None:
    one, three = journey.submit(0.0), journey.submit(0.5)
    assert journey.ask(1.0)
    journey.acknowledge()
    assert journey.in_flight.late(8.0) == ({}, [])
    assert journey.in_flight.due() == 10.0
    assert journey.in_flight.late(9.9) == ({}, [])
    assert journey.in_flight.late(10.0) == ({}, [one])
    del journey.in_flight.confirmed[one]
    assert journey.in_flight.due() == 10.5
    assert journey.in_flight.late(10.5) == ({}, [three])


async def test_with_nothing_in_flight_nothing_is_due(journey: Journey) -> None:
    one = journey.submit(0.0)
    del journey.in_flight.unconfirmed[one]
    assert journey.in_flight.due() == float("inf")
    assert journey.in_flight.late(100.0) == ({}, [])


async def test_a_moved_deadline_changes_nothing_for_what_is_in_flight(journey: Journey) -> None:
    one = journey.submit(0.0)
    _, work, _ = journey.in_flight.unconfirmed[one]
    assert isinstance(work.batch, RecordingBatch)
    work.batch.deadline = float("-inf")
    assert journey.in_flight.late(7.9) == ({}, [])
    assert journey.in_flight.late(8.0) == ({one: Reason.HANDOVER_TIMEOUT}, [])


async def test_what_may_arrive_is_told_by_the_bytes_that_have(journey: Journey) -> None:
    one = journey.submit(0.0)
    assert journey.ask(1.0, written=500)
    three = journey.submit(1.0)
    # 500 bytes were written when the first was out; that the peer has them says nothing of the second.
    assert journey.in_flight.may_arrive([one], written=900, arrived=499)
    assert not journey.in_flight.may_arrive([one], written=900, arrived=500)
    assert journey.in_flight.may_arrive([one, three], written=900, arrived=899)
    assert not journey.in_flight.may_arrive([one, three], written=900, arrived=900)


async def test_what_waits_for_a_window_is_taken_back_by_a_reset_alone() -> None:
    """With h2 a body never waits: it is in frames when it is submitted."""
    journey = Journey(Talk("ngh2", settings({MAX_CONCURRENT: 1000})))
    stream = journey.submit(0.0, flush=False)
    journey.talk.feed(settings({INITIAL_WINDOW: 0}))
    assert not journey.in_flight.may_arrive([stream], written=900, arrived=0)
    journey.talk.engine.cancel(stream)
    journey.talk.feed(settings({INITIAL_WINDOW: 65535}))
    assert journey.talk.reader.requests == []
