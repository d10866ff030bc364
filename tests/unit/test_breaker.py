"""Breakers concern what begins with their scope, and answer as they were opened."""

from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.providers.breaker import PAUSE, Breakers
from tests.unit.app_fakes import FakeClock

REFUSED = Answer(Verdict.CREDENTIALS_INVALID, reason="Forbidden")
SPARED = Answer(Verdict.NOT_SENT, reason="QUOTA_EXCEEDED")


def test_a_wide_one_concerns_what_is_narrower_and_not_the_other_way_round() -> None:
    breakers = Breakers(FakeClock())
    breakers.trip(("SANDBOX", "com.example"), REFUSED)
    assert breakers.find(("SANDBOX", "com.example")) is not None
    assert breakers.find(("SANDBOX", "com.example.other")) is None
    assert breakers.find(("PRODUCTION", "com.example")) is None
    assert breakers.find(("SANDBOX",)) is None
    breakers.trip((), SPARED)
    widest = breakers.find(("SANDBOX", "com.example"))
    assert widest is not None
    assert widest.refusal is SPARED


def test_a_second_refusal_prolongs_and_is_not_news() -> None:
    clock = FakeClock()
    breakers = Breakers(clock)
    assert breakers.trip(("h",), REFUSED)
    first = breakers.find(("h",))
    clock.micros += 1_000_000
    assert not breakers.trip(("h",), REFUSED)
    second = breakers.find(("h",))
    assert first is not None
    assert second is not None
    assert second.retry_at == first.retry_at + 1 == clock.monotonic() + PAUSE


def test_what_may_go_later_is_told_how_much_later() -> None:
    clock = FakeClock()
    breakers = Breakers(clock)
    breakers.trip((), SPARED, pause=60.0)
    (breaker,) = breakers.all()
    assert breaker.answer(clock.monotonic()).retry_after == 60.0
    assert breaker.answer(clock.monotonic() + 45).retry_after == 15.0
    assert breaker.answer(clock.monotonic() + 61).retry_after == 0.0
    breakers.trip((), REFUSED)
    (breaker,) = breakers.all()
    assert breaker.answer(clock.monotonic()) == REFUSED


def test_it_is_closed_by_who_holds_it_or_by_its_reason() -> None:
    breakers = Breakers(FakeClock())
    breakers.trip(("a",), REFUSED)
    breakers.trip(("b",), REFUSED)
    breakers.disprove(("a",), "SomethingElse")
    assert len(breakers.all()) == 2
    breakers.disprove(("a",), "Forbidden")
    (left,) = breakers.all()
    assert breakers.find(("b",)) is left
    breakers.close(left)
    assert breakers.all() == []
