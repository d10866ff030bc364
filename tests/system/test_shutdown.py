"""The end of a server: streams say where to go on, calls finish, health tells first, new calls are turned away."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.rpc.admission import Limits
from bellhop_server.rpc.server import SERVICES
from bellhop_server.settings import Address
from tests.system.live_server import Live, Shop, counted, details, live_server, refusal, settings_in, story, told


async def slow_message(live: Live, shop: Shop) -> tuple[grpc.aio.UnaryStreamCall, str, str]:
    """A stream whose provider is still thinking: the call, the message and the cursor of its first event."""
    await live.credential(shop)
    device = reg.RegisterDeviceRequest(device_id="d1", user_id="anna", apns={"token": "ab"})
    await live.registry.RegisterDevice(device, metadata=shop.client)
    live.provider.answers.clear()
    send = notes.SendRequest(audience={"users": {"user_ids": ["anna"]}}, notification={"title": "T"})
    call = live.notifier.Send(send, metadata=shop.sender)
    event = (await anext(aiter(call))).event
    return call, event.accepted.message_id, event.cursor


@pytest.mark.promise("P10")
async def test_streams_end_with_where_to_go_on_and_the_next_server_goes_on(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with live_server(settings) as live:
        shop = await live.shop()
        call, message_id, cursor = await slow_message(live, shop)
        stopping = asyncio.create_task(live.stop())
        _, ended = await story(call)
        live.provider.answers.set()
        await stopping
    where = {"message_id": message_id, "cursor": cursor}
    assert told(ended) == (grpc.StatusCode.UNAVAILABLE, "STREAM_INTERRUPTED", where)
    async with live_server(settings) as live:
        request = notes.WatchMessageRequest(message_id=message_id, after_cursor=cursor)
        events = [each.event async for each in live.notifier.WatchMessage(request, metadata=shop.sender)]
    assert events[0].accepted.message_id == message_id
    assert events[0].cursor == cursor
    assert events[-1].summary.counts.finished_count == 1


async def test_a_call_under_way_is_finished_and_a_new_one_is_turned_away(live: Live) -> None:
    shop = await live.shop()
    live.provider.answers.clear()
    under_way = asyncio.create_task(live.credential(shop))
    await live.provider.probed.wait()
    health = aiter(health_pb2_grpc.HealthStub(live.channel).Watch(health_pb2.HealthCheckRequest()))
    await anext(health)
    stopping = asyncio.create_task(live.stop())
    assert (await anext(health)).status == health_pb2.HealthCheckResponse.NOT_SERVING
    error = await refusal(live.registry.CheckCredential(reg.CheckCredentialRequest(), metadata=shop.client))
    assert told(error) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE", {"cause": "shutdown"})
    assert "RetryInfo" in details(error)
    live.provider.answers.set()
    await under_way
    await stopping


async def test_health_says_so_before_the_end(live: Live) -> None:
    health = health_pb2_grpc.HealthStub(live.channel)
    for service in ("", *SERVICES):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await health.Check(health_pb2.HealthCheckRequest(service="bellhop.v1.Nothing"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    watch = aiter(health.Watch(health_pb2.HealthCheckRequest()))
    assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVING
    await live.stop()
    assert (await anext(watch)).status == health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.promise("P10")
async def test_a_reader_that_takes_nothing_is_let_go(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, metrics_listen=Address("127.0.0.1", 0))
    limits = Limits(reader_seconds=0.2)
    window = (("grpc.http2.lookahead_bytes", 1), ("grpc.http2.bdp_probe", 0))
    async with live_server(settings, limits=limits, options=window) as live:
        shop = await live.shop()
        ids = [f"{number:04}{'x' * 500}" for number in range(5000)]
        send = notes.SendRequest(audience={"users": {"user_ids": ids}}, notification={"title": "T"})
        call = live.notifier.Send(send, metadata=shop.sender)
        first = (await anext(aiter(call))).event
        await counted(live, 'bellhop_calls_total{code="UNAVAILABLE",method="/bellhop.v1.Notifier/Send"} 1.0')
        more, ended = await story(call)
        seen = [first, *(each.event for each in more)]
        code, reason, where = told(ended)
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_INTERRUPTED")
        assert where["message_id"] == first.accepted.message_id
        assert where["cursor"] in {event.cursor for event in seen}
        request = notes.WatchMessageRequest(message_id=where["message_id"], after_cursor=where["cursor"])
        rest = [each.event async for each in live.notifier.WatchMessage(request, metadata=shop.sender)]
        cursors = [event.cursor for event in seen]
        told_before = seen[: cursors.index(where["cursor"]) + 1]
        results = [result.user_id for event in (*told_before, *rest) for result in event.results.results]
        assert sorted(results) == sorted(ids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_ends_by_itself_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    environ = {"PATH": os.environ["PATH"], "BELLHOP_LISTEN": "127.0.0.1:0"}
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("bellhop")), "serve"),
        cwd=tmp_path,
        env=environ,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    assert process.stdout is not None
    lines = []
    async for line in process.stderr:
        lines.append(line.decode())
        if '"listening"' in lines[-1]:
            process.send_signal(number)
    assert await process.wait() == 0, lines
    assert await process.stdout.read() == b""
    assert (tmp_path / "bellhop.db").exists()
    for name in ("bellhop.key", "bellhop.admin-token"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    token = (tmp_path / "bellhop.admin-token").read_text().strip()
    assert any(str(tmp_path / "bellhop.admin-token") in line for line in lines)
    assert token not in "".join(lines)
