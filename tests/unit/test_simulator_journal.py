"""The journal of the simulators: its lines, its counters, waiting for requests."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bellhop_simulators import ApnsSimulator, Journal, ManualClock
from tests.unit.apns_wire import TOKEN, WireClient

NOW = 1_800_000_000.0


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_line_tells_the_whole_request(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        async with (
            ApnsSimulator(clock=ManualClock(NOW), journal=journal) as apns,
            await WireClient.connect(apns, sandbox=True) as client,
        ):
            reply = await client.push('{"aps":{"alert":"жук\\n"}}'.encode(), token=TOKEN.upper(), apns_collapse_id="ж")

            assert lines(path) == [
                {
                    "number": 1,
                    "time": NOW,
                    "provider": "apns",
                    "environment": "sandbox",
                    "project": None,
                    "persona": None,
                    "http": "HTTP/2",
                    "connection": 1,
                    "stream": 1,
                    "method": "POST",
                    "path": f"/3/device/{TOKEN.upper()}",
                    "headers": {
                        "authorization": f"bearer {client.provider_token}",
                        "apns-topic": "com.example.app",
                        "apns-push-type": "alert",
                        "apns-collapse-id": "ж",
                    },
                    "body": {"aps": {"alert": "жук\n"}},
                    "token": TOKEN,
                    "topic": "com.example.app",
                    "message_id": reply.headers["apns-id"],
                    "apns_id": reply.headers["apns-id"],
                    "decrypted": None,
                    "undecryptable": None,
                    "accepted": True,
                    "status": 200,
                    "reason": "",
                    "fault": "",
                }
            ]
    assert path.stat().st_mode & 0o077 == 0, "it holds tokens"


async def test_a_line_is_there_before_the_answer_and_without_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        async with ApnsSimulator(journal=journal) as apns, await WireClient.connect(apns) as client:
            for number in range(1, 4):
                await client.push()
                assert len(lines(path)) == number
            apns.faults.add({"connection": "reset"})
            client.send()
            assert await client.ended() == "reset"
            assert len(lines(path)) == 4
    with Journal(path) as journal:
        async with ApnsSimulator(journal=journal) as apns, await WireClient.connect(apns) as client:
            await client.push()
    assert [line["number"] for line in lines(path)] == [1, 2, 3, 4, 1], "it is appended to"


@pytest.mark.parametrize(
    ("body", "key", "told"),
    [
        (b"{", "body_text", "{"),
        (b'{"a":\xff}', "body_base64", "eyJhIjr/fQ=="),
        (b'{"a":NaN}', "body_text", '{"a":NaN}'),
        (b'"text"', "body", "text"),
        (b'{"a":"\\ud800\\u0000"}', "body", {"a": "\ud800\0"}),
        (b'{\n"a":1\n}', "body", {"a": 1}),
        (b"[" * 50_000, "body_text", "[" * 50_000),
        (b"", "body_text", ""),
    ],
)
async def test_any_body_makes_one_line(tmp_path: Path, body: bytes, key: str, told: object) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        async with ApnsSimulator(journal=journal) as apns, await WireClient.connect(apns) as client:
            await client.push(body)

    assert [line[key] for line in lines(path)] == [told]


async def test_counters_and_queries() -> None:
    async with ApnsSimulator() as apns, await WireClient.connect(apns) as client:
        await client.push()
        await client.push(token="zz")
        await client.push(token="cd" * 32)

        journal = apns.journal
        assert (journal.total, journal.accepted) == (3, 2)
        assert (journal.by_status, journal.by_reason) == ({200: 2, 400: 1}, {"BadDeviceToken": 1})
        assert [entry.number for entry in journal.find(status=200)] == [1, 3]
        assert [entry.number for entry in journal.find(token="cd" * 32, accepted=True)] == [3]
        assert journal.find(body={"aps": {"alert": "hi"}}, connection=1) == list(journal.entries)
        assert journal.find(provider="fcm") == []


async def test_old_entries_go_and_the_counters_stay() -> None:
    async with ApnsSimulator(journal=Journal(keep=2)) as apns, await WireClient.connect(apns) as client:
        for _ in range(5):
            await client.push()

        assert [entry.number for entry in apns.journal.entries] == [4, 5]
        assert apns.journal.total == 5


async def test_requests_can_be_waited_for() -> None:
    async with ApnsSimulator() as apns, await WireClient.connect(apns) as client:
        await client.push()
        assert len(await apns.journal.wait_for()) == 1

        waiting = asyncio.create_task(apns.journal.wait_for(3, status=200))
        await client.push(token="zz")
        await client.push()
        assert not waiting.done()
        await client.push()
        assert [entry.number for entry in await waiting] == [1, 3, 4]

        with pytest.raises(TimeoutError, match=r"3 of 4 requests like \{'status': 200\}"):
            await apns.journal.wait_for(4, timeout=0.01, status=200)
