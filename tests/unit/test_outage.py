"""A provider that fails more often than not is spared, longer each time, until one request comes through."""

import pytest

from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.providers.outage import MOST_FAILURES, PAUSES, WINDOW, Outage
from bellhop_server.providers.reasons import Reason
from tests.unit.app_fakes import FakeClock

GOOD = Answer(Verdict.ACCEPTED, 200)
DOWN = Answer(Verdict.PROVIDER_UNAVAILABLE, 503, "ServiceUnavailable")
SILENT = Answer(Verdict.UNKNOWN, reason=Reason.ANSWER_TIMEOUT.value)
AWAY = Answer(Verdict.NOT_SENT, reason=Reason.CONNECTION_REFUSED.value)


@pytest.mark.parametrize("failure", [DOWN, SILENT, AWAY])
def test_ten_failures_among_twenty_open_it(failure: Answer) -> None:
    outage = Outage(FakeClock())
    assert [outage.note(failure) for _ in range(MOST_FAILURES)] == [False] * (MOST_FAILURES - 1) + [True]
    assert outage.breaker is not None
    told = outage.breaker.answer(FakeClock().monotonic())
    assert (told.verdict, told.reason) == (Verdict.NOT_SENT, failure.reason)
    assert told.retry_after == PAUSES[0]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(Verdict.TOKEN_INVALID, 400, "BadDeviceToken"),
        Answer(Verdict.CREDENTIALS_INVALID, 403, "Forbidden"),
        Answer(Verdict.THROTTLED_SENDER, 429, "QUOTA_EXCEEDED"),
        Answer(Verdict.UNKNOWN, reason=Reason.CONNECTION_LOST.value),
        Answer(Verdict.NOT_SENT, reason=Reason.ABANDONED.value),
        Answer(Verdict.NOT_SENT, reason=Reason.SHUTTING_DOWN.value),
        Answer(Verdict.NOT_SENT, reason=Reason.NO_CAPACITY.value),
    ],
)
def test_refusals_our_own_doing_and_one_lost_connection_are_none(answer: Answer) -> None:
    outage = Outage(FakeClock())
    assert not any(outage.note(answer) for _ in range(10 * WINDOW))
    assert outage.breaker is None


def test_less_than_half_of_the_last_twenty_is_borne() -> None:
    outage = Outage(FakeClock())
    for _ in range(50):
        assert not any(outage.note(DOWN) for _ in range(MOST_FAILURES - 1))
        assert not any(outage.note(GOOD) for _ in range(WINDOW - MOST_FAILURES + 1))


def test_good_answers_push_the_failures_out() -> None:
    outage = Outage(FakeClock())
    for _ in range(MOST_FAILURES - 1):
        outage.note(DOWN)
    for _ in range(WINDOW):
        outage.note(GOOD)
    assert outage.failures == 0


def test_each_failed_try_makes_the_next_pause_longer_and_a_good_one_ends_it() -> None:
    clock = FakeClock()
    outage = Outage(clock)
    for _ in range(MOST_FAILURES):
        outage.note(DOWN)
    for pause in (*PAUSES, PAUSES[-1]):
        assert outage.breaker is not None
        assert outage.breaker.retry_at == clock.monotonic() + pause
        outage.failed(DOWN)
    outage.close()
    assert outage.breaker is None
    assert outage.failures == 0
    for _ in range(MOST_FAILURES):
        outage.note(DOWN)
    assert outage.breaker is not None
    assert outage.breaker.retry_at == clock.monotonic() + PAUSES[0]


def test_a_provider_that_says_how_long_is_left_alone_that_long() -> None:
    clock = FakeClock()
    outage = Outage(clock)
    for _ in range(MOST_FAILURES):
        outage.note(DOWN._replace(retry_after=77.0))
    assert outage.breaker is not None
    assert outage.breaker.retry_at == clock.monotonic() + 77.0
