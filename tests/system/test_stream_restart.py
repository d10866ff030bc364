"""A server that stops and starts again while it is watched: the client library goes on by itself (P10)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bellhop.v1.event_pb2 import (
    RESULT_FILTER_ALL,
    RESULT_FILTER_FAILURES,
    RESULT_FILTER_NONE,
    SendEvent,
)
from bellhop.v1.message_pb2 import Notification, Result
from bellhop_client import Client, RetryPolicy, SendStream, to_everyone
from bellhop_simulators import ApnsSimulator, ConcurrencyPolicy
from tests.system.crowd import APP_SECRET, device_id, gather_crowd
from tests.system.killable import MASTER_KEY, Killable

DEVICES = 3000
FILTERS = (RESULT_FILTER_ALL, RESULT_FILTER_FAILURES, RESULT_FILTER_NONE)
PATIENT = RetryPolicy(initial_delay=0.1, maximum_delay=0.2, resuming_attempts=300)


@pytest.fixture
async def apns() -> AsyncIterator[ApnsSimulator]:
    async with ApnsSimulator(concurrency=ConcurrencyPolicy(authenticated=20)) as simulator:
        yield simulator


@pytest.mark.promise("P10")
async def test_streams_go_on_at_the_server_that_comes_after(
    tmp_path: Path, database_url: str, apns: ApnsSimulator
) -> None:
    """A send, readers with every filter, and one that takes nothing from before the stop until after the start."""
    await gather_crowd(database_url, MASTER_KEY, apns.key, DEVICES)
    server = Killable(tmp_path, database_url, apns)
    await server.start()
    slowness = apns.faults.add({"delay": 0.02})
    try:
        async with Client(server.address, app_id="shop", app_secret=APP_SECRET, retry_policy=PATIENT) as client:
            sent = client.send(audience=to_everyone(), notification=Notification(title="Hello"))
            first = await anext(sent)
            under_way = asyncio.Event()
            streams = [client.watch(sent.message_id, result_filter=shown) for shown in FILTERS]
            stalled = client.watch(sent.message_id)
            begun = [await anext(stalled)]
            readers = [asyncio.create_task(read(stream, under_way)) for stream in (sent, *streams)]
            await under_way.wait()

            assert await server.stop() == 0
            apns.faults.remove(slowness)
            assert not any(reader.done() for reader in readers), "the send had ended before the server was stopped"
            await server.start()

            told = [*(await asyncio.gather(*readers)), begun + await read(stalled, under_way)]
    finally:
        await server.stop()

    told[0].insert(0, first)
    everything = results_of(told[0])
    assert sorted(each.device_id for each in everything) == [device_id(number) for number in range(DEVICES)]
    for events in told:
        kinds = [event.WhichOneof("event") for event in events]
        assert (kinds[0], kinds[-1]) == ("accepted", "summary")
        assert not {"accepted", "summary"} & set(kinds[1:-1])
        assert events[-1] == told[0][-1]
    assert [results_of(events) for events in told[1:]] == [everything, [], [], everything]


async def read(stream: SendStream, under_way: asyncio.Event) -> list[SendEvent]:
    """All that is left of a stream; sets `under_way` once there are some results."""
    events = []
    async for event in stream:
        events.append(event)
        if len(results_of(events)) >= 200:
            under_way.set()
    return events


def results_of(events: list[SendEvent]) -> list[Result]:
    return [result for event in events for result in event.results.results]
