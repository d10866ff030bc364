"""The life of one batch: the epoch check at hand-over, one final result each, honesty about doubt, token hygiene."""

from collections.abc import Callable, Sequence

import pytest

from bellhop_server.domain import DAY, HOUR, MINUTE, SECOND
from bellhop_server.domain.delivery import HANDOVER, Answer, Reading, Verdict
from bellhop_server.domain.device import Device, DeviceState, Platform, Target
from bellhop_server.domain.guard import QUIET
from bellhop_server.domain.message import (
    Audience,
    AudienceKind,
    Outcome,
    ResendPolicy,
    SendOptions,
)
from bellhop_server.domain.notification import Notification
from bellhop_server.domain.terms import MAX_RESENDS_IN_DOUBT
from tests.unit.app_fakes import NOW, batch_of, device, message
from tests.unit.handover_desk import Desk

Report = Callable[[int, Answer], None]


@pytest.mark.promise("P3")
async def test_a_batch_is_started_before_its_devices_are_read_and_read_before_it_is_sent() -> None:
    phones = [device("d1"), device("d2")]
    desk = Desk(message(), phones)

    await desk.carry_out(batch_of(phones))

    assert desk.store.log[:3] == ["start", "read", "send"]
    assert desk.outcomes == {"d1": Outcome.ACCEPTED, "d2": Outcome.ACCEPTED}
    assert desk.provider.chunks[0].deadline == NOW / SECOND + HANDOVER
    assert desk.store.reports[-1].done


@pytest.mark.promise("P7")
async def test_nothing_is_sent_under_a_lost_lease() -> None:
    phones = [device("d1")]
    desk = Desk(message(), phones)
    desk.store.leased = False

    await desk.carry_out(batch_of(phones))

    assert desk.provider.chunks == []
    assert desk.store.reports == []


@pytest.mark.promise("P3")
@pytest.mark.parametrize(
    "now",
    [
        None,
        device("d1", "ben", epoch=2),
        device("d1", "anna", epoch=3),
        device("d1", None, epoch=2),
        device("d1", state=DeviceState.DEAD),
        device("d1", state=DeviceState.UNVERIFIED),
    ],
)
async def test_whoever_is_no_longer_bound_as_planned_gets_nothing(now: Device | None) -> None:
    planned = device("d1", "anna", epoch=1)
    desk = Desk(message(), [now] if now else [])

    await desk.carry_out(batch_of([planned]))

    assert desk.provider.chunks == []
    assert desk.outcomes == {"d1": Outcome.SUPERSEDED}
    assert desk.store.results[0].user_id == "anna"
    assert desk.store.results[0].attempts == 0


async def test_a_token_that_rotated_gets_the_message() -> None:
    planned = device("d1")
    desk = Desk(message(), [device("d1", target=Target(Platform.APNS, "ffff"))])

    await desk.carry_out(batch_of([planned]))

    assert [each.address for each in desk.provider.chunks[0].deliveries] == ["ffff"]
    assert desk.outcomes == {"d1": Outcome.ACCEPTED}


@pytest.mark.parametrize("kind", [AudienceKind.DEVICES, AudienceKind.EVERYONE])
async def test_an_installation_is_meant_whoever_it_belongs_to(kind: AudienceKind) -> None:
    desk = Desk(message(Audience(kind, ("d1",))), [device("d1", "ben", epoch=9)])

    await desk.carry_out(batch_of([device("d1", "anna")]))

    assert desk.outcomes == {"d1": Outcome.ACCEPTED}


@pytest.mark.promise("P3")
async def test_an_excluded_user_is_excluded_at_hand_over_too() -> None:
    audience = Audience(AudienceKind.EVERYONE, exclude_user_ids=("ben",))
    desk = Desk(message(audience), [device("d1", "ben", epoch=9), device("d2", None)])

    await desk.carry_out(batch_of([device("d1", None), device("d2", None)]))

    assert desk.outcomes == {"d1": Outcome.SUPERSEDED, "d2": Outcome.ACCEPTED}


async def test_no_credential_and_a_topic_that_none_serves_are_results() -> None:
    phones = [device("d1", target=Target(Platform.APNS, "aa", apns_topic="other.app")), device("d2")]
    desk = Desk(message(), phones)

    await desk.carry_out(batch_of(phones))

    assert desk.outcomes == {"d1": Outcome.CONFIG_ERROR, "d2": Outcome.ACCEPTED}

    none = Desk(message(), phones)
    none.store.credentials = []

    await none.carry_out(batch_of(phones))

    assert set(none.outcomes.values()) == {Outcome.NOT_CONFIGURED}


@pytest.mark.promise("P4")
async def test_an_expired_message_is_not_handed_over() -> None:
    phones = [device("d1")]
    desk = Desk(message(options=SendOptions(ttl=HOUR)), phones)
    desk.clock.micros += HOUR

    await desk.carry_out(batch_of(phones))

    assert desk.store.log == ["record"]
    assert desk.outcomes == {"d1": Outcome.EXPIRED}


