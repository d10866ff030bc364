"""What ends a message for a device before a provider has taken it: its time, and a cancellation (P4, P7, P9).

Claims, hand-overs and what they leave behind go through the store, on both databases, by a clock that jumps.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext, suppress
from dataclasses import replace

import pytest

from bellhop_server.app.cancelling import Cancelling
from bellhop_server.app.fencing import Fence
from bellhop_server.app.handover import Handover
from bellhop_server.app.hygiene import Hygiene
from bellhop_server.app.recording import Recorder
from bellhop_server.domain import DAY, HOUR, MINUTE, SECOND
from bellhop_server.domain.application import (
    AnonymousPolicy,
    ApnsCredential,
    Application,
    Breaker,
    Credential,
    Policy,
    ProbeResult,
)
from bellhop_server.domain.batch import NewBatch
from bellhop_server.domain.delivery import HANDOVER, Answer, Chunk, Verdict
from bellhop_server.domain.device import Platform
from bellhop_server.domain.lanes import Share
from bellhop_server.domain.message import Message, MessageState, Outcome, ResendPolicy, SendOptions
from bellhop_server.domain.notification import ApnsOverride, Notification
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.domain.terms import NOW as RIGHT_NOW
from bellhop_server.queue.local import LocalQueue
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import APP, NOW, Known, put_devices, results_of, send
from tests.sealing import STAMPER

BUSY = Answer(Verdict.PROVIDER_UNAVAILABLE, 503, "ServiceUnavailable")
DOUBT = Answer(Verdict.UNKNOWN, reason="Timeout")
UNSENT = Answer(Verdict.NOT_SENT, reason="NoConnection")
KEY = ApnsCredential("KEY1234567", "TEAM123456", "pem", ("com.example.shop",))


class JumpingClock:
    """Stands still until a test moves it."""

    micros = NOW

    def now(self) -> int:
        return self.micros

    def monotonic(self) -> float:
        return self.micros / SECOND

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here has to be waited for")


class Script:
    """A provider that gives one answer to all, once the gate is open."""

    platform = Platform.APNS

    def __init__(self) -> None:
        self.answer = Answer(Verdict.ACCEPTED, 200)
        self.chunks: list[Chunk] = []
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        self.chunks.append(chunk)
        self.asked.set()
        await self.gate.wait()
        for index in range(len(chunk.deliveries)):
            report(index, self.answer)

    async def probe(self, credential: Credential) -> ProbeResult:
        return ProbeResult(True, "", 0)

    def breakers(self, app_id: str) -> list[Breaker]:
        return []

    def forget(self, app_id: str, credential_id: str) -> None:
        """Nothing is kept."""

    async def aclose(self) -> None:
        """Nothing is open."""


class Desk:
    """A worker that does one round when it is told to."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.clock = JumpingClock()
        self.provider = Script()
        self.queue = LocalQueue()
        self.recorder = Recorder(store, self.queue, self.clock)
        fence = Fence(nullcontext)
        providers = {Platform.APNS: self.provider}
        self.handover = Handover(
            store, self.clock, fence, self.recorder, Hygiene(store, self.clock), providers, STAMPER
        )
        self.cancelling = Cancelling(store, self.queue, self.clock, fence)

    async def accept(self, options: SendOptions, notification: Notification | None = None) -> Message:
        asked = replace(send(message_id="m1"), options=options, notification=notification or Notification(title="T"))
        message = (await self.store.accept(asked, "mark", "m1", self.clock.now())).message
        if message.state is MessageState.SCHEDULED:
            # As `fire` does when the database's clock has come there.
            database = self.store._database
            await database.write(lambda connection: connection.exec_driver_sql("UPDATE messages SET state = 2"))
        return message

    async def plan(self, message: Message) -> None:
        items = [Known("d1").item, Known("d2").item]
        batch = NewBatch(items, message.fire_time, message.options.priority)
        await self.store.add_plan(message.ref, "", AudiencePage(items, [], None), [batch], self.clock.now())

    async def message(self, options: SendOptions, notification: Notification | None = None) -> Message:
        message = await self.accept(options, notification)
        await self.plan(message)
        return message

    async def round(self) -> int:
        """Hands over what is due; how many batches that were."""
        now = self.clock.now()
        survey = await self.store.survey(now, ())
        shares = [Share(lane, 100, 100) for lane in survey.lanes]
        claimed = await self.store.claim("w", now, now + DAY, shares, ())
        for batch in claimed:
            async with asyncio.timeout(10):
                await self.handover.carry_out(batch, lambda results: None)
        return len(claimed)

    async def due(self) -> int | None:
        """When the next attempt is."""
        return (await self.store.survey(self.clock.now(), ())).next_due

    async def told(self, message: Message) -> list[tuple[Outcome, str]]:
        return [(each.outcome, each.reason) for _, each in await results_of(self.store, message)]


