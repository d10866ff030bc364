"""Streams through the gateway, over real sockets: lines and events, going on, and hanging up."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bellhop_gateway.serving import ListenError, running_gateway
from bellhop_gateway.settings import GatewaySettings
from bellhop_server.settings import Address
from tests.gateway.conftest import headers
from tests.system.live_server import TOKEN, Live, Shop, counted, live_server, settings_in

EVENTS = {"accept": "text/event-stream"}
SEND = {"audience": {"users": {"userIds": ["ann", "nobody"]}}, "notification": {"title": "Hello"}}


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with live_server(settings_in(tmp_path, metrics_listen=Address("127.0.0.1", 0))) as live:
        yield live


@pytest.fixture
async def http(live: Live) -> AsyncIterator[httpx.AsyncClient]:
    settings = GatewaySettings(gateway_listen="127.0.0.1:0", server=live.server.address)
    async with running_gateway(settings) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
async def ready(live: Live, shop: Shop, http: httpx.AsyncClient) -> dict[str, str]:
    """Credentials of an application that can send to ann's phone."""
    await live.credential(shop)
    body = {"userId": "ann", "apns": {"token": TOKEN}}
    assert (await http.put("/v1/devices/phone", json=body, headers=headers(shop))).status_code == 200
    return headers(shop)


def events(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def cases(lines: list[dict[str, Any]]) -> list[str]:
    return [next(key for key in line["event"] if key != "cursor") for line in lines]


async def test_a_send_as_lines(http: httpx.AsyncClient, ready: dict[str, str]) -> None:
    answer = await http.post("/v1/messages", json={**SEND, "messageId": "m1"}, headers=ready)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    told = cases(lines)
    assert (told[0], told[-1]) == ("accepted", "summary")
    assert lines[-1]["event"]["summary"]["counts"]["notRegisteredCount"] == 1
    shown = await http.get("/v1/messages/m1", headers=ready)
    assert shown.json()["message"]["counts"]["finishedCount"] == 1


async def test_events_go_on_from_the_last_one(http: httpx.AsyncClient, ready: dict[str, str]) -> None:
    first = events((await http.post("/v1/messages", json={**SEND, "messageId": "m1"}, headers=ready | EVENTS)).text)
    assert [first[0]["event"], first[-1]["event"]] == ["accepted", "summary"]
    again = await http.get("/v1/messages/m1/events", headers=ready | EVENTS | {"last-event-id": first[-2]["id"]})
    assert again.headers["content-type"].startswith("text/event-stream")
    assert [each["event"] for each in events(again.text)] == ["accepted", "summary"]
    by_query = await http.get("/v1/messages/m1/events", params={"afterCursor": first[-2]["id"]}, headers=ready)
    assert cases([json.loads(line) for line in by_query.text.splitlines()]) == ["accepted", "summary"]


async def test_many_and_an_explanation(http: httpx.AsyncClient, ready: dict[str, str]) -> None:
    sends = {"sends": [{**SEND, "requestId": "r1"}, {"requestId": "r2"}]}
    lines = [
        json.loads(line)
        for line in (await http.post("/v1/messages:batch", json=sends, headers=ready)).text.splitlines()
    ]
    answers = [answer for line in lines for answer in line["answers"]]
    assert {answer["requestId"] for answer in answers} == {"r1", "r2"}
    (error,) = [answer["error"] for answer in answers if "error" in answer]
    assert error["reason"] == "ERROR_REASON_INVALID_REQUEST"
    assert any("summary" in answer.get("event", {}) for answer in answers)
    shown = await http.post("/v1/messages:explain", json=SEND, headers=ready)
    assert {json.loads(line)["deviceId"] for line in shown.text.splitlines()} == {"phone", ""}


async def test_an_error_before_the_first_event_is_an_answer(http: httpx.AsyncClient, ready: dict[str, str]) -> None:
    refused = await http.post("/v1/messages", json={}, headers=ready)
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/json")
    none = await http.get("/v1/messages/none/events", headers=ready | EVENTS)
    assert none.status_code == 404


@pytest.mark.parametrize("kind", [{}, EVENTS])
async def test_an_error_amid_the_events_is_the_last(
    live: Live, http: httpx.AsyncClient, ready: dict[str, str], kind: dict[str, str]
) -> None:
    live.provider.answers.clear()
    async with http.stream("POST", "/v1/messages", json={**SEND, "messageId": "m1"}, headers=ready | kind) as answer:
        chunks = answer.aiter_text()
        text = await anext(chunks)
        stopping = asyncio.create_task(live.stop())
        async for chunk in chunks:
            text += chunk
        live.provider.answers.set()
        await stopping
    last = events(text)[-1]["data"] if kind else text.splitlines()[-1]
    reason = json.loads(last)["error"]["details"][0]
    assert (reason["reason"], reason["metadata"]["message_id"]) == ("ERROR_REASON_STREAM_INTERRUPTED", "m1")
    assert not kind or events(text)[-1]["event"] == "error"


async def test_who_hangs_up_ends_the_call(live: Live, http: httpx.AsyncClient, ready: dict[str, str]) -> None:
    live.provider.answers.clear()
    streams = 'bellhop_streams_open{method="/bellhop.v1.Notifier/Send"}'
    async with http.stream("POST", "/v1/messages", json=SEND, headers=ready) as answer:
        # Kept, because an iterator that nobody holds any more hangs up by itself.
        text = answer.aiter_text()
        await anext(text)
        await counted(live, f"{streams} 1.0")
    await counted(live, f"{streams} 0.0")
    live.provider.answers.set()


async def test_the_deadline_of_a_stream_is_the_client_s(
    live: Live, http: httpx.AsyncClient, ready: dict[str, str]
) -> None:
    live.provider.answers.clear()
    answer = await http.post("/v1/messages", json=SEND, headers=ready | {"request-timeout": "0.5"})
    assert json.loads(answer.text.splitlines()[-1])["error"]["status"] == "DEADLINE_EXCEEDED"
    live.provider.answers.set()


async def test_an_address_that_is_taken(http: httpx.AsyncClient) -> None:
    taken = http.base_url.netloc.decode()
    with pytest.raises(ListenError, match="Cannot listen"):
        async with running_gateway(GatewaySettings(gateway_listen=taken)):
            pass