async def test_now_or_never_has_a_minute() -> None:
    phones = [device("d1")]
    desk = Desk(message(options=SendOptions(ttl=0)), phones)
    desk.clock.micros += MINUTE - 1
    await desk.carry_out(batch_of(phones))

    late = Desk(message(options=SendOptions(ttl=0)), phones)
    late.clock.micros += MINUTE
    await late.carry_out(batch_of(phones))

    assert desk.outcomes == {"d1": Outcome.ACCEPTED}
    assert late.outcomes == {"d1": Outcome.EXPIRED}


async def test_what_is_tried_again_becomes_batches_by_delay() -> None:
    phones = [device(f"d{n}") for n in range(4)]
    desk = Desk(message(), phones)
    desk.provider.answers = {
        "d0ab": Answer(Verdict.PROVIDER_UNAVAILABLE, 503, "ServiceUnavailable"),
        "d1ab": Answer(Verdict.PROVIDER_UNAVAILABLE, 500, "InternalServerError"),
        "d2ab": Answer(Verdict.NOT_SENT, 0, "Refused"),
    }

    await desk.carry_out(batch_of(phones))

    again = {tuple(item.device_id for item in each.items): each for each in desk.store.reports[-1].again}
    assert set(again) == {("d0", "d1"), ("d2",)}
    assert all(each.retry for each in again.values())
    assert NOW + 10 * SECOND <= again["d0", "d1"].turn <= NOW + 12 * SECOND
    assert NOW + SECOND // 10 <= again["d2",].turn <= NOW + SECOND // 5
    assert [item.attempts for item in again["d0", "d1"].items] == [1, 1]
    assert [item.attempts for item in again["d2",].items] == [0]
    assert desk.outcomes == {"d3": Outcome.ACCEPTED}


@pytest.mark.promise("P7")
@pytest.mark.promise("P9")
@pytest.mark.parametrize(
    ("resend", "collapse_key", "again"),
    [
        (ResendPolicy.NEVER, "k", False),
        (ResendPolicy.IF_REPLACEABLE, "", False),
        (ResendPolicy.IF_REPLACEABLE, "k", True),
        (ResendPolicy.ALWAYS, "", True),
    ],
)
async def test_an_interrupted_batch_follows_resend_and_skips_what_has_a_result(
    resend: ResendPolicy, collapse_key: str, again: bool
) -> None:
    phones = [device("d1"), device("d2")]
    sent = message(
        options=SendOptions(resend=resend), notification=Notification(title="Hello", collapse_key=collapse_key)
    )
    desk = Desk(sent, phones)
    desk.store.already = {("d1", "anna")}

    await desk.carry_out(batch_of(phones, interruptions=1))

    assert desk.outcomes == {"d2": Outcome.ACCEPTED if again else Outcome.UNKNOWN}
    assert desk.store.results[0].attempts == (2 if again else 1)
    assert ("send" in desk.store.log) == again


@pytest.mark.promise("P9")
async def test_every_interruption_counts_as_a_time_that_it_may_have_left() -> None:
    phones = [device("d1")]
    for interruptions in range(1, MAX_RESENDS_IN_DOUBT + 2):
        desk = Desk(message(options=SendOptions(resend=ResendPolicy.ALWAYS)), phones)
        await desk.carry_out(batch_of(phones, interruptions=interruptions))
        again = interruptions <= MAX_RESENDS_IN_DOUBT
        assert desk.outcomes == {"d1": Outcome.ACCEPTED if again else Outcome.UNKNOWN}
        assert desk.store.results[0].attempts == interruptions + again


@pytest.mark.promise("P9")
async def test_the_provider_knows_a_resend_by_its_id() -> None:
    phones = [device("d1"), device("d2")]
    ids = []
    for _ in range(2):
        desk = Desk(message(), phones)
        await desk.carry_out(batch_of(phones))
        ids.append([each.provider_message_id for each in desk.provider.chunks[0].deliveries])

    assert ids[0] == ids[1]
    assert ids[0][0] != ids[0][1]


@pytest.mark.promise("P11")
async def test_a_dead_token_is_told_once_the_device_is_retired() -> None:
    phones = [device("d1", target_time=NOW - DAY), device("d2", target_time=NOW)]
    desk = Desk(message(), phones)
    gone = Answer(Verdict.TOKEN_GONE_SINCE, 410, "Unregistered", invalid_since=NOW - HOUR)
    desk.provider.answers = {"d1ab": gone, "d2ab": gone}

    await desk.carry_out(batch_of(phones))

    assert desk.outcomes == {"d1": Outcome.TOKEN_INVALID, "d2": Outcome.TOKEN_INVALID}
    assert [each.device_id for each in desk.store.retired] == ["d1"]
    assert desk.store.log.index("retire") < desk.store.log.index("record")
    assert desk.store.results[0].invalid_since == NOW - HOUR