@pytest.fixture
async def desk(store: SqlStore) -> AsyncIterator[Desk]:
    await store.create_application(Application(APP, "Shop", Policy(AnonymousPolicy.OPEN), 0, 0), [])
    await store.put_credential(Credential(APP, "apns", Platform.APNS, 1, 0, KEY), None)
    await put_devices(store._database, [Known("d1"), Known("d2")])
    desk = Desk(store)
    writer = asyncio.create_task(desk.recorder.run())
    yield desk
    writer.cancel()
    with suppress(asyncio.CancelledError):
        await writer


def outcomes(told: list[tuple[Outcome, str]]) -> list[Outcome]:
    return [outcome for outcome, _ in told]


@pytest.mark.promise("P4")
@pytest.mark.parametrize("ahead", [0, HOUR])
async def test_what_waits_in_the_backlog_when_its_time_ends_is_expired(desk: Desk, ahead: int) -> None:
    """The time counts from the schedule."""
    message = await desk.message(SendOptions(ttl=90 * SECOND, schedule_time=NOW + ahead))
    desk.clock.micros = NOW + ahead + 90 * SECOND
    await desk.round()
    assert await desk.told(message) == [(Outcome.EXPIRED, "Expired")] * 2
    assert desk.provider.chunks == []


@pytest.mark.promise("P4")
@pytest.mark.parametrize("ahead", [0, HOUR])
async def test_what_has_a_moment_left_is_handed_over_within_it(desk: Desk, ahead: int) -> None:
    message = await desk.message(SendOptions(ttl=90 * SECOND, schedule_time=NOW + ahead))
    desk.clock.micros = NOW + ahead + 88 * SECOND
    await desk.round()
    assert outcomes(await desk.told(message)) == [Outcome.ACCEPTED] * 2
    [chunk] = desk.provider.chunks
    assert chunk.deadline == pytest.approx(desk.clock.monotonic() + 2)
    assert {delivery.expire_time for delivery in chunk.deliveries} == {NOW + ahead + 90 * SECOND}


async def test_what_has_more_left_is_handed_over_within_the_usual_time(desk: Desk) -> None:
    await desk.message(SendOptions())
    await desk.round()
    assert desk.provider.chunks[0].deadline == pytest.approx(desk.clock.monotonic() + HANDOVER)


@pytest.mark.promise("P4")
async def test_what_is_planned_so_late_that_all_is_over_is_expired(desk: Desk) -> None:
    message = await desk.accept(SendOptions(ttl=MINUTE))
    desk.clock.micros += DAY
    await desk.plan(message)
    await desk.round()
    assert outcomes(await desk.told(message)) == [Outcome.EXPIRED] * 2
    assert (await desk.store.get_message_by_ref(message.ref)).state is MessageState.COMPLETED


@pytest.mark.promise("P4")
async def test_tries_are_made_until_the_end_and_none_after(desk: Desk) -> None:
    message = await desk.message(SendOptions(ttl=100 * SECOND, schedule_time=NOW + HOUR))
    desk.clock.micros = NOW + HOUR
    desk.provider.answer = BUSY
    tried = []
    while await desk.round():
        if len(desk.provider.chunks) > len(tried):
            tried.append(desk.clock.micros - NOW - HOUR)
        desk.clock.micros = await desk.due() or desk.clock.micros
    assert await desk.told(message) == [(Outcome.EXPIRED, "ServiceUnavailable")] * 2
    # However the delays were spread, the last try came within its time.
    assert len(tried) >= 3
    assert 90 * SECOND < tried[-1] <= 99 * SECOND


