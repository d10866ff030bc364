"""Fault scripts: which requests they meet, and how mistakes in them are told."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bellhop_simulators import ApnsSimulator, FaultScriptError
from tests.unit.apns_wire import TOKEN, WireClient


@pytest.fixture
async def apns() -> AsyncIterator[ApnsSimulator]:
    async with ApnsSimulator() as simulator:
        yield simulator


@pytest.fixture
async def client(apns: ApnsSimulator) -> AsyncIterator[WireClient]:
    """A client whose connection is past its first request."""
    async with await WireClient.connect(apns) as connected:
        assert (await connected.push()).status == 200
        await connected.round_trip()
        yield connected


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
        *(
            (
                json.dumps({"faults": [{"then": {"headers": {name: value}}}]}),
                r"then.headers: must be an object of header",
            )
            for name, value in [
                ("", "x"),
                ("a b", "x"),
                (":status", "200"),
                ("a\nb", "x"),
                ("é", "x"),
                ("a", "x\r\ny: z"),
                ("a", "x\0"),
                ("a", " x"),
                ("a", "x\t"),
                ("a", "\x7f"),
                ("a", "\ud800"),
            ]
        ),
        ('{"faults": [{"then": {"retry_after": "5\\n"}}]}', r"then.retry_after"),
        ('{"faults": [{"then": {"body": "\\ud800"}}]}', r"then.body"),
        ('{"faults": [{"then": {"initial_window": 2147483648}}]}', r"then.initial_window"),
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
