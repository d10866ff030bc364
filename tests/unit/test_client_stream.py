"""A send whose stream is cut anywhere brings every event exactly once."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from bellhop_client import (
    BellhopError,
    Client,
    ConflictError,
    ExhaustedError,
    InternalError,
    NotFoundError,
    Notification,
    RetryPolicy,
    SendStream,
    UnavailableError,
    to_users,
)
from bellhop_client.retry import is_interruption
from tests.unit.scripted_server import (
    MESSAGE,
    UNAVAILABLE,
    Refusal,
    ScriptedNotifier,
    ScriptedServer,
    error_info,
    scripted_server,
)

NO_DELAY = RetryPolicy(initial_delay=0.0, opening_attempts=3, resuming_attempts=3)
DINNER = Notification(title="Dinner")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as scripted:
        yield scripted


@pytest.fixture
def notifier(server: ScriptedServer) -> ScriptedNotifier:
    return server.notifier


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[Client]:
    async with Client(server.address, app_id="shop", app_secret="bha_1", retry_policy=NO_DELAY) as client:
        yield client


def send(client: Client) -> SendStream:
    return client.send(audience=to_users("anna"), notification=DINNER)


async def test_an_undisturbed_send_brings_its_events_in_order(client: Client, notifier: ScriptedNotifier) -> None:
    stream = send(client)

    assert [event async for event in stream] == MESSAGE
    assert (stream.message_id, stream.cursor, stream.summary) == ("m1", "c4", MESSAGE[-1].summary)
    assert notifier.watches == []


ENDS = {
    "unavailable": UNAVAILABLE,
    "deadline": Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "too long"),
    "transport": Refusal(grpc.StatusCode.INTERNAL, "RST_STREAM"),
    "proxy": Refusal(grpc.StatusCode.CANCELLED, "upstream reset"),
    "silent": None,
}


@pytest.mark.promise("P10")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("after", range(len(MESSAGE)))
async def test_a_cut_after_any_event_loses_none_and_repeats_none(
    client: Client, notifier: ScriptedNotifier, after: int, end: str
) -> None:
    notifier.cuts = [(after, ENDS[end])]

    assert [event async for event in send(client)] == MESSAGE


@pytest.mark.promise("P10")
async def test_a_cut_after_every_single_event_loses_none_and_repeats_none(
    client: Client, notifier: ScriptedNotifier
) -> None:
    # Each stream after the first begins with `accepted` again, so that two events are one step forward.
    notifier.cuts = [
        (0, UNAVAILABLE),
        (1, UNAVAILABLE),
        (2, UNAVAILABLE),
        (1, None),
        (2, UNAVAILABLE),
        (2, UNAVAILABLE),
    ]

    assert [event async for event in send(client)] == MESSAGE
    assert [watch.after_cursor for watch in notifier.watches] == ["c0", "c1", "c1", "c2", "c3"]
    assert {watch.message_id for watch in notifier.watches} == {"m1"}


async def test_a_status_after_the_summary_changes_nothing(client: Client, notifier: ScriptedNotifier) -> None:
    notifier.cuts = [(len(MESSAGE), UNAVAILABLE)]

    assert [event async for event in send(client)] == MESSAGE
    assert notifier.watches == []


@pytest.mark.promise("P8")
async def test_an_opening_is_repeated_with_the_same_made_up_request_id(
    client: Client, notifier: ScriptedNotifier
) -> None:
    notifier.cuts = [(0, UNAVAILABLE), (0, UNAVAILABLE)]

    assert [event async for event in send(client)] == MESSAGE
    assert len(notifier.sends) == 3
    assert notifier.sends[0].request_id
    assert notifier.sends[0] == notifier.sends[1] == notifier.sends[2]


async def test_two_sends_have_different_request_ids(client: Client, notifier: ScriptedNotifier) -> None:
    await send(client).results()
    await send(client).results()

    assert notifier.sends[0].request_id != notifier.sends[1].request_id


async def test_an_id_of_the_caller_is_kept(client: Client, notifier: ScriptedNotifier) -> None:
    await client.send(audience=to_users("anna"), notification=DINNER, request_id="order-17").results()
    await client.send(audience=to_users("anna"), notification=DINNER, message_id="m1").results()

    assert [(each.request_id, each.message_id) for each in notifier.sends] == [("order-17", ""), ("", "m1")]


async def test_opening_gives_up_after_its_attempts(client: Client, notifier: ScriptedNotifier) -> None:
    notifier.cuts = [(0, UNAVAILABLE)] * 9

    with pytest.raises(UnavailableError) as caught:
        await send(client).results()
    assert caught.value.reason == "STREAM_INTERRUPTED"
    assert len(notifier.sends) == NO_DELAY.opening_attempts


async def test_resuming_gives_up_when_nothing_new_comes(client: Client, notifier: ScriptedNotifier) -> None:
    notifier.cuts = [(2, UNAVAILABLE)] + [(1, None)] * 9

    stream = send(client)
    with pytest.raises(UnavailableError):
        await stream.results()
    assert (stream.message_id, stream.cursor) == ("m1", "c1")
    assert len(notifier.watches) == NO_DELAY.resuming_attempts - 1


@pytest.mark.parametrize("events_before", [0, 2])
async def test_a_refusal_is_raised_at_once(client: Client, notifier: ScriptedNotifier, events_before: int) -> None:
    notifier.cuts = [(events_before, Refusal(grpc.StatusCode.ALREADY_EXISTS, "taken", error_info("REQUEST_ID_REUSED")))]

    with pytest.raises(ConflictError) as caught:
        await send(client).results()
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert (len(notifier.sends), len(notifier.watches)) == (1, 0)


async def test_a_fault_of_the_server_is_not_taken_for_a_cut(client: Client, notifier: ScriptedNotifier) -> None:
    notifier.cuts = [(1, Refusal(grpc.StatusCode.INTERNAL, "sorry", error_info("INTERNAL_ERROR", incident_id="7f")))]

    with pytest.raises(InternalError) as caught:
        await send(client).results()
    assert caught.value.metadata == {"incident_id": "7f"}


async def test_a_refused_resumption_is_raised(client: Client, notifier: ScriptedNotifier) -> None:
    notifier.cuts = [(1, None), (0, Refusal(grpc.StatusCode.NOT_FOUND, "gone", error_info("MESSAGE_NOT_FOUND")))]

    with pytest.raises(NotFoundError):
        await send(client).results()


async def test_a_full_server_is_waited_for_once_it_has_the_message(client: Client, notifier: ScriptedNotifier) -> None:
    full = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", error_info("OVERLOADED"))
    notifier.cuts = [(2, UNAVAILABLE), (0, full)]

    assert [event async for event in send(client)] == MESSAGE

    notifier.cuts = [(0, full)]
    with pytest.raises(ExhaustedError):
        await send(client).results()


async def test_accept_only_ends_after_accepted(client: Client, notifier: ScriptedNotifier) -> None:
    notifier.cuts = [(1, UNAVAILABLE)]
    stream = client.send(audience=to_users("anna"), notification=DINNER, accept_only=True)

    assert [event async for event in stream] == MESSAGE[:1]
    assert notifier.watches == []


async def test_validate_only_is_repeated_until_it_is_answered(client: Client, notifier: ScriptedNotifier) -> None:
    notifier.cuts = [(0, UNAVAILABLE), (1, UNAVAILABLE)]
    stream = client.send(audience=to_users("anna"), notification=DINNER, validate_only=True)

    [event] = [event async for event in stream]
    assert event.validated.counts.device_count == 3
    assert stream.validated == event.validated
    assert (len(notifier.sends), stream.message_id, stream.cursor) == (2, "", "")


@pytest.mark.promise("P10")
async def test_watch_brings_accepted_once_and_goes_on_from_the_cursor(
    client: Client, notifier: ScriptedNotifier
) -> None:
    notifier.cuts = [(2, UNAVAILABLE), (1, UNAVAILABLE)]

    events = [event async for event in client.watch("m1", after_cursor="c1")]
    assert [event.cursor for event in events] == ["c1", "c2", "c3", "c4"]
    assert [watch.after_cursor for watch in notifier.watches] == ["c1", "c2", "c2"]


async def test_results_gathers_those_of_all_streams(client: Client, notifier: ScriptedNotifier) -> None:
    notifier.cuts = [(2, UNAVAILABLE)]

    assert [result.device_id for result in await send(client).results()] == ["d1", "d2", "d3"]


async def test_hanging_up_ends_the_call(client: Client, notifier: ScriptedNotifier) -> None:
    notifier.stall_after = 1

    async with send(client) as stream:
        assert (await anext(stream)).HasField("accepted")
    assert await asyncio.to_thread(notifier.hung_up.wait, 5)
    await stream.aclose()
    assert notifier.watches == []


async def test_cancelling_the_reader_ends_the_call_and_is_not_swallowed(
    client: Client, notifier: ScriptedNotifier
) -> None:
    notifier.stall_after = 1
    stream = send(client)
    await anext(stream)
    reader = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    reader.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await asyncio.to_thread(notifier.hung_up.wait, 5)
    assert notifier.watches == []


async def test_a_stream_that_has_ended_stays_ended(client: Client, notifier: ScriptedNotifier) -> None:
    stream = send(client)
    await stream.results()

    assert await stream.results() == []
    assert len(notifier.sends) == 1


async def test_the_delay_that_the_server_asks_for_is_kept(server: ScriptedServer, notifier: ScriptedNotifier) -> None:
    asked: list[float | None] = []

    class Recording(RetryPolicy):
        def delay(self, failures: int, retry_after: float | None) -> float:
            asked.append(retry_after)
            return 0.0

    wait = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000))
    notifier.cuts = [
        (0, Refusal(grpc.StatusCode.UNAVAILABLE, "busy", error_info("SERVICE_UNAVAILABLE"), wait)),
        (1, None),
    ]
    async with Client(server.address, app_id="shop", app_secret="bha_1", retry_policy=Recording()) as client:
        assert [event async for event in send(client)] == MESSAGE
    assert asked == [2.5, None]


def test_delays_double_up_to_the_longest_and_are_spread() -> None:
    policy = RetryPolicy(initial_delay=0.2, maximum_delay=1.0)
    for failures, longest in [(1, 0.2), (2, 0.4), (3, 0.8), (4, 1.0), (10_000, 1.0)]:
        delays = {policy.delay(failures, None) for _ in range(50)}
        assert longest / 2 <= min(delays) < max(delays) <= longest
    assert policy.delay(1, 7.5) == 7.5


def test_only_what_the_transport_made_up_counts_as_a_cut() -> None:
    interruptions = {code for code in grpc.StatusCode if is_interruption(BellhopError(code, ""), accepted=True)}
    assert interruptions == {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
    }
    assert not is_interruption(BellhopError(grpc.StatusCode.INTERNAL, "", reason="INTERNAL_ERROR"), accepted=True)
