"""A provider that is away holds nobody else up, and is told of in the end."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bellhop.v1.message_pb2 import Outcome
from bellhop_server.app import handover
from tests.apns_desk import MovableClock
from tests.faults.networks import Network, venue
from tests.faults.play import crowd

DEVICES = 60
TTL = 60
# Seconds. Before any of those that wait for the network that is away has had another attempt.
SOON = 8.0

WAYS: dict[str, tuple[dict[str, Any] | None, set[str]]] = {
    "nobody listens": (None, {"EXPIRED"}),
    "it answers nothing": ({"no_answer": True}, {"UNKNOWN", "EXPIRED"}),
    "it is overloaded": ({"status": 503}, {"EXPIRED"}),
    "it ends every connection": ({"connection": "reset", "accepted": False}, {"UNKNOWN", "EXPIRED"}),
}


@pytest.mark.promise("P12")
@pytest.mark.parametrize("down", Network)
@pytest.mark.parametrize("way", WAYS)
async def test_the_others_are_told_while_one_is_away(
    down: Network, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What nobody takes is held for as long as a hand-over may last, and that for each attempt.
    monkeypatch.setattr(handover, "HANDOVER", 1.0)
    clock, patience = MovableClock(), asyncio.Event()
    then, outcomes = WAYS[way]
    async with AsyncExitStack() as stack:
        venues = {each: await stack.enter_async_context(venue(each, "ngh2", clock, answer=1.0)) for each in Network}
        opened = crowd(tmp_path, clock, *venues.values(), patience=patience)
        there, public_key = await stack.enter_async_context(opened)
        for at in venues.values():
            await there.join(at, DEVICES, public_key)
        before = await there.told(there.send())
        assert {result.outcome for result in before} == {Outcome.OUTCOME_ACCEPTED}
        marks = {each: at.simulator.journal.total for each, at in venues.items()}
        if then is not None:
            venues[down].simulator.faults.add(then, {"call": "send"})
        else:
            await venues[down].simulator.__aexit__(None, None, None)
        stream = there.send(ttl=TTL)
        results = []
        async with asyncio.timeout(SOON):
            async for event in stream:
                results += event.results.results
                others = [result.outcome for result in results if result.platform != down.platform]
                if len(others) == 2 * DEVICES:
                    break
        assert set(others) == {Outcome.OUTCOME_ACCEPTED}

        patience.set()
        results += await there.told(stream)
        await there.check(stream, results)
        for each, at in venues.items():
            there.audit(at, results, at.pushes(marks[each]))
        told = Counter(Outcome.Name(each.outcome) for each in results if each.platform == down.platform)
        assert {name.removeprefix("OUTCOME_") for name in told} <= outcomes
