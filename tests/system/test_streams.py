"""Streams over the wire (P10): cut anywhere, watched by many, read slowly, ended with the server."""

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from bellhop.v1 import event_pb2, notifier_pb2_grpc
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop.v1.event_pb2 import SendEvent
from bellhop_server.settings import Address
from bellhop_simulators import ApnsSimulator
from tests.system.crowd import APP, APP_SECRET, device_id, gather_crowd
from tests.system.live_server import Live, Shop, counted, live_server, settings_in, story, told

pytestmark = pytest.mark.promise("P10")

FILTERS = (event_pb2.RESULT_FILTER_ALL, event_pb2.RESULT_FILTER_FAILURES, event_pb2.RESULT_FILTER_NONE)
MASTER_KEY = bytes(32)
# A reader over such a channel holds up the writer after a few kilobytes.
NARROW = (("grpc.http2.lookahead_bytes", 1), ("grpc.http2.bdp_probe", 0))
GONE = [f"{number:04}{'x' * 500}" for number in range(5000)]


@pytest.fixture
async def live(tmp_path: Path, database_url: str) -> AsyncIterator[Live]:
    settings = settings_in(tmp_path, database_url=database_url, master_key=base64.b64encode(MASTER_KEY).decode())
    async with live_server(settings) as live:
        yield live


def everyone(**changes: Any) -> notes.SendRequest:
    return notes.SendRequest(audience={"everyone": {}}, notification={"title": "T"}, **changes)


def to_users(ids: Sequence[str]) -> notes.SendRequest:
    return notes.SendRequest(audience={"users": {"user_ids": ids}}, notification={"title": "T"})


def watch(live: Live, shop: Shop, message_id: str, cursor: str = "", shown: int = 0) -> Any:
    request = notes.WatchMessageRequest(message_id=message_id, after_cursor=cursor)
    request.result_filter = event_pb2.ResultFilter.ValueType(shown)
    return live.notifier.WatchMessage(request, metadata=shop.sender)


async def next_of(call: Any) -> SendEvent:
    event: SendEvent = (await anext(aiter(call))).event
    return event


async def events_of(call: Any) -> list[SendEvent]:
    return [each.event async for each in call]


def results(events: Sequence[SendEvent]) -> list[tuple[str, str, int]]:
    return [(each.user_id, each.device_id, each.outcome) for event in events for each in event.results.results]


def well_formed(events: Sequence[SendEvent]) -> bool:
    kinds = [event.WhichOneof("event") for event in events]
    return (kinds[0], kinds[-1]) == ("accepted", "summary") and not {"accepted", "summary"} & set(kinds[1:-1])


