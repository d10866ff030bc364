"""Every fault of a script, as a client sees it on the wire."""

import json
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from bellhop_simulators import ApnsSimulator, FaultScriptError, ManualClock
from tests.unit.apns_wire import TOKEN, WireClient

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
    await client.push()
    await client.push(token="zz")
    await client.until(lambda: client.limit == 1000)


async def test_answer_and_acceptance_can_be_parted(client: WireClient) -> None:
    client.apns.faults.add({"status": 503, "accepted": True}, times=1)
    client.apns.faults.add({"no_answer": True, "accepted": False}, times=1)

    await client.push()
    client.send()
    await client.round_trip()

    assert [entry.accepted for entry in client.apns.journal.entries] == [True, True, False]


async def played(client: WireClient, when: dict[str, Any], heads: list[dict[str, Any]], **more: Any) -> list[int]:
    """The positions, from 1, of the requests that a fault met."""
    client.apns.faults.add({"status": 418}, when, **more)
    statuses = [(await client.push(**head)).status for head in heads]
    return [position for position, status in enumerate(statuses, 1) if status == 418]


@pytest.mark.parametrize(
    ("when", "times", "met"),
    [
        ({}, None, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({}, 3, [1, 2, 3]),
        ({"request": 4}, None, [4]),
        ({"request": [2, 9]}, None, [2, 9]),
        ({"connection_request": 4}, None, [3]),
        ({"after": 8}, None, [9, 10]),
        ({"every": 4}, None, [4, 8]),
        ({"every": 4, "after": 1}, 1, [5]),
        ({"share": 0.3}, None, [4, 7, 10]),
        ({"share": 0.6}, None, [2, 4, 5, 7, 9, 10]),
        ({"share": 0}, None, []),
        ({"share": 1}, None, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ],
)
async def test_which_requests_are_met(
    client: WireClient, when: dict[str, Any], times: int | None, met: list[int]
) -> None:
    assert await played(client, when, [{}] * 10, times=times) == met


@pytest.mark.parametrize(
    ("when", "met"),
    [
        ({"token": "CD" * 32}, [2]),
        ({"token": [TOKEN, "cd" * 32]}, [1, 2, 3]),
        ({"topic": "com.example.app.voip"}, [3]),
        ({"app": "com.example.app"}, [1, 2, 3]),
        ({"push_type": ["voip", "location"]}, [3]),
        ({"environment": "production"}, [1, 2, 3]),
        ({"environment": "sandbox"}, []),
        ({"connection": 1}, [1, 2, 3]),
        ({"connection": 2}, []),
        ({"token": TOKEN, "request": 2}, [3]),
        ({"key_id": "ABCDEFGHIJ"}, []),
    ],
)
async def test_whom_a_fault_meets(client: WireClient, when: dict[str, Any], met: list[int]) -> None:
    heads = [{}, {"token": "cd" * 32}, {"apns_push_type": "voip", "apns_topic": "com.example.app.voip"}]

    assert await played(client, when, heads) == met


async def test_a_fault_can_name_a_key(client: WireClient) -> None:
    assert await played(client, {"key_id": client.apns.key.key_id}, [{}]) == [1]


async def test_the_first_fault_that_is_due_is_played(client: WireClient) -> None:
    first = client.apns.faults.add({"status": 500}, times=1)
    second = client.apns.faults.add({"status": 503}, name="second")

    assert [(await client.push()).status for _ in range(2)] == [500, 503]
    assert (first.played, second.played) == (1, 1)
    assert [entry.fault for entry in client.apns.journal.entries] == ["", "status=500", "second"]
    client.apns.faults.remove(second)
    assert (await client.push()).status == 200
    client.apns.faults.add({"status": 500})
    client.apns.faults.clear()
    assert (await client.push()).status == 200


async def test_a_script_is_read_from_a_file(client: WireClient, tmp_path: Path) -> None:
    script = tmp_path / "faults.json"
    script.write_text(
        json.dumps({"faults": [{"name": "busy", "when": {"every": 2}, "times": 1, "then": {"status": 503}}]})
    )
    client.apns.faults.load(script)

    assert [(await client.push()).status for _ in range(4)] == [200, 503, 200, 200]


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ('{"fault": []}', "did you mean 'faults'"),
        ('{"faults": {}}', "faults: must be a list"),
        ('{"faults": [{}]}', r"faults\[0\].then: must be an object"),
        ('{"faults": [{"then": {}}]}', r"faults\[0\].then: says nothing"),
        ('{"faults": [{"then": {"statsu": 1}}]}', r"then: unknown key 'statsu'; did you mean 'status'"),
        ('{"faults": [{"then": {"status": 99}}]}', r"then.status: must be a number from 200"),
        ('{"faults": [{"then": {"status": true}}]}', r"then.status"),
        ('{"faults": [{"then": {"delay": -1}}]}', r"then.delay: must be a number of seconds"),
        ('{"faults": [{"then": {"age": true}}]}', r"then.age"),
        ('{"faults": [{"then": {"headers": {"a": 1}}}]}', r"then.headers"),
        ('{"faults": [{"then": {"reset_stream": "OOPS"}}]}', r"then.reset_stream"),
        ('{"faults": [{"then": {"reset_stream": []}}]}', r"then.reset_stream"),
        ('{"faults": [{"then": {"connection": []}}]}', r"then.connection"),
        ('{"faults": [{"then": {"goaway": {"last": 1}}}]}', r"then.goaway: unknown key 'last'"),
        ('{"faults": [{"then": {"goaway": {"last_stream": "some"}}}]}', r"goaway.last_stream"),
        ('{"faults": [{"then": {"status": 500}, "times": 0}]}', r"times: must be"),
        ('{"faults": [{"then": {"status": 500}, "name": 1}]}', r"name: must be"),
        ('{"faults": [{"then": {"status": 500}, "when": {"every": 0}}]}', r"when.every"),
        ('{"faults": [{"then": {"status": 500}, "when": {"share": 2}}]}', r"when.share"),
        ('{"faults": [{"then": {"status": 500}, "when": {"environment": "test"}}]}', r"when.environment"),
        ('{"faults": [{"then": {"status": 500}, "when": {"tokens": "ab"}}]}', r"did you mean 'token'"),
    ],
)
async def test_a_wrong_script_is_refused_with_its_place(
    apns: ApnsSimulator, tmp_path: Path, script: str, complaint: str
) -> None:
    path = tmp_path / "faults.json"
    path.write_text(script)

    with pytest.raises(FaultScriptError, match=complaint):
        apns.faults.load(path)
    assert len(apns.faults) == 0


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
