"""Logouts that wait for a provider: they keep nobody out, they share what they wait for, and they end (P3)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.app import fencing
from bellhop_server.rpc.admission import Limits
from tests.system.live_server import Live, Shop, live_server, settings_in

pytestmark = pytest.mark.promise("P3")

CALLS = 10
DEVICES = 50


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    """A server that serves few calls at once."""
    async with live_server(settings_in(tmp_path), limits=Limits(calls=CALLS)) as live:
        yield live
        live.provider.answers.set()


@pytest.fixture
async def shop(live: Live) -> Shop:
    """Somebody's many devices, with a message on its way to each, and a provider that thinks."""
    shop = await live.shop()
    await live.credential(shop)
    live.provider.answers.clear()
    for number in range(DEVICES):
        request = reg.RegisterDeviceRequest(device_id=f"d{number}", user_id="anna", apns={"token": f"{number:064x}"})
        await live.registry.RegisterDevice(request, metadata=shop.client)
    request = notes.SendRequest(audience={"users": {"user_ids": ["anna"]}}, notification={"title": "Hello"})
    call = live.notifier.Send(request, metadata=shop.sender)
    await call.read()
    call.cancel()
    while sum(len(chunk.deliveries) for chunk in live.provider.chunks) < DEVICES:
        await present(live, shop, "d0")
    return shop


async def present(live: Live, shop: Shop, device_id: str) -> bool:
    """Whether the device is there; a call like any other."""
    try:
        await live.registry.GetDevice(reg.GetDeviceRequest(device_id=device_id), metadata=shop.client)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return False
    return True


async def leaving(live: Live, shop: Shop, device_id: str) -> "asyncio.Task[reg.UnregisterDeviceResponse]":
    """A logout that has been committed, and waits."""

    async def leave() -> reg.UnregisterDeviceResponse:
        request = reg.UnregisterDeviceRequest(device_id=device_id)
        return await live.registry.UnregisterDevice(request, metadata=shop.client)

    task = asyncio.create_task(leave())
    while await present(live, shop, device_id):
        pass
    return task


async def test_many_that_wait_keep_nobody_out(live: Live, shop: Shop) -> None:
    tasks = [await leaving(live, shop, f"d{number}") for number in range(DEVICES)]
    # Of the same device, and nothing is left to do.
    tasks += [await leaving(live, shop, "d0") for _ in range(DEVICES)]
    assert not any(await asyncio.gather(*(present(live, shop, "d0") for _ in range(CALLS // 2))))
    assert not any(task.done() for task in tasks)

    live.provider.answers.set()
    answers = await asyncio.gather(*tasks)
    assert [answer.existed for answer in answers] == [True] * DEVICES + [False] * DEVICES


async def test_one_with_nothing_in_flight_does_not_wait_among_those_who_do(live: Live, shop: Shop) -> None:
    waiting = await leaving(live, shop, "d0")
    request = reg.RegisterDeviceRequest(device_id="other", user_id="ben", apns={"token": "ef" * 32})
    await live.registry.RegisterDevice(request, metadata=shop.client)
    await (await leaving(live, shop, "other"))

    assert not waiting.done()
    live.provider.answers.set()
    await waiting


async def test_a_user_is_waited_for_as_a_whole(live: Live, shop: Shop) -> None:
    async def leave() -> reg.UnregisterUserResponse:
        return await live.registry.UnregisterUser(reg.UnregisterUserRequest(user_id="anna"), metadata=shop.sender)

    first = asyncio.create_task(leave())
    while await present(live, shop, "d0"):
        pass
    again = asyncio.create_task(leave())
    assert not await present(live, shop, "d1")
    assert not first.done()

    live.provider.answers.set()
    assert {(await first).device_count, (await again).device_count} == {DEVICES, 0}


async def test_a_wait_ends_though_the_provider_never_answers(
    live: Live, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fencing, "LONGEST", 0.1)
    async with asyncio.timeout(5):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await (await leaving(live, shop, "d0"))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    [info] = [value for key, value in refused.value.trailing_metadata() or () if key == "grpc-status-details-bin"]
    assert b"ERROR_REASON_SERVICE_UNAVAILABLE" in info
    assert b"fence" in info
    assert not live.provider.answers.is_set()
    assert not await present(live, shop, "d0")
