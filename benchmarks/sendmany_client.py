"""Sends messages to one person each: `python -m benchmarks.sendmany_client many|single ADDRESS SECRET COUNT DEVICES`.

`many`: on one SendMany stream, in requests of 100, each as soon as gRPC takes it. `single`: each on a Send stream of
its own, so many of them at once. Either way each is read to its summary, which must tell of one accepted push.

Prints one JSON line: messages, seconds, this client's own CPU seconds.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import grpc

from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import notifier_pb2_grpc
from bellhop.v1.event_pb2 import SendEvent
from bellhop.v1.message_pb2 import OUTCOME_ACCEPTED, Notification
from bellhop_client import to_users
from benchmarks.seed import APP, person

IN_ONE_REQUEST = 100
AT_ONCE = 64


def sends(count: int, devices: int) -> Iterator[notes.SendRequest]:
    """One to each person in turn."""
    run = uuid4().hex
    for number in range(count):
        yield notes.SendRequest(
            request_id=f"{run}-{number}",
            audience=to_users(person(number % devices)),
            notification=Notification(title="Hello", body="Your order is on its way."),
        )


def check(event: SendEvent) -> bool:
    """Whether it is the last one. Raises RuntimeError unless one push was accepted."""
    if not event.HasField("summary"):
        return False
    if [(each.outcome, each.count) for each in event.summary.counts.outcomes] != [(OUTCOME_ACCEPTED, 1)]:
        raise RuntimeError(f"not accepted: {event}")
    return True


async def many(stub: Any, metadata: Any, work: Iterator[notes.SendRequest]) -> int:
    """How many were answered to their end."""

    async def requests() -> AsyncIterator[notes.SendManyRequest]:
        while some := [send for _, send in zip(range(IN_ONE_REQUEST), work, strict=False)]:
            yield notes.SendManyRequest(sends=some)

    ended = 0
    async for response in stub.SendMany(requests(), metadata=metadata):
        for answer in response.answers:
            if answer.HasField("error"):
                raise RuntimeError(f"refused: {answer}")
            ended += check(answer.event)
    return ended


async def single(stub: Any, metadata: Any, work: Iterator[notes.SendRequest]) -> int:
    """How many were answered to their end."""

    async def caller() -> int:
        ended = 0
        for send in work:
            async for response in stub.Send(send, metadata=metadata):
                ended += check(response.event)
        return ended

    return sum(await asyncio.gather(*(caller() for _ in range(AT_ONCE))))


async def main(kind: str, address: str, secret: str, count: str, devices: str) -> None:
    """One run."""
    work = sends(int(count), int(devices))
    metadata = (("app-id", APP), ("app-secret", secret))
    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        stub: Any = notifier_pb2_grpc.NotifierStub(channel)
        start, cpu = time.perf_counter(), time.process_time()
        ended = await (many if kind == "many" else single)(stub, metadata, work)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps({"count": ended, "seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
