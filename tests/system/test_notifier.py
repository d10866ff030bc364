"""The Notifier service over the wire: events, repeats, cursors, lists."""

import asyncio
from typing import Any

import grpc
import pytest

from bellhop.v1 import event_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from tests.system.live_server import Live, Shop, details, refusal, told


@pytest.fixture
async def ready(live: Live, shop: Shop) -> Shop:
    """The shop with a credential and two people, one of them with two devices."""
    await live.credential(shop)
    for device_id, user_id, token in (("a1", "anna", "a1"), ("a2", "anna", "a2"), ("b1", "bert", "b1")):
        request = reg.RegisterDeviceRequest(device_id=device_id, user_id=user_id, apns={"token": token})
        await live.registry.RegisterDevice(request, metadata=shop.client)
    return shop


def send(*user_ids: str, **changes: Any) -> notes.SendRequest:
    fields = {"audience": {"users": {"user_ids": user_ids or ["anna"]}}, "notification": {"title": "T"}}
    return notes.SendRequest(**{**fields, **changes})


async def events(live: Live, shop: Shop, request: notes.SendRequest) -> list[event_pb2.SendEvent]:
    return [each.event async for each in live.notifier.Send(request, metadata=shop.sender)]


async def watched(live: Live, shop: Shop, **request: Any) -> list[event_pb2.SendEvent]:
    call = live.notifier.WatchMessage(notes.WatchMessageRequest(**request), metadata=shop.sender)
    return [each.event async for each in call]


def kinds(events: list[event_pb2.SendEvent]) -> list[str | None]:
    return [event.WhichOneof("event") for event in events if event.WhichOneof("event") != "progress"]


def results(events: list[event_pb2.SendEvent]) -> list[tuple[str, str, int]]:
    return [(each.user_id, each.device_id, each.outcome) for event in events for each in event.results.results]


async def test_a_send_from_its_first_event_to_its_last(live: Live, ready: Shop) -> None:
    told_ = await events(live, ready, send("anna", "bert", "nobody"))
    assert (kinds(told_)[0], kinds(told_)[-1]) == ("accepted", "summary")
    assert not told_[0].accepted.replayed
    assert sorted(results(told_)) == [
        ("anna", "a1", message_pb2.OUTCOME_ACCEPTED),
        ("anna", "a2", message_pb2.OUTCOME_ACCEPTED),
        ("bert", "b1", message_pb2.OUTCOME_ACCEPTED),
        ("nobody", "", message_pb2.OUTCOME_NOT_REGISTERED),
    ]
    counts = told_[-1].summary.counts
    assert (counts.device_count, counts.finished_count, counts.not_registered_count) == (3, 3, 1)
    assert all(event.cursor for event in told_)


@pytest.mark.promise("P8")
async def test_a_repeat_is_the_same_message_and_no_second_push(live: Live, ready: Shop) -> None:
    first = await events(live, ready, send(request_id="r1"))
    second = await events(live, ready, send(request_id="r1", result_filter=event_pb2.RESULT_FILTER_NONE))
    assert second[0].accepted.replayed
    assert second[0].accepted.message_id == first[0].accepted.message_id
    assert second[-1] == first[-1]
    assert results(second) == []
    assert len(live.provider.chunks) == 1


@pytest.mark.promise("P8")
async def test_a_repeat_is_recognised_before_it_is_validated(live: Live, ready: Shop) -> None:
    """A rule that became stricter since must not turn a repeat into an error."""
    await events(live, ready, send(request_id="r1"))
    again = send(request_id="r1", accept_only=True)
    again.result_filter = 99  # What a newer client might send.
    assert kinds(await events(live, ready, again)) == ["accepted"]


@pytest.mark.promise("P8")
async def test_another_content_under_the_same_id_is_refused(live: Live, ready: Shop) -> None:
    message_id = (await events(live, ready, send(request_id="r1")))[0].accepted.message_id
    error = await refusal(live.notifier.Send(send("bert", request_id="r1"), metadata=ready.sender))
    same = {"request_id": "r1", "message_id": message_id}
    assert told(error) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", same)


