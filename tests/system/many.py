"""SendMany as its tests speak it: items, one stream, and what came of each item."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import grpc

from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop.v1.event_pb2 import SendEvent
from tests.system.live_server import Live, Shop


def item(request_id: str, *user_ids: str, **changes: Any) -> notes.SendRequest:
    """To these users."""
    fields = {"audience": {"users": {"user_ids": user_ids or ("anna",)}}, "notification": {"title": "T"}}
    return notes.SendRequest(request_id=request_id, **{**fields, **changes})


async def register(live: Live, shop: Shop, count: int = 1) -> None:
    """Devices `d0` and on of users `u0` and on; `d0` is Anna's."""
    await live.credential(shop)
    for number in range(count):
        user_id = f"u{number}" if number else "anna"
        request = reg.RegisterDeviceRequest(device_id=f"d{number}", user_id=user_id)
        request.apns.token = f"{number + 1:064x}"
        await live.registry.RegisterDevice(request, metadata=shop.client)


class Many:
    """One stream. `answers`: those of each item, in their order."""

    def __init__(self, stub: Any, shop: Shop) -> None:
        self.call = stub.SendMany(metadata=shop.sender)
        self.answers: dict[str, list[notes.SendManyAnswer]] = defaultdict(list)
        self.sizes: list[int] = []
        """Answers in each response."""

    async def write(self, items: Iterable[notes.SendRequest]) -> None:
        """One request."""
        await self.call.write(notes.SendManyRequest(sends=items))

    async def half_close(self) -> None:
        """Nothing more comes."""
        await self.call.done_writing()

    async def read(self) -> bool:
        """One response. False: it was the end of the stream."""
        response = await self.call.read()
        if response is grpc.aio.EOF:
            return False
        self.sizes.append(len(response.answers))
        for answer in response.answers:
            self.answers[answer.request_id].append(answer)
        return True

    async def read_until(self, request_id: str, kind: str) -> SendEvent:
        """Reads on until that item has such an event."""
        while not (found := [event for event in self.events(request_id) if event.WhichOneof("event") == kind]):
            assert await self.read(), self.answers
        return found[0]

    async def rest(self) -> grpc.StatusCode:
        """Reads to the end; how it ended. The call tells the details of what is not OK."""
        try:
            while await self.read():
                pass
        except grpc.aio.AioRpcError as error:
            return error.code()
        code: grpc.StatusCode = await self.call.code()
        return code

    async def error(self) -> grpc.aio.AioRpcError:
        """Reads to the end; the error that it is."""
        try:
            while await self.read():
                pass
        except grpc.aio.AioRpcError as error:
            return error
        raise AssertionError(f"ended with {await self.call.code()}")

    def events(self, request_id: str) -> list[SendEvent]:
        """Of one item."""
        return [answer.event for answer in self.answers[request_id] if answer.HasField("event")]

    def kinds(self, request_id: str) -> list[str | None]:
        """What answers of one item were."""
        return [
            answer.event.WhichOneof("event") if answer.HasField("event") else "error"
            for answer in self.answers[request_id]
        ]

    def results(self, request_id: str) -> list[tuple[str, int]]:
        """Devices and outcomes of one item."""
        return [(each.device_id, each.outcome) for event in self.events(request_id) for each in event.results.results]


async def sent(stub: Any, shop: Shop, *items: notes.SendRequest) -> Many:
    """A whole stream of one request, which ends with OK."""
    many = Many(stub, shop)
    await many.write(items)
    await many.half_close()
    async with asyncio.timeout(30):
        assert await many.rest() is grpc.StatusCode.OK
    return many
