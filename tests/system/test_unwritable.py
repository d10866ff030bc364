"""A file that takes nothing more, as the disk is full or has become read-only: refused, kept, and over by itself."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import Connection, Engine, event
from structlog.testing import capture_logs

from bellhop.v1 import message_pb2 as messages
from bellhop.v1 import notifier_pb2 as notifier
from bellhop.v1 import push_registry_pb2 as registry
from bellhop_server.domain.delivery import Answer, Chunk
from tests.system.live_server import KindProvider, Live, Shop, live_server, settings_in, told

pytestmark = [pytest.mark.promise("P6"), pytest.mark.promise("P7"), pytest.mark.promise("P9")]

DEVICES = 20
# What SQLite itself is told on the connection that writes: there are no more pages than now, or nothing is written.
FULL, READ_ONLY = "max_page_count = 1", "query_only = 1"


class Spoiler:
    """Tells every transaction of every database that writes, for as long as it is set, what `pragma` says."""

    def __init__(self, pragma: str) -> None:
        self.on = False
        self._pragma = pragma

    def begin(self, connection: Connection) -> None:
        """A transaction has begun."""
        if self.on:
            connection.exec_driver_sql(f"PRAGMA {self._pragma}")


@pytest.fixture(params=[FULL, READ_ONLY], ids=["full", "read-only"])
def spoiler(request: pytest.FixtureRequest) -> Iterator[Spoiler]:
    """Each way in turn, not set yet."""
    spoiler = Spoiler(request.param)
    event.listen(Engine, "begin", spoiler.begin)
    yield spoiler
    event.remove(Engine, "begin", spoiler.begin)


class Asked(KindProvider):
    """Tells when it was given something."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        self.asked.set()
        await super().send(chunk, report, handed_over)


async def register(live: Live, shop: Shop, name: str) -> None:
    target = {"token": name.encode().hex().rjust(64, "0")}
    request = registry.RegisterDeviceRequest(device_id=name, user_id="anna", apns=target)
    await live.registry.RegisterDevice(request, metadata=shop.client)


async def listed(live: Live, shop: Shop) -> set[str]:
    page = await live.registry.ListDevices(registry.ListDevicesRequest(page_size=1000), metadata=shop.sender)
    return {device.device_id for device in page.devices}


def send(live: Live, shop: Shop, title: str) -> Any:
    request = notifier.SendRequest(
        request_id=title,
        audience={"everyone": {}},
        notification={"title": title, "body": "Hello " * 400},
        options={"resend": messages.RESEND_POLICY_NEVER},
    )
    return live.notifier.Send(request, metadata=shop.sender)


async def refused(attempt: Callable[[int], Awaitable[object]]) -> int:
    """Tries again and again until it is refused for want of a store; returns how many were taken before.

    What fits into pages that are there already is taken by a full disk too.
    """
    for number in itertools.count():
        try:
            await attempt(number)
        except grpc.aio.AioRpcError as error:
            refusal = error
            break
    assert told(refusal) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE", {"cause": "store"})
    return number


async def test_what_was_taken_is_kept_until_it_can_be_written(tmp_path: Path, spoiler: Spoiler) -> None:
    provider = Asked()
    with capture_logs() as logs:
        await fill_up_and_go_on(tmp_path, spoiler, provider)
    # Reading goes on all the while, and must not be told as the end of it.
    assert {log["use"] for log in logs if log["event"] == "the database is away"} == {"writing"}


async def fill_up_and_go_on(folder: Path, spoiler: Spoiler, provider: Asked) -> None:
    async with live_server(settings_in(folder), provider=provider) as live:
        shop = await live.shop()
        await live.credential(shop)
        names = {f"d{number}" for number in range(DEVICES)}
        for name in names:
            await register(live, shop, name)
        provider.answers.clear()
        events = aiter(send(live, shop, "before"))
        assert (await anext(events)).event.HasField("accepted")
        await provider.asked.wait()

        spoiler.on = True
        provider.answers.set()
        taken = await refused(lambda number: register(live, shop, f"e{number}"))
        await refused(lambda number: anext(aiter(send(live, shop, f"meanwhile-{number}"))))
        kept = names | {f"e{number}" for number in range(taken)}
        assert await listed(live, shop) == kept
        spoiler.on = False

        results = [result async for response in events for result in response.event.results.results]
        assert Counter(result.device_id for result in results) == Counter(names)
        assert {result.outcome for result in results} == {messages.OUTCOME_ACCEPTED}
        pushed = Counter(
            delivery.address
            for chunk in provider.chunks
            if chunk.notification.title == "before"
            for delivery in chunk.deliveries
        )
        assert len(pushed) == DEVICES
        assert set(pushed.values()) == {1}
        await register(live, shop, "later")
        assert await listed(live, shop) == kept | {"later"}