@pytest.mark.promise("P4")
async def test_a_provider_that_asks_to_wait_beyond_the_end_is_the_end(desk: Desk) -> None:
    message = await desk.message(SendOptions(ttl=10 * MINUTE))
    desk.provider.answer = Answer(Verdict.THROTTLED_SENDER, 429, "TooManyRequests", retry_after=601)
    await desk.round()
    assert await desk.told(message) == [(Outcome.EXPIRED, "TooManyRequests")] * 2
    assert await desk.due() is None


async def test_what_nobody_took_up_before_the_end_keeps_its_last_obstacle(desk: Desk) -> None:
    """The server was down when the next attempt was due, and until after the end."""
    message = await desk.message(SendOptions(ttl=MINUTE))
    desk.provider.answer = BUSY
    await desk.round()
    desk.clock.micros += DAY
    await desk.round()
    assert await desk.told(message) == [(Outcome.EXPIRED, "ServiceUnavailable")] * 2
    assert len(desk.provider.chunks) == 1


@pytest.mark.promise("P4")
@pytest.mark.parametrize("ahead", [0, HOUR])
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(BUSY, Outcome.EXPIRED), (DOUBT, Outcome.UNKNOWN), (Answer(Verdict.ACCEPTED), Outcome.ACCEPTED)],
)
async def test_now_or_never(desk: Desk, ahead: int, answer: Answer, outcome: Outcome) -> None:
    message = await desk.message(SendOptions(ttl=0, resend=ResendPolicy.ALWAYS, schedule_time=NOW + ahead))
    desk.clock.micros = NOW + ahead
    desk.provider.answer = answer
    await desk.round()
    assert desk.provider.chunks[0].now_or_never
    assert outcomes(await desk.told(message)) == [outcome] * 2


@pytest.mark.promise("P4")
async def test_now_or_never_is_never_after_a_minute(desk: Desk) -> None:
    message = await desk.message(SendOptions(ttl=0, schedule_time=NOW + HOUR))
    desk.clock.micros = NOW + HOUR
    desk.provider.answer = UNSENT
    assert await desk.round() == 1
    assert await desk.told(message) == []
    desk.clock.micros = NOW + HOUR + RIGHT_NOW
    await desk.round()
    assert outcomes(await desk.told(message)) == [Outcome.EXPIRED] * 2
    assert len(desk.provider.chunks) == 1


@pytest.mark.promise("P4")
@pytest.mark.parametrize(("general", "for_apns"), [(0, HOUR), (DAY, HOUR), (HOUR, 0)])
async def test_the_ttl_for_a_network_is_that_of_the_hand_over(desk: Desk, general: int, for_apns: int) -> None:
    notification = Notification(title="T", apns=ApnsOverride(ttl=for_apns))
    message = await desk.message(SendOptions(ttl=general, schedule_time=NOW + DAY), notification)
    assert message.expire_time == NOW + DAY + general
    end = NOW + DAY + (for_apns or RIGHT_NOW)
    desk.clock.micros = end - SECOND
    desk.provider.answer = UNSENT
    await desk.round()
    [chunk] = desk.provider.chunks
    assert chunk.now_or_never == (for_apns == 0)
    assert {delivery.expire_time for delivery in chunk.deliveries} == {NOW + DAY + for_apns}
    desk.clock.micros = end
    await desk.round()
    assert outcomes(await desk.told(message)) == [Outcome.EXPIRED] * 2
    assert len(desk.provider.chunks) == 1


