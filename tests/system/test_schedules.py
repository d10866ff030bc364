"""Schedules and cancellations over the wire: what waits, what is taken back, and what the streams tell of it."""

import asyncio
import sqlite3
import time
from contextlib import closing
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from bellhop.v1 import event_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.store.database import sqlite_path
from tests.system.live_server import Live, Shop, details, refusal, told

HOUR = 3600.0


@pytest.fixture
async def ready(live: Live, shop: Shop) -> Shop:
    """The shop with a credential and a person with a device."""
    await live.credential(shop)
    await register(live, shop, "a1")
    return shop


async def register(live: Live, shop: Shop, device_id: str, user_id: str = "anna") -> None:
    request = reg.RegisterDeviceRequest(device_id=device_id, user_id=user_id, apns={"token": device_id})
    await live.registry.RegisterDevice(request, metadata=shop.client)


def at(seconds: float) -> Timestamp:
    """So many seconds from now."""
    moment = Timestamp()
    moment.FromNanoseconds(time.time_ns() + int(seconds * 1e9))
    return moment


def send(when: Timestamp | None = None, **changes: Any) -> notes.SendRequest:
    request = notes.SendRequest(
        audience={"users": {"user_ids": ["anna"]}}, notification={"title": "T"}, message_id="m1", **changes
    )
    if when is not None:
        request.options.schedule_time.CopyFrom(when)
    return request


async def accept(live: Live, shop: Shop, request: notes.SendRequest) -> event_pb2.Accepted:
    request.accept_only = True
    (response,) = [each async for each in live.notifier.Send(request, metadata=shop.sender)]
    return response.event.accepted


async def get(live: Live, shop: Shop) -> message_pb2.PushMessage:
    request = notes.GetMessageRequest(message_id="m1")
    return (await live.notifier.GetMessage(request, metadata=shop.sender)).message


async def cancel(live: Live, shop: Shop, message_id: str = "m1") -> message_pb2.PushMessage:
    request = notes.CancelMessageRequest(message_id=message_id)
    return (await live.notifier.CancelMessage(request, metadata=shop.sender)).message


async def watched(live: Live, shop: Shop) -> list[event_pb2.SendEvent]:
    call = live.notifier.WatchMessage(notes.WatchMessageRequest(message_id="m1"), metadata=shop.sender)
    return [each.event async for each in call if each.event.WhichOneof("event") != "progress"]


async def committed(live: Live) -> None:
    """Returns once the cancellation is written."""
    path = sqlite_path(live.settings.database_url)
    assert path is not None

    def look() -> None:
        with closing(sqlite3.connect(path)) as connection:
            while connection.execute("SELECT cancel_time FROM messages").fetchone() == (None,):
                pass

    await asyncio.to_thread(look)


def outcomes(events: list[event_pb2.SendEvent]) -> dict[str, int]:
    return {each.device_id: each.outcome for event in events for each in event.results.results}


async def test_a_message_waits_for_its_time_and_finds_who_is_there_then(live: Live, ready: Shop) -> None:
    when = at(0.5)
    call = live.notifier.Send(send(when), metadata=ready.sender)
    stream = aiter(call)
    accepted = (await anext(stream)).event.accepted
    waiting = await get(live, ready)
    assert waiting.state == message_pb2.MESSAGE_STATE_SCHEDULED
    assert waiting.schedule_time.ToMicroseconds() == when.ToMicroseconds()
    assert waiting.expire_time.ToMicroseconds() == when.ToMicroseconds() + 86400 * 10**6
    assert accepted.expire_time == waiting.expire_time
    assert live.provider.chunks == []
    await register(live, ready, "a2")

    rest = [response.event async for response in stream]
    assert time.time_ns() >= when.ToNanoseconds()
    assert outcomes(rest) == {"a1": message_pb2.OUTCOME_ACCEPTED, "a2": message_pb2.OUTCOME_ACCEPTED}
    assert rest[-1].summary.state == message_pb2.MESSAGE_STATE_COMPLETED
    done = await get(live, ready)
    assert done.complete_time.ToNanoseconds() >= when.ToNanoseconds()


async def test_a_time_in_the_past_is_now(live: Live, ready: Shop) -> None:
    events = [each.event async for each in live.notifier.Send(send(at(-HOUR)), metadata=ready.sender)]
    assert outcomes(events) == {"a1": message_pb2.OUTCOME_ACCEPTED}
    message = await get(live, ready)
    assert message.schedule_time == message.accept_time


