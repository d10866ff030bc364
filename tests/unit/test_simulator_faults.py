"""Every fault of a script, as a client sees it on the wire."""

import json
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hyperframe.frame import SettingsFrame

from bellhop_simulators import ApnsSimulator, ManualClock
from tests.unit.apns_wire import WireClient

LAST = 2**31 - 1
NOW = 1_800_000_000.0


@pytest.fixture
async def apns() -> AsyncIterator[ApnsSimulator]:
    async with ApnsSimulator(clock=ManualClock(NOW)) as simulator:
        yield simulator


@pytest.fixture
async def client(apns: ApnsSimulator) -> AsyncIterator[WireClient]:
    """A client whose connection is past its first request."""
    async with await WireClient.connect(apns) as connected:
        assert (await connected.push()).status == 200
        await connected.round_trip()
        yield connected


@pytest.mark.parametrize(
    ("then", "status", "body"),
    [
        ({"status": 400}, 400, {"reason": "BadDeviceToken"}),
        ({"status": 400, "reason": "DeviceTokenNotForTopic"}, 400, {"reason": "DeviceTokenNotForTopic"}),
        ({"status": 403, "reason": "ExpiredProviderToken"}, 403, {"reason": "ExpiredProviderToken"}),
        ({"status": 410}, 410, {"reason": "Unregistered", "timestamp": 1_800_000_000_000}),
        ({"status": 410, "age": 60}, 410, {"reason": "Unregistered", "timestamp": 1_799_999_940_000}),
        ({"status": 410, "age": -60}, 410, {"reason": "Unregistered", "timestamp": 1_800_000_060_000}),
        ({"status": 410, "timestamp": 7}, 410, {"reason": "Unregistered", "timestamp": 7}),
        ({"status": 429}, 429, {"reason": "TooManyRequests"}),
        ({"status": 500}, 500, {"reason": "InternalServerError"}),
        ({"status": 503, "reason": "Shutdown"}, 503, {"reason": "Shutdown"}),
        ({"status": 418, "reason": "Teapot"}, 418, {"reason": "Teapot"}),
    ],
)
async def test_scripted_answers(client: WireClient, then: dict[str, Any], status: int, body: dict[str, Any]) -> None:
    client.apns.faults.add(then, times=1)

    reply = await client.push()

    assert (reply.status, reply.error) == (status, body)
    entry = client.apns.journal.entries[-1]
    assert (entry.status, entry.reason, entry.accepted) == (status, body["reason"], False)
    assert (await client.push()).status == 200


async def test_retry_after_comes_in_both_forms_and_as_text(client: WireClient) -> None:
    faults = client.apns.faults
    faults.add({"status": 429, "retry_after": 30}, times=1)
    faults.add({"status": 503, "retry_after_date": 90}, times=1)
    faults.add({"status": 503, "retry_after": "soon"}, times=1)

    assert (await client.push()).headers["retry-after"] == "30"
    assert parsedate_to_datetime((await client.push()).headers["retry-after"]).timestamp() == NOW + 90
    assert (await client.push()).headers["retry-after"] == "soon"


async def test_headers_and_bodies_that_are_no_json(client: WireClient) -> None:
    faults = client.apns.faults
    faults.add({"status": 502, "body": "<html>bad gateway</html>", "headers": {"Content-Type": "text/html"}}, times=1)
    faults.add({"status": 503, "body": ""}, times=1)
    faults.add({"status": 200, "body": "hello"}, times=1)

    reply = await client.push()
    assert (reply.status, reply.body, reply.headers["content-type"]) == (502, b"<html>bad gateway</html>", "text/html")
    reply = await client.push()
    assert (reply.status, reply.body, reply.data_frames) == (503, b"", 0)
    reply = await client.push()
    assert (reply.status, reply.body) == (200, b"hello")