@pytest.mark.promise("P5")
async def test_a_provider_keeps_nothing_for_longer_than_the_binding_lasts(desk: Desk) -> None:
    ends = NOW + HOUR + 5 * MINUTE
    database = desk.store._database
    await database.write(
        lambda connection: connection.exec_driver_sql(
            f"UPDATE devices SET binding_expire_time = {ends} WHERE device_id = 'd1'"
        )
    )
    await desk.message(SendOptions(ttl=DAY, schedule_time=NOW + HOUR))
    desk.clock.micros = NOW + HOUR
    await desk.round()
    [chunk] = desk.provider.chunks
    assert {each.address: each.expire_time for each in chunk.deliveries} == {"d1": ends, "d2": NOW + HOUR + DAY}


@pytest.mark.promise("P9")
@pytest.mark.parametrize("end", ["time", "cancel"])
async def test_what_may_have_arrived_is_unknown_whatever_ends_it(desk: Desk, end: str) -> None:
    message = await desk.message(SendOptions(ttl=HOUR, resend=ResendPolicy.ALWAYS))
    desk.provider.answer = DOUBT
    await desk.round()
    desk.provider.answer = UNSENT
    desk.clock.micros = await desk.due() or 0
    await desk.round()
    if end == "cancel":
        await desk.cancelling.cancel(APP, "m1")
    else:
        desk.clock.micros = NOW + HOUR
    await desk.round()
    assert outcomes(await desk.told(message)) == [Outcome.UNKNOWN] * 2


@pytest.mark.promise("P9")
async def test_a_last_try_that_fails_does_not_undo_a_doubt(desk: Desk) -> None:
    message = await desk.message(SendOptions(ttl=30 * SECOND, resend=ResendPolicy.ALWAYS))
    desk.provider.answer = DOUBT
    await desk.round()
    desk.provider.answer = BUSY
    while await desk.round() or await desk.due():
        desk.clock.micros = await desk.due() or desk.clock.micros
    assert outcomes(await desk.told(message)) == [Outcome.UNKNOWN] * 2


async def test_what_has_not_been_handed_over_is_cancelled(desk: Desk) -> None:
    message = await desk.message(SendOptions())
    told = await desk.cancelling.cancel(APP, "m1")
    assert told.state is MessageState.SENDING
    assert await desk.round() == 1
    assert await desk.told(message) == [(Outcome.CANCELLED, "Cancelled")] * 2
    assert desk.provider.chunks == []
    assert (await desk.store.get_message_by_ref(message.ref)).state is MessageState.CANCELLED


async def test_what_was_to_be_tried_again_is_cancelled_at_once(desk: Desk) -> None:
    message = await desk.message(SendOptions())
    desk.provider.answer = BUSY
    await desk.round()
    assert await desk.round() == 0
    await desk.cancelling.cancel(APP, "m1")
    assert await desk.round() == 1
    assert outcomes(await desk.told(message)) == [Outcome.CANCELLED] * 2
    assert len(desk.provider.chunks) == 1


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(BUSY, Outcome.CANCELLED), (Answer(Verdict.ACCEPTED), Outcome.ACCEPTED), (DOUBT, Outcome.UNKNOWN)],
)
async def test_what_is_being_handed_over_has_the_end_that_it_comes_to(
    desk: Desk, answer: Answer, outcome: Outcome
) -> None:
    """The cancellation waits for it, and another attempt there is none."""
    message = await desk.message(SendOptions(resend=ResendPolicy.ALWAYS))
    desk.provider.gate.clear()
    desk.provider.answer = answer
    working = asyncio.create_task(desk.round())
    async with asyncio.timeout(10):
        await desk.provider.asked.wait()
        cancelling = asyncio.create_task(desk.cancelling.cancel(APP, "m1"))
        while not (await desk.store.read_present(APP, message.ref, [])).cancelled:
            pass
        assert not cancelling.done()
        desk.provider.gate.set()
        await cancelling
        await working
        await desk.round()
    assert outcomes(await desk.told(message)) == [outcome] * 2
    assert len(desk.provider.chunks) == 1
    assert (await desk.store.get_message_by_ref(message.ref)).state is MessageState.CANCELLED
