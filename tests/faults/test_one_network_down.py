"""A provider that is away holds nobody else up."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bellhop.v1.message_pb2 import SendOptions
from bellhop_client import Notification, to_everyone
from tests.apns_desk import MovableClock
from tests.faults.networks import Network, venue
from tests.faults.play import crowd

DEVICES = 60


@pytest.mark.promise("P12")
@pytest.mark.parametrize("down", Network)
@pytest.mark.parametrize("how", [{"no_answer": True}, {"status": 503}, {"connection": "reset", "accepted": False}])
async def test_the_others_are_told_while_one_is_away(down: Network, how: dict[str, object], tmp_path: Path) -> None:
    clock = MovableClock()
    async with AsyncExitStack() as stack:
        venues = [await stack.enter_async_context(venue(network, "ngh2", clock)) for network in Network]
        there, public_key = await stack.enter_async_context(crowd(tmp_path, clock, *venues, leaping=False))
        for at in venues:
            await there.join(at, DEVICES, "mozilla", public_key)
            if at.network is down:
                at.simulator.faults.add(how)
        stream = there.back_end.send(
            audience=to_everyone(), notification=Notification(title="Hello"), options=SendOptions()
        )
        told = 0
        async with asyncio.timeout(20):
            async for event in stream:
                results = event.results.results
                told += sum(result.platform != down.platform and result.outcome == 1 for result in results)
                if told == 2 * DEVICES:
                    break
        assert told == 2 * DEVICES