async def test_cut_after_every_event_and_gone_on_with_under_every_filter(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also as it is for a reader that comes back for each event anew."""
    monkeypatch.setattr("bellhop_server.app.watching.PAGE", 7)
    shop = await live.shop()
    await live.credential(shop)
    for number in range(20):
        request = reg.RegisterDeviceRequest(device_id=f"d{number}", user_id=f"u{number}")
        request.apns.token = f"{number + 1:064x}"
        await live.registry.RegisterDevice(request, metadata=shop.client)
    users = [f"u{number}" for number in range(40)]
    sent = await events_of(live.notifier.Send(to_users(users), metadata=shop.sender))
    message_id = sent[0].accepted.message_id
    whole = {shown: await events_of(watch(live, shop, message_id, shown=shown)) for shown in FILTERS}

    assert all(well_formed(events) for events in (sent, *whole.values()))
    assert sorted(user_id for user_id, *_ in results(sent)) == sorted(users)
    assert results(sent) == results(whole[FILTERS[0]])
    assert len(results(whole[FILTERS[1]])) == 20
    order = {result: place for place, result in enumerate(results(sent))}
    for before in FILTERS:
        for place, last in enumerate(whole[before]):
            first = whole[before][: place + 1]
            # Whatever a filter hid up to a cursor is as much behind it as what was shown.
            reached = place_of(last, whole[FILTERS[0]])
            for after in FILTERS:
                rest = await events_of(watch(live, shop, message_id, last.cursor, after))
                assert well_formed(rest)
                assert rest[0].cursor == last.cursor
                assert rest[-1] == sent[-1]
                assert results(rest) == [each for each in results(whole[after]) if order[each] >= reached]
                if before == after:
                    assert results(first) + results(rest) == results(whole[before])
    for shown in FILTERS:
        choppy, cursor = [], ""
        while not choppy or choppy[-1].WhichOneof("event") != "summary":
            call = watch(live, shop, message_id, cursor, shown)
            assert (await next_of(call)).cursor == cursor or not cursor
            choppy.append(await next_of(call))
            cursor = choppy[-1].cursor
            call.cancel()
        assert results(choppy) == results(whole[shown])


def place_of(event: SendEvent, whole: Sequence[SendEvent]) -> int:
    """How many results, shown or not, are up to the cursor of an event: the unfiltered stream has it too."""
    places: dict[str, int] = {}
    count = 0
    for each in whole:
        count += len(each.results.results)
        places[each.cursor] = count
    return places[event.cursor]


async def test_a_hundred_watch_one_message(live: Live) -> None:
    """While it is sent; some break off and go on, some take nothing for a while, and all are told the same."""
    shop = await live.shop()
    await live.credential(shop)
    for number in range(3):
        request = reg.RegisterDeviceRequest(device_id=f"d{number}", user_id=f"u{number}")
        request.apns.token = f"{number + 1:064x}"
        await live.registry.RegisterDevice(request, metadata=shop.client)
    live.provider.answers.clear()
    sender = live.notifier.Send(to_users(["u0", "u1", "u2", *GONE[:2000]]), metadata=shop.sender)
    message_id = (await next_of(sender)).accepted.message_id
    shown = [FILTERS[turn % 3] for turn in range(100)]

    async def steady(filter_: int) -> list[SendEvent]:
        return await events_of(watch(live, shop, message_id, shown=filter_))

    async def choppy(filter_: int) -> list[SendEvent]:
        seen: list[SendEvent] = []
        while not seen or not seen[-1].HasField("summary"):
            call = watch(live, shop, message_id, seen[-1].cursor if seen else "", filter_)
            accepted = await next_of(call)
            seen += [accepted] if not seen else []
            seen.append(await next_of(call))
            call.cancel()
        return seen

    stalled = [watch(live, shop, message_id) for _ in range(10)]
    for call in stalled:
        await next_of(call)
    readers = [asyncio.create_task((choppy if turn % 5 == 0 else steady)(each)) for turn, each in enumerate(shown)]
    live.provider.answers.set()
    sent = await events_of(sender)
    told_to = await asyncio.gather(*readers)

    everything = results(sent)
    assert len(everything) == 2003
    failures = [each for each in everything if each[1] == ""]
    for filter_, events in zip(shown, told_to, strict=True):
        assert well_formed(events)
        assert results(events) == {1: everything, 2: failures, 3: []}[filter_]
        assert events[-1] == sent[-1]
    for call in stalled:
        assert results(await events_of(call)) == everything


async def test_a_reader_that_takes_nothing_holds_up_nobody(tmp_path: Path, sqlite_url: str) -> None:
    async with ApnsSimulator() as apns:
        await gather_crowd(sqlite_url, MASTER_KEY, apns.key, 20_000)
    settings = settings_in(tmp_path, database_url=sqlite_url, master_key=base64.b64encode(MASTER_KEY).decode())
    shop = Shop(APP, "", APP_SECRET)
    async with live_server(settings) as live, grpc.aio.insecure_channel(live.server.address, options=NARROW) as narrow:
        sender = notifier_pb2_grpc.NotifierStub(narrow).Send(everyone(), metadata=shop.sender)
        first = await next_of(sender)

        fast = await events_of(watch(live, shop, first.accepted.message_id))

        assert sorted(name for _, name, _ in results(fast)) == [device_id(number) for number in range(20_000)]
        slow = [first, *await events_of(sender)]
        assert well_formed(slow)
        assert results(slow) == results(fast)
        assert slow[-1] == fast[-1]


async def test_readers_that_hang_up_amid_a_write_are_no_incident(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, metrics_listen=Address("127.0.0.1", 0))
    async with live_server(settings) as live:
        shop = await live.shop()
        sent = await events_of(live.notifier.Send(to_users(GONE), metadata=shop.sender))
        async with grpc.aio.insecure_channel(live.server.address, options=NARROW) as narrow:
            stub = notifier_pb2_grpc.NotifierStub(narrow)
            request = notes.WatchMessageRequest(message_id=sent[0].accepted.message_id)
            calls = [stub.WatchMessage(request, metadata=shop.sender) for _ in range(20)]
            for call in calls:
                await next_of(call)
        async with asyncio.timeout(20):
            await counted(live, 'bellhop_calls_total{code="CANCELLED",method="/bellhop.v1.Notifier/WatchMessage"} 20.0')


async def test_every_stream_ends_with_where_to_go_on_before_the_server_does(tmp_path: Path) -> None:
    """Send and WatchMessage, those that wait for something and those whose reader takes nothing until then."""
    settings = settings_in(tmp_path)
    async with live_server(settings) as live, grpc.aio.insecure_channel(live.server.address, options=NARROW) as narrow:
        shop = await live.shop()
        await live.credential(shop)
        device = reg.RegisterDeviceRequest(device_id="d1", user_id="anna", apns={"token": "ab"})
        await live.registry.RegisterDevice(device, metadata=shop.client)
        live.provider.answers.clear()
        stub = notifier_pb2_grpc.NotifierStub(narrow)
        slow_send = stub.Send(to_users(["anna", *GONE]), metadata=shop.sender)
        message_id = (await next_of(slow_send)).accepted.message_id
        request = notes.WatchMessageRequest(message_id=message_id)
        slow_watch = stub.WatchMessage(request, metadata=shop.sender)
        await next_of(slow_watch)
        quick = [watch(live, shop, message_id, shown=shown) for shown in FILTERS]
        seen: list[list[SendEvent]] = [[] for _ in quick]
        for call, events in zip(quick, seen, strict=True):
            events.append(await next_of(call))
        while len(results(seen[0])) < len(GONE):
            seen[0].append(await next_of(quick[0]))

        stopping = asyncio.create_task(live.stop())
        endings = [await story(call) for call in (*quick, slow_send, slow_watch)]
        live.provider.answers.set()
        await stopping

    rest_after: list[tuple[list[SendEvent], str]] = []
    for (more, ended), events in zip(endings, (*seen, [], []), strict=True):
        code, reason, where = told(ended)
        assert (code, reason, where["message_id"]) == (grpc.StatusCode.UNAVAILABLE, "STREAM_INTERRUPTED", message_id)
        got = [*events, *(each.event for each in more)]
        assert not any(event.HasField("summary") for event in got)
        rest_after.append((got, where["cursor"]))
    async with live_server(settings) as live:
        for got, cursor in (rest_after[0], *rest_after[3:]):
            upto = [event.cursor for event in got].index(cursor) + 1 if cursor in {e.cursor for e in got} else 0
            rest = await events_of(watch(live, shop, message_id, cursor))
            assert sorted(user for user, *_ in results(got[:upto]) + results(rest)) == sorted(["anna", *GONE])
            assert well_formed(rest)