@pytest.mark.promise("P11")
async def test_a_400_alone_retires_nobody() -> None:
    phones = [device("d1")]
    desk = Desk(message(), phones)
    desk.provider.answers = {"d1ab": Answer(Verdict.TOKEN_INVALID, 400, "BadDeviceToken")}

    await desk.carry_out(batch_of(phones))

    assert desk.outcomes == {"d1": Outcome.TOKEN_INVALID}
    desk.clock.micros += HOUR
    await desk.hygiene.judge()
    assert desk.store.retired == []


@pytest.mark.promise("P11")
async def test_one_bad_token_among_a_hundred_is_retired_when_all_has_been_quiet_for_a_while() -> None:
    phones = [device(f"d{n}") for n in range(100)]
    desk = Desk(message(), phones)
    desk.provider.answers = {"d7ab": Answer(Verdict.TOKEN_INVALID, 400, "BadDeviceToken")}

    await desk.carry_out(batch_of(phones))

    assert desk.outcomes["d7"] is Outcome.TOKEN_INVALID
    await desk.hygiene.judge()
    assert desk.store.retired == []

    desk.clock.micros += int(QUIET * SECOND)
    await desk.hygiene.judge()
    assert [each.device_id for each in desk.store.retired] == ["d7"]


@pytest.mark.promise("P11")
async def test_a_400_does_not_count_once_the_device_has_taken_a_push() -> None:
    phones = [device(f"d{n}") for n in range(100)]
    desk = Desk(message(), phones)
    bad = Answer(Verdict.TOKEN_INVALID, 400, "BadDeviceToken")
    desk.provider.answers = {"d7ab": bad, "d8ab": bad}
    await desk.carry_out(batch_of(phones))

    desk.provider.answers = {}
    await desk.carry_out(batch_of([phones[7]], batch_id=2))

    desk.clock.micros += int(QUIET * SECOND)
    await desk.hygiene.judge()
    assert [each.device_id for each in desk.store.retired] == ["d8"]


async def test_a_first_acceptance_is_noted_once() -> None:
    phones = [device("d1", target_accepted=False), device("d2")]
    desk = Desk(message(), phones)

    await desk.carry_out(batch_of(phones))

    assert desk.store.accepted == [("d1", phones[0].target.digest)]


async def test_a_store_that_goes_away_after_the_start_loses_nothing_and_sends_nothing() -> None:
    phones = [device("d1")]
    desk = Desk(message(), phones)
    desk.store.away = 1

    await desk.carry_out(batch_of(phones))

    assert desk.provider.chunks == []
    assert [[item.device_id for item in each.items] for each in desk.store.reports[-1].again] == [["d1"]]
    assert desk.store.reports[-1].again[0].items[0].attempts == 0


@pytest.mark.promise("P7")
async def test_results_wait_for_a_store_that_is_away() -> None:
    phones = [device("d1")]
    desk = Desk(message(), phones)
    read = desk.store.read_present

    async def read_then_lose(app_id: str, message_ref: int, device_ids: Sequence[str]) -> Reading:
        reading = await read(app_id, message_ref, device_ids)
        desk.store.away = 3
        return reading

    desk.store.read_present = read_then_lose

    await desk.carry_out(batch_of(phones))

    assert desk.outcomes == {"d1": Outcome.ACCEPTED}
    assert len(desk.clock.slept) == 3


@pytest.mark.promise("P9")
async def test_a_provider_that_breaks_leaves_doubt_not_silence() -> None:
    phones = [device("d1"), device("d2"), device("d3")]
    desk = Desk(message(options=SendOptions(resend=ResendPolicy.NEVER)), phones)
    desk.provider.fault = RuntimeError("boom")

    await desk.carry_out(batch_of(phones))

    assert desk.outcomes == {"d1": Outcome.ACCEPTED, "d2": Outcome.UNKNOWN, "d3": Outcome.UNKNOWN}


@pytest.mark.promise("P4")
async def test_a_cancelled_message_is_not_handed_over() -> None:
    phones = [device("d1"), device("d2")]
    desk = Desk(message(), phones)
    desk.store.cancelled = True

    await desk.carry_out(batch_of(phones))

    assert desk.provider.chunks == []
    assert desk.outcomes == {"d1": Outcome.CANCELLED, "d2": Outcome.CANCELLED}


@pytest.mark.promise("P3")
async def test_a_message_that_ends_soon_is_not_handed_over_after_its_end() -> None:
    phones = [device("d1")]
    desk = Desk(message(options=SendOptions(ttl=HOUR)), phones)
    desk.clock.micros += HOUR - 2 * SECOND

    await desk.carry_out(batch_of(phones))

    assert desk.provider.chunks[0].deadline == desk.clock.monotonic() + 2
