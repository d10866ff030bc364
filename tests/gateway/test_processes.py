"""`bellhop serve --gateway` and `bellhop gateway` as processes: a stream that goes on, and an end that is clean."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from bellhop_simulators import ApnsSimulator
from tests.system.live_server import ADMIN_TOKEN, TOKEN

AS_ADMIN = {"authorization": f"Bearer {ADMIN_TOKEN}"}
TOPIC = "com.example.shop"
EVENTS = {"accept": "text/event-stream"}


@asynccontextmanager
async def bellhop(folder: Path, *arguments: str, **settings: str) -> AsyncIterator[tuple[Process, str]]:
    """A command, and the URL of its gateway. It is told to stop in the end, and has to do so well."""
    others = {key: value for key, value in os.environ.items() if not key.startswith("BELLHOP_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bellhop_cli.main", *arguments),
        cwd=folder,
        env=others | {f"BELLHOP_{name.upper()}": value for name, value in settings.items()},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=None if "gateway" in arguments else DEVNULL,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(await process.stdout.readline())["gateway_url"]
        if process.returncode is None:
            process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def served(folder: Path, apns: ApnsSimulator, listen: str = "127.0.0.1:0") -> dict[str, str]:
    """Settings of a server."""
    return {
        "listen": listen,
        "gateway_listen": "127.0.0.1:0",
        "database_url": f"sqlite:///{folder / 'bellhop.db'}",
        "admin_token": ADMIN_TOKEN,
        "apns_url": apns.url,
        "provider_ca": str(apns.ca_file),
    }


async def ready(client: httpx.AsyncClient, apns: ApnsSimulator) -> dict[str, str]:
    """An application with ann's phone; the headers of its back end."""
    wanted = {"appId": "shop", "displayName": "Shop"}
    made = (await client.post("/v1/applications", json=wanted, headers=AS_ADMIN)).json()
    key = {"keyId": apns.key.key_id, "teamId": apns.key.team_id, "p8": apns.key.p8}
    body = {"apns": {"key": key, "topics": [TOPIC]}}
    assert (await client.put("/v1/applications/shop/credentials", json=body, headers=AS_ADMIN)).status_code == 200
    headers = {"app-id": "shop", "app-secret": made["appSecret"]}
    phone = {"userId": "ann", "apns": {"token": TOKEN}}
    assert (await client.put("/v1/devices/phone", json=phone, headers=headers)).status_code == 200
    return headers


async def events(lines: AsyncIterator[str], last: str) -> list[dict[str, str]]:
    """Up to the first one of that name."""
    found: list[dict[str, str]] = [{}]
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            found[-1][name] = value
        elif found[-1].get("event") == last:
            return found
        else:
            found.append({})
    raise AssertionError(f"no {last} in {found}")


@pytest.fixture
async def apns() -> AsyncIterator[ApnsSimulator]:
    async with ApnsSimulator(topics=[TOPIC]) as simulator:
        yield simulator


async def test_a_stream_that_a_restart_breaks_goes_on_after_the_last_event(tmp_path: Path, apns: ApnsSimulator) -> None:
    # It goes out after the restart, or the stream would be over before.
    at = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    send = {
        "audience": {"users": {"userIds": ["ann"]}},
        "notification": {"title": "Hello"},
        "messageId": "m1",
        "options": {"scheduleTime": at},
    }
    async with (
        bellhop(tmp_path, "serve", "--gateway", **served(tmp_path, apns)) as (process, url),
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        headers = await ready(client, apns)
        async with client.stream("POST", "/v1/messages", json=send, headers=headers | EVENTS) as answer:
            lines = answer.aiter_lines()
            (accepted,) = await events(lines, "accepted")
            process.terminate()
            broken = (await events(lines, "error"))[-1]
    told = json.loads(broken["data"])["error"]["details"][0]
    assert told["reason"] == "ERROR_REASON_STREAM_INTERRUPTED"
    assert told["metadata"] == {"message_id": "m1", "cursor": accepted["id"]}
    async with (
        bellhop(tmp_path, "serve", "--gateway", **served(tmp_path, apns)) as (_, url),
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        again = headers | EVENTS | {"last-event-id": accepted["id"]}
        async with client.stream("GET", "/v1/messages/m1/events", headers=again) as answer:
            rest = await events(answer.aiter_lines(), "summary")
    counts = json.loads(rest[-1]["data"])["event"]["summary"]["counts"]
    assert (counts["finishedCount"], counts["outcomes"][0]["outcome"]) == (1, "OUTCOME_ACCEPTED")
    assert len(apns.journal.find(token=TOKEN, status=200)) == 1


async def test_a_gateway_of_its_own_outlives_its_server(
    tmp_path: Path, apns: ApnsSimulator, unused_tcp_port: int
) -> None:
    address = f"127.0.0.1:{unused_tcp_port}"
    async with (
        bellhop(tmp_path, "serve", "--gateway", **served(tmp_path, apns, address)) as (process, beside),
        bellhop(tmp_path, "gateway", server=address, gateway_listen="127.0.0.1:0") as (_, alone),
        httpx.AsyncClient() as client,
    ):
        for url in (beside, alone):
            assert (await client.get(f"{url}/ready")).status_code == 200
        client.base_url = alone
        headers = await ready(client, apns)
        assert (await client.get("/v1/devices/phone", headers=headers)).json()["device"]["userId"] == "ann"
        process.terminate()
        await process.wait()
        assert [(await client.get(path)).status_code for path in ("/health", "/ready")] == [200, 503]
        gone = await client.get("/v1/devices/phone", headers=headers | {"request-timeout": "5"})
        assert (gone.status_code, gone.json()["error"]["status"]) == (503, "UNAVAILABLE")


async def test_an_address_that_is_taken_is_told_in_a_line(tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    address = f"127.0.0.1:{taken.sockets[0].getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bellhop_cli.main", "gateway"),
        env=os.environ | {"BELLHOP_GATEWAY_LISTEN": address},
        cwd=tmp_path,
        stdout=PIPE,
        stderr=PIPE,
    )
    out, said = await process.communicate()
    taken.close()
    assert (process.returncode, out) == (2, b"")
    assert said.decode().splitlines() == [f"bellhop: Cannot listen on {address}: Address already in use."]