@pytest.mark.promise("P8")
async def test_duplicates_at_the_same_moment_are_one_message(live: Live, ready: Shop) -> None:
    streams = await asyncio.gather(*(events(live, ready, send(request_id="r1")) for _ in range(20)))
    assert len({stream[0].accepted.message_id for stream in streams}) == 1
    assert [stream[0].accepted.replayed for stream in streams].count(False) == 1
    assert len({stream[-1].SerializeToString(deterministic=True) for stream in streams}) == 1
    assert sum(len(chunk.deliveries) for chunk in live.provider.chunks) == 2


async def test_accept_only_ends_after_accepted(live: Live, ready: Shop) -> None:
    told_ = await events(live, ready, send(accept_only=True))
    assert kinds(told_) == ["accepted"]
    rest = await watched(live, ready, message_id=told_[0].accepted.message_id, after_cursor=told_[0].cursor)
    assert kinds(rest)[-1] == "summary"


async def test_validate_only_counts_and_sends_nothing(live: Live, ready: Shop) -> None:
    (event,) = await events(live, ready, send("anna", "nobody", validate_only=True, request_id="r1"))
    counts = event.validated.counts
    assert (counts.device_count, counts.not_registered_count, event.cursor) == (2, 1, "")
    page = await live.notifier.ListMessages(notes.ListMessagesRequest(), metadata=ready.sender)
    assert list(page.messages) == []
    assert live.provider.chunks == []
    assert not (await events(live, ready, send("bert", request_id="r1")))[0].accepted.replayed


@pytest.mark.parametrize("extra", [{}, {"validate_only": True}, {"accept_only": True}])
async def test_all_that_is_wrong_is_told_at_once_and_nothing_is_kept(
    live: Live, ready: Shop, extra: dict[str, bool]
) -> None:
    request = notes.SendRequest(request_id="a b", audience={}, notification={"image_url": "x", "badge": -1}, **extra)
    error = await refusal(live.notifier.Send(request, metadata=ready.sender))
    assert told(error)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert [each.field for each in details(error)["BadRequest"].field_violations] == [
        "request_id",
        "audience.to",
        "notification.image_url",
        "notification.badge",
    ]
    page = await live.notifier.ListMessages(notes.ListMessagesRequest(), metadata=ready.sender)
    assert list(page.messages) == []


@pytest.mark.promise("P10")
async def test_watching_goes_on_after_a_cursor_with_any_filter(live: Live, ready: Shop) -> None:
    everything = await events(live, ready, send("anna", "bert", "nobody"))
    message_id = everything[0].accepted.message_id
    for index, event in enumerate(everything):
        rest = await watched(live, ready, message_id=message_id, after_cursor=event.cursor)
        assert kinds(rest)[0] == "accepted"
        assert rest[0].cursor == event.cursor
        assert not rest[0].accepted.replayed
        assert results(rest) == results(everything[index + 1 :])
        assert rest[-1] == everything[-1]
    failures = await watched(live, ready, message_id=message_id, result_filter=event_pb2.RESULT_FILTER_FAILURES)
    assert [outcome for _, _, outcome in results(failures)] == [message_pb2.OUTCOME_NOT_REGISTERED]
    none = await watched(live, ready, message_id=message_id, result_filter=event_pb2.RESULT_FILTER_NONE)
    assert kinds(none) == ["accepted", "summary"]


async def test_a_cursor_of_something_else_is_refused(live: Live, ready: Shop) -> None:
    first, second = [await events(live, ready, send("bert")) for _ in range(2)]
    message_id = first[0].accepted.message_id
    for cursor in (second[-1].cursor, "AAE", "x" * 100, first[-1].cursor[:-2]):
        request = notes.WatchMessageRequest(message_id=message_id, after_cursor=cursor)
        error = await refusal(live.notifier.WatchMessage(request, metadata=ready.sender))
        assert told(error) == (grpc.StatusCode.INVALID_ARGUMENT, "CURSOR_INVALID", {"message_id": message_id})


async def test_another_applications_message_is_not_found(live: Live, ready: Shop) -> None:
    other = await live.shop("other")
    message_id = (await events(live, ready, send("bert")))[0].accepted.message_id
    calls = [
        live.notifier.WatchMessage(notes.WatchMessageRequest(message_id=message_id), metadata=other.sender),
        live.notifier.GetMessage(notes.GetMessageRequest(message_id=message_id), metadata=other.sender),
        live.notifier.ListResults(notes.ListResultsRequest(message_id=message_id), metadata=other.sender),
    ]
    for call in calls:
        assert told(await refusal(call)) == (
            grpc.StatusCode.NOT_FOUND,
            "MESSAGE_NOT_FOUND",
            {"message_id": message_id},
        )