async def test_ninety_days_ahead_and_no_more(live: Live, ready: Shop) -> None:
    for extra in ({}, {"validate_only": True}):
        error = await refusal(live.notifier.Send(send(at(90 * 86400 + 60), **extra), metadata=ready.sender))
        assert told(error)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert [each.field for each in details(error)["BadRequest"].field_violations] == ["options.schedule_time"]
    await accept(live, ready, send(at(90 * 86400 - 60)))
    listing = notes.ListMessagesRequest(states=[message_pb2.MESSAGE_STATE_SCHEDULED])
    page = await live.notifier.ListMessages(listing, metadata=ready.sender)
    assert [message.message_id for message in page.messages] == ["m1"]


@pytest.mark.promise("P8")
async def test_a_repeat_after_its_time_is_a_repeat(live: Live, ready: Shop) -> None:
    when = at(0.2)
    first = await accept(live, ready, send(when))
    assert outcomes(await watched(live, ready)) == {"a1": message_pb2.OUTCOME_ACCEPTED}
    again = await accept(live, ready, send(when))
    assert again.replayed
    assert again.accept_time == first.accept_time
    other = await refusal(live.notifier.Send(send(at(HOUR)), metadata=ready.sender))
    assert told(other)[1] == "REQUEST_ID_REUSED"
    assert sum(len(chunk.deliveries) for chunk in live.provider.chunks) == 1


async def test_a_scheduled_message_is_cancelled_at_once_and_goes_to_nobody(live: Live, ready: Shop) -> None:
    stream = aiter(live.notifier.Send(send(at(HOUR)), metadata=ready.sender))
    await anext(stream)
    cancelled = await cancel(live, ready)
    assert (cancelled.state, cancelled.counts.planned) == (message_pb2.MESSAGE_STATE_CANCELLED, True)
    # The stream that was open is told, well before it would have looked by itself.
    (end,) = [response.event async for response in stream]
    assert end.summary.state == message_pb2.MESSAGE_STATE_CANCELLED
    assert end.summary.counts == message_pb2.MessageCounts(planned=True)
    assert end.summary.complete_time == cancelled.complete_time
    assert (await watched(live, ready))[-1].summary == end.summary
    assert await cancel(live, ready) == cancelled
    assert live.provider.chunks == []


async def test_what_is_being_handed_over_tells_the_truth_and_cancel_waits_for_it(live: Live, ready: Shop) -> None:
    live.provider.answers.clear()
    await accept(live, ready, send())
    while not live.provider.chunks:
        await get(live, ready)
    waiting = asyncio.create_task(cancel(live, ready))
    await committed(live)
    assert not waiting.done()
    live.provider.answers.set()
    assert (await waiting).message_id == "m1"
    events = await watched(live, ready)
    assert outcomes(events) == {"a1": message_pb2.OUTCOME_ACCEPTED}
    assert events[-1].summary.state == message_pb2.MESSAGE_STATE_CANCELLED


async def test_what_is_over_stays_as_it_is(live: Live, ready: Shop) -> None:
    await accept(live, ready, send())
    await watched(live, ready)
    before = await get(live, ready)
    assert await cancel(live, ready) == before
    assert before.state == message_pb2.MESSAGE_STATE_COMPLETED


async def test_unknown_messages_and_those_of_others_are_not_found(live: Live, ready: Shop) -> None:
    other = await live.shop("other")
    await accept(live, ready, send(at(HOUR)))
    for shop, message_id in ((ready, "m2"), (other, "m1")):
        request = notes.CancelMessageRequest(message_id=message_id)
        error = await refusal(live.notifier.CancelMessage(request, metadata=shop.sender))
        found = {"message_id": message_id}
        assert told(error) == (grpc.StatusCode.NOT_FOUND, "MESSAGE_NOT_FOUND", found)
    assert (await get(live, ready)).state == message_pb2.MESSAGE_STATE_SCHEDULED
    with_client_secret = live.notifier.CancelMessage(notes.CancelMessageRequest(message_id="m1"), metadata=ready.client)
    assert (await refusal(with_client_secret)).code() is grpc.StatusCode.PERMISSION_DENIED