async def test_a_body_falls_into_many_frames(client: WireClient) -> None:
    client.apns.faults.add({"status": 400, "fragment": 5})

    reply = await client.push()

    assert reply.error == {"reason": "BadDeviceToken"}
    assert reply.data_frames == -(-len(reply.body) // 5)


async def test_an_answer_is_delayed_while_others_go(client: WireClient) -> None:
    client.apns.faults.add({"delay": 0.05}, times=1)

    slow, quick = client.send(), client.send()

    await client.answer(quick)
    assert not client.replies[slow].ended
    assert (await client.answer(slow)).status == 200


async def test_slow_headers_hold_up_the_connection(client: WireClient) -> None:
    client.apns.faults.add({"status": 400, "slow_headers": 0.05}, times=1)

    slow, later = client.send(), client.send()

    await client.answer(later)
    assert client.replies[slow].error == {"reason": "BadDeviceToken"}


async def test_no_answer(client: WireClient) -> None:
    client.apns.faults.add({"no_answer": True}, times=1)

    silent = client.send()

    assert (await client.push()).status == 200
    await client.round_trip()
    assert client.replies[silent].status is None
    entry = client.apns.journal.find(stream=silent)[0]
    assert (entry.accepted, entry.status, entry.reason) == (True, None, "NO_ANSWER")


@pytest.mark.parametrize(
    ("code", "number", "accepted"),
    [("REFUSED_STREAM", 7, False), ("INTERNAL_ERROR", 2, True), (8, 8, True), ("NO_ERROR", 0, True)],
)
async def test_a_stream_is_reset(client: WireClient, code: object, number: int, accepted: bool) -> None:
    client.apns.faults.add({"reset_stream": code}, times=1)

    reply = await client.push()

    assert (reply.status, reply.reset) == (None, number)
    entry = client.apns.journal.entries[-1]
    assert (entry.accepted, entry.status, entry.reason) == (accepted, None, "RST_STREAM")
    assert (await client.push()).status == 200


@pytest.mark.parametrize(
    ("how", "seen", "reason"), [("reset", "reset", "CONNECTION_RESET"), ("close", "closed", "CONNECTION_CLOSED")]
)
async def test_a_connection_ends_after_the_request_was_read(
    client: WireClient, how: str, seen: str, reason: str
) -> None:
    client.apns.faults.add({"connection": how}, times=1)

    client.send()

    assert await client.ended() == seen
    assert client.goaways == []
    entry = client.apns.journal.entries[-1]
    assert (entry.accepted, entry.status, entry.reason) == (True, None, reason)


async def test_a_goaway_covers_its_request_and_answers_what_is_in_flight(client: WireClient) -> None:
    faults = client.apns.faults
    faults.add({"delay": 0.05}, times=2)
    faults.add({"goaway": {"reason": "Shutdown"}}, {"request": 3})

    streams = [client.send() for _ in range(5)]
    assert await client.ended() == "closed"

    assert [client.replies[stream].status for stream in streams] == [200, 200, 200, None, None]
    assert [(goaway.last_stream_id, goaway.error_code) for goaway in client.goaways] == [(streams[2], 0)]
    assert json.loads(client.goaways[0].additional_data) == {"reason": "Shutdown", "timestamp": int(NOW * 1000)}
    assert [entry.accepted for entry in client.apns.journal.entries] == [True] * 4 + [False] * 2
    assert client.apns.journal.by_reason == {"GOAWAY": 2}


async def test_a_goaway_may_leave_its_request_out(client: WireClient) -> None:
    client.apns.faults.add({"goaway": {"last_stream": "before", "code": "ENHANCE_YOUR_CALM", "debug": "calm"}})

    stream = client.send()
    assert await client.ended() == "closed"

    goaway = client.goaways[0]
    assert (goaway.last_stream_id, goaway.error_code, goaway.additional_data) == (stream - 2, 11, b"calm")
    entry = client.apns.journal.entries[-1]
    assert (entry.accepted, entry.status, entry.reason) == (False, None, "GOAWAY")


async def test_a_goaway_with_any_number_drops_what_it_does_not_cover(client: WireClient) -> None:
    faults = client.apns.faults
    faults.add({"delay": 0.05}, times=4)
    streams = [client.send() for _ in range(5)]
    faults.add({"goaway": {"last_stream": streams[1]}})

    assert await client.ended() == "closed"

    assert [client.replies[stream].status for stream in streams] == [200, 200, None, None, None]
    assert client.goaways[0].last_stream_id == streams[1]


async def test_a_graceful_goaway_takes_requests_until_it_names_the_last(client: WireClient) -> None:
    client.apns.faults.add({"goaway": {"last_stream": "all"}}, times=1)

    assert (await client.push()).status == 200
    assert (await client.push()).status == 200
    assert await client.ended() == "closed"

    assert [goaway.last_stream_id for goaway in client.goaways] == [LAST, 5]
    assert [goaway.additional_data for goaway in client.goaways] == [b"", b""]


async def test_a_connection_may_linger_after_goaway(client: WireClient) -> None:
    client.apns.faults.add({"goaway": {"then": "linger"}}, times=1)

    assert (await client.push()).status == 200
    client.send()
    await client.round_trip()

    assert client.eof == ""
    assert client.apns.journal.entries[-1].reason == "GOAWAY"


async def test_a_scripted_limit_holds_until_it_is_restored(client: WireClient) -> None:
    client.apns.faults.add({"max_concurrent_streams": 3, "restore_after": 0.05}, times=1)

    await client.push()
    assert client.limit == 3
    await client.push(token="zz")
    await client.push()
    assert client.limit == 3
    await client.until(lambda: client.limit == 1000)


async def test_the_limit_that_comes_back_is_the_one_that_holds_by_then(client: WireClient) -> None:
    client.apns.faults.add({"max_concurrent_streams": 3, "restore_after": 0.05}, times=1)

    await client.push()
    await client.push(token="zz")
    assert client.limit == 3
    await client.until(lambda: client.limit == 1)


async def test_an_older_fault_does_not_lift_the_limit_of_a_younger(client: WireClient) -> None:
    client.apns.faults.add({"max_concurrent_streams": 3, "restore_after": 0.02}, times=1)
    client.apns.faults.add({"max_concurrent_streams": 2}, times=1)

    await client.push()
    await client.push()
    assert client.limit == 2
    # Past the first one's time, which a faulty answer's delay waits out.
    client.apns.faults.add({"delay": 0.05}, times=1)
    await client.push()
    await client.round_trip()
    assert client.limit == 2


async def test_a_small_window_is_announced_and_acknowledged(client: WireClient) -> None:
    client.apns.faults.add({"initial_window": 10}, times=1)

    await client.push()
    await client.round_trip()
    frames = [frame for frame in client.frames if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags]
    assert frames[-1].settings == {4: 10}
    # Its acknowledgement is not taken for one of a limit.
    streams = [client.send() for _ in range(3)]
    assert [(await client.answer(stream)).status for stream in streams] == [200] * 3


async def test_answer_and_acceptance_can_be_parted(client: WireClient) -> None:
    client.apns.faults.add({"status": 503, "accepted": True}, times=1)
    client.apns.faults.add({"no_answer": True, "accepted": False}, times=1)

    await client.push()
    client.send()
    await client.round_trip()

    assert [entry.accepted for entry in client.apns.journal.entries] == [True, True, False]


async def test_every_connection_can_be_ended_from_outside(apns: ApnsSimulator) -> None:
    for end, seen, last in (
        (lambda: apns.goaway(), "closed", [1]),
        (lambda: apns.goaway(graceful=True), "closed", [LAST, 1]),
        (lambda: apns.disconnect(), "closed", []),
        (lambda: apns.disconnect(reset=True), "reset", []),
    ):
        async with await WireClient.connect(apns) as client:
            await client.push()
            end()
            assert await client.ended() == seen
            assert [goaway.last_stream_id for goaway in client.goaways] == last