async def test_a_message_is_shown_in_two_views(live: Live, ready: Shop) -> None:
    await events(live, ready, send("bert", request_id="r1", message_id="m1"))
    basic = await live.notifier.GetMessage(notes.GetMessageRequest(message_id="m1"), metadata=ready.sender)
    assert (basic.message.request_id, basic.message.state) == ("r1", message_pb2.MESSAGE_STATE_COMPLETED)
    assert not basic.message.HasField("notification")
    request = notes.GetMessageRequest(message_id="m1", view=notes.MESSAGE_VIEW_FULL)
    full = await live.notifier.GetMessage(request, metadata=ready.sender)
    assert full.message.notification == send().notification
    assert list(full.message.audience.users.user_ids) == ["bert"]


async def test_messages_are_listed_the_latest_first_and_page_by_page(live: Live, ready: Shop) -> None:
    for number in range(60):
        await events(live, ready, send("bert", message_id=f"m{number:02}", accept_only=True))
    await watched(live, ready, message_id="m59")
    seen, request = [], notes.ListMessagesRequest(page_size=29)
    while True:
        page = await live.notifier.ListMessages(request, metadata=ready.sender)
        assert len(page.messages) <= 29
        seen += [message.message_id for message in page.messages]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert seen == [f"m{number:02}" for number in reversed(range(60))]
    third = await live.notifier.GetMessage(notes.GetMessageRequest(message_id="m03"), metadata=ready.sender)
    early = notes.ListMessagesRequest(accepted_until_time=third.message.accept_time, view=notes.MESSAGE_VIEW_FULL)
    page = await live.notifier.ListMessages(early, metadata=ready.sender)
    assert [message.message_id for message in page.messages] == ["m02", "m01", "m00"]
    assert page.messages[0].notification.title == "T"
    late = notes.ListMessagesRequest(accepted_from_time=third.message.accept_time, page_size=500)
    assert len((await live.notifier.ListMessages(late, metadata=ready.sender)).messages) == 57
    none = notes.ListMessagesRequest(states=[message_pb2.MESSAGE_STATE_CANCELLED])
    assert list((await live.notifier.ListMessages(none, metadata=ready.sender)).messages) == []


async def test_results_are_listed_as_they_were_streamed(live: Live, ready: Shop) -> None:
    streamed = results(await events(live, ready, send("anna", "bert", "nobody", message_id="m1")))
    seen, request = [], notes.ListResultsRequest(message_id="m1", page_size=1)
    while True:
        page = await live.notifier.ListResults(request, metadata=ready.sender)
        seen += [(each.user_id, each.device_id, each.outcome) for each in page.results]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert seen == streamed

    async def listed(**filters: Any) -> list[str]:
        request = notes.ListResultsRequest(message_id="m1", **filters)
        page = await live.notifier.ListResults(request, metadata=ready.sender)
        return sorted(each.device_id for each in page.results)

    assert await listed(result_filter=event_pb2.RESULT_FILTER_FAILURES) == [""]
    assert await listed(outcomes=[message_pb2.OUTCOME_ACCEPTED]) == ["a1", "a2", "b1"]
    assert await listed(user_id="anna", device_id="a2") == ["a2"]


async def test_the_deadline_bounds_the_stream_and_not_the_message(live: Live, ready: Shop) -> None:
    live.provider.answers.clear()
    call = live.notifier.Send(send("bert", message_id="m1"), metadata=ready.sender, timeout=0.3)
    assert (await refusal(call)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    live.provider.answers.set()
    assert kinds(await watched(live, ready, message_id="m1"))[-1] == "summary"


@pytest.mark.promise("P6")
async def test_hanging_up_does_not_end_the_message(live: Live, ready: Shop) -> None:
    live.provider.answers.clear()
    call = live.notifier.Send(send("bert", message_id="m1"), metadata=ready.sender)
    await anext(aiter(call))
    call.cancel()
    live.provider.answers.set()
    assert kinds(await watched(live, ready, message_id="m1"))[-1] == "summary"
