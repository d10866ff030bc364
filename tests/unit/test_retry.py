"""What an answer means for one device: final, or again after a while (P7, P9)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.domain import DAY, HOUR, MINUTE, SECOND
from bellhop_server.domain.batch import Item
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.domain.device import Platform
from bellhop_server.domain.message import (
    Audience,
    AudienceKind,
    Message,
    MessageState,
    Outcome,
    ResendPolicy,
    SendOptions,
)
from bellhop_server.domain.notification import ApnsOverride, Notification
from bellhop_server.domain.retry import MAX_ATTEMPTS, MAX_NOT_SENT, decide
from bellhop_server.domain.terms import Terms, terms

NOW = 1_800_000_000 * SECOND


def message(*, ttl: int = DAY, resend: ResendPolicy = ResendPolicy.IF_REPLACEABLE, collapse_key: str = "") -> Message:
    return Message(
        ref=1,
        app_id="shop",
        message_id="m1",
        request_id="",
        state=MessageState.SENDING,
        accept_time=NOW,
        expire_time=NOW + ttl,
        complete_time=None,
        audience=Audience(AudienceKind.EVERYONE),
        notification=Notification(title="Hello", collapse_key=collapse_key),
        options=SendOptions(ttl=ttl, resend=resend),
    )


def on_apns(sent: Message) -> Terms:
    return terms(sent, Platform.APNS)


def item() -> Item:
    return Item("d1", "anna", 7, "00" * 8, 1)


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (Verdict.ACCEPTED, Outcome.ACCEPTED),
        (Verdict.TOKEN_INVALID, Outcome.TOKEN_INVALID),
        (Verdict.TOKEN_GONE_SINCE, Outcome.TOKEN_INVALID),
        (Verdict.TOKEN_MISMATCH, Outcome.TOKEN_MISMATCH),
        (Verdict.PAYLOAD_INVALID, Outcome.PAYLOAD_INVALID),
        (Verdict.PAYLOAD_TOO_LARGE, Outcome.PAYLOAD_TOO_LARGE),
        (Verdict.CREDENTIALS_INVALID, Outcome.CREDENTIALS_INVALID),
        (Verdict.CONFIG_ERROR, Outcome.CONFIG_ERROR),
        (Verdict.NOT_CONFIGURED, Outcome.NOT_CONFIGURED),
        (Verdict.ENDPOINT_BLOCKED, Outcome.ENDPOINT_BLOCKED),
        (Verdict.ADAPTER_BUG, Outcome.INTERNAL),
    ],
)
def test_a_final_verdict_is_final_at_once(verdict: Verdict, outcome: Outcome) -> None:
    assert decide(item(), Answer(verdict), on_apns(message()), NOW) is outcome


@pytest.mark.parametrize(
    ("verdict", "delays"),
    [
        (Verdict.NOT_SENT, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5, 10, 40, 160, 640, 900, 900]),
        (Verdict.PROVIDER_UNAVAILABLE, [10, 40, 160, 640, 900, 900]),
        (Verdict.THROTTLED_TARGET, [60, 120, 240, 480, 960, 1800, 1800]),
        (Verdict.THROTTLED_SENDER, [60, 120, 240, 480, 960, 1920, 3600, 3600]),
    ],
)
def test_delays_grow_to_a_cap(verdict: Verdict, delays: list[float]) -> None:
    tried = item()

    assert [decide(tried, Answer(verdict), on_apns(message(ttl=28 * DAY)), NOW) for _ in delays] == pytest.approx(
        delays
    )


def test_the_provider_may_ask_for_longer_but_not_for_less() -> None:
    assert decide(item(), Answer(Verdict.THROTTLED_SENDER, retry_after=299.2), on_apns(message()), NOW) == 300.0
    assert decide(item(), Answer(Verdict.THROTTLED_SENDER, retry_after=1.0), on_apns(message()), NOW) == 60.0


def test_only_hand_overs_count_as_attempts() -> None:
    tried = item()
    for _ in range(3):
        decide(tried, Answer(Verdict.NOT_SENT), on_apns(message()), NOW)
    decide(tried, Answer(Verdict.PROVIDER_UNAVAILABLE), on_apns(message()), NOW)

    assert (tried.attempts, tried.unsent) == (1, 3)


def test_what_comes_too_late_is_expired_and_keeps_the_last_obstacle() -> None:
    tried = item()
    answer = Answer(Verdict.PROVIDER_UNAVAILABLE, 503, "ServiceUnavailable")

    assert decide(tried, answer, on_apns(message(ttl=SECOND)), NOW) is Outcome.EXPIRED
    assert (tried.obstacle, tried.obstacle_status) == ("ServiceUnavailable", 503)


def test_what_has_no_time_for_the_whole_delay_is_tried_once_more_before_the_end() -> None:
    unavailable, short = Answer(Verdict.PROVIDER_UNAVAILABLE, 503), on_apns(message(ttl=9 * SECOND))
    tried = item()

    assert decide(tried, unavailable, short, NOW) == 8.0
    assert decide(tried, unavailable, short, NOW + 8 * SECOND) is Outcome.EXPIRED


def test_a_provider_that_said_not_to_come_before_is_not_asked_before() -> None:
    answer = Answer(Verdict.THROTTLED_SENDER, 429, retry_after=90)

    assert decide(item(), answer, on_apns(message(ttl=MINUTE)), NOW) is Outcome.EXPIRED


def test_attempts_end_at_the_limit() -> None:
    tried = replace(item(), attempts=MAX_ATTEMPTS - 1)

    assert decide(tried, Answer(Verdict.THROTTLED_TARGET), on_apns(message(ttl=28 * DAY)), NOW) is Outcome.GAVE_UP


def test_ttl_0_is_one_attempt_and_again_only_what_was_surely_not_taken() -> None:
    now_or_never = on_apns(message(ttl=0))

    assert now_or_never.last_call == NOW + MINUTE
    assert decide(item(), Answer(Verdict.NOT_SENT), now_or_never, NOW) == pytest.approx(0.1)
    assert decide(item(), Answer(Verdict.PROVIDER_UNAVAILABLE), now_or_never, NOW) is Outcome.EXPIRED
    assert decide(item(), Answer(Verdict.UNKNOWN), now_or_never, NOW) is Outcome.UNKNOWN
    assert not on_apns(message(ttl=0, resend=ResendPolicy.ALWAYS)).may_resend(1)


@pytest.mark.promise("P9")
@pytest.mark.parametrize(
    ("resend", "collapse_key", "again"),
    [
        (ResendPolicy.NEVER, "", False),
        (ResendPolicy.NEVER, "order", False),
        (ResendPolicy.IF_REPLACEABLE, "", False),
        (ResendPolicy.IF_REPLACEABLE, "order", True),
        (ResendPolicy.ALWAYS, "", True),
    ],
)
def test_doubt_follows_the_policy(resend: ResendPolicy, collapse_key: str, again: bool) -> None:
    sent = message(resend=resend, collapse_key=collapse_key)

    decided = decide(item(), Answer(Verdict.UNKNOWN), on_apns(sent), NOW)

    assert decided == (10 if again else Outcome.UNKNOWN)


@pytest.mark.promise("P9")
def test_doubt_is_resent_twice_at_most() -> None:
    tried = item()
    always = on_apns(message(resend=ResendPolicy.ALWAYS))

    decided = [decide(tried, Answer(Verdict.UNKNOWN), always, NOW) for _ in range(3)]

    assert decided == [10, 40, Outcome.UNKNOWN]


@pytest.mark.promise("P9")
def test_doubt_that_can_not_be_resent_in_time_stays_unknown() -> None:
    short = on_apns(message(ttl=SECOND, resend=ResendPolicy.ALWAYS))

    assert decide(item(), Answer(Verdict.UNKNOWN), short, NOW) is Outcome.UNKNOWN


@pytest.mark.promise("P9")
@pytest.mark.parametrize("verdict", [Verdict.PROVIDER_UNAVAILABLE, Verdict.THROTTLED_TARGET, Verdict.NOT_SENT])
def test_what_may_have_arrived_before_is_unknown_when_its_time_or_its_attempts_are_over(verdict: Verdict) -> None:
    always = on_apns(message(ttl=DAY, resend=ResendPolicy.ALWAYS))

    assert decide(replace(item(), doubts=1), Answer(verdict), always, NOW + DAY) is Outcome.UNKNOWN
    assert decide(replace(item(), doubts=1, attempts=MAX_ATTEMPTS), Answer(verdict), always, NOW) is Outcome.UNKNOWN
    assert decide(replace(item(), doubts=1), Answer(Verdict.ACCEPTED), always, NOW) is Outcome.ACCEPTED


def test_time_counts_from_the_schedule() -> None:
    late = on_apns(replace(message(), options=SendOptions(ttl=HOUR, schedule_time=NOW + DAY)))
    past = on_apns(replace(message(), options=SendOptions(ttl=HOUR, schedule_time=NOW - DAY)))
    never = on_apns(replace(message(), options=SendOptions(ttl=0, schedule_time=NOW + DAY)))

    assert late.expire_time == late.last_call == NOW + DAY + HOUR
    assert past.expire_time == NOW + HOUR
    assert (never.expire_time, never.last_call) == (NOW + DAY, NOW + DAY + MINUTE)


def test_the_override_decides_whether_a_push_replaces_another() -> None:
    neutral = message(collapse_key="order")
    cleared = replace(neutral, notification=replace(neutral.notification, apns=ApnsOverride(collapse_key="")))
    added = replace(message(), notification=Notification(apns=ApnsOverride(collapse_key="order")))

    found = [on_apns(each) for each in (neutral, cleared, added, message())]
    assert [each.collapse_key for each in found] == ["order", "", "order", ""]
    assert [each.may_resend(1) for each in found] == [True, False, True, False]


@pytest.mark.promise("P7")
@pytest.mark.promise("P4")
@given(
    st.lists(
        st.sampled_from(
            [
                Verdict.NOT_SENT,
                Verdict.UNKNOWN,
                Verdict.PROVIDER_UNAVAILABLE,
                Verdict.THROTTLED_SENDER,
                Verdict.THROTTLED_TARGET,
            ]
        ),
        min_size=400,
        max_size=400,
    ),
    st.integers(0, 2 * HOUR),
)
def test_every_item_comes_to_an_end_before_its_last_call(verdicts: list[Verdict], ttl: int) -> None:
    tried, now = item(), NOW
    sent = on_apns(message(ttl=ttl, resend=ResendPolicy.ALWAYS))
    for verdict in verdicts:
        decided = decide(tried, Answer(verdict), sent, now)
        if isinstance(decided, Outcome):
            assert decided in (Outcome.EXPIRED, Outcome.UNKNOWN, Outcome.GAVE_UP)
            assert tried.doubts <= 3
            return
        now += int(decided * SECOND)
        assert now < sent.last_call
    assert tried.unsent > MAX_NOT_SENT


@pytest.mark.parametrize("options_ttl", [0, HOUR, 28 * DAY])
def test_the_ttl_for_apns_replaces_that_of_the_options(options_ttl: int) -> None:
    def sent(ttl: int) -> Terms:
        notification = Notification(title="Hello", apns=ApnsOverride(ttl=ttl))
        return on_apns(replace(message(ttl=options_ttl), notification=notification))

    assert sent(2 * HOUR).expire_time == sent(2 * HOUR).last_call == NOW + 2 * HOUR
    assert not sent(2 * HOUR).now_or_never
    assert sent(0).now_or_never
    assert sent(0).last_call == NOW + MINUTE
