"""SIGKILL to a real server: what was acknowledged, accepted or streamed is still there, and the send is finished."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bellhop.v1.device_pb2 import ApnsTarget
from bellhop.v1.event_pb2 import SendEvent
from bellhop.v1.message_pb2 import (
    MESSAGE_STATE_COMPLETED,
    OUTCOME_ACCEPTED,
    OUTCOME_UNKNOWN,
    RESEND_POLICY_ALWAYS,
    RESEND_POLICY_NEVER,
    Notification,
    ResendPolicy,
    Result,
    SendOptions,
)
from bellhop_client import BellhopError, to_everyone
from bellhop_simulators import ApnsSimulator, ConcurrencyPolicy
from tests.system.killable import Killable, killable

DEVICES = 1200


@pytest.fixture
async def apns() -> AsyncIterator[ApnsSimulator]:
    async with ApnsSimulator(concurrency=ConcurrencyPolicy(authenticated=50)) as simulator:
        yield simulator


@pytest.fixture
async def server(tmp_path: Path, database_url: str, apns: ApnsSimulator) -> AsyncIterator[Killable]:
    async with killable(tmp_path, database_url, apns) as server:
        yield server


async def register(server: Killable, count: int) -> None:
    async with server.client() as client:
        await asyncio.gather(
            *(
                client.register_device(
                    device_id=f"d{number}", user_id=f"u{number}", apns=ApnsTarget(token=token(f"d{number}"))
                )
                for number in range(count)
            )
        )


@pytest.mark.promise("P6")
async def test_no_acknowledged_registration_is_lost(server: Killable) -> None:
    acknowledged: list[str] = []
    enough = asyncio.Event()

    async def keep_registering(caller: int) -> None:
        async with server.client() as client:
            for turn in range(10_000):
                name = f"{caller}-{turn}"
                try:
                    await client.register_device(
                        device_id=name, user_id="anna", apns=ApnsTarget(token=f"{caller:032x}{turn:032x}")
                    )
                except BellhopError:
                    return
                acknowledged.append(name)
                if len(acknowledged) >= 100:
                    enough.set()

    callers = [asyncio.create_task(keep_registering(caller)) for caller in range(8)]
    await enough.wait()
    await server.kill()
    for task in callers:
        task.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await server.start()

    async with server.client() as client:
        kept = {device.device_id async for device in client.devices(page_size=1000)}
    assert len(acknowledged) >= 100
    assert set(acknowledged) <= kept


@pytest.mark.promise("P6")
@pytest.mark.promise("P7")
@pytest.mark.promise("P9")
@pytest.mark.promise("P10")
@pytest.mark.parametrize("resend", [RESEND_POLICY_NEVER, RESEND_POLICY_ALWAYS])
async def test_a_send_cut_by_kill_is_finished_after_the_restart(
    server: Killable, apns: ApnsSimulator, resend: ResendPolicy.ValueType
) -> None:
    await register(server, DEVICES)
    seen: list[Result] = []
    message_id = cursor = ""

    async with server.client() as client:
        stream = client.send(
            audience=to_everyone(),
            notification=Notification(title="Hello"),
            options=SendOptions(resend=resend),
            request_id="once",
        )
        async with stream:
            async for event in stream:
                message_id, cursor = stream.message_id, event.cursor
                seen += event.results.results
                if len(seen) >= 100:
                    break
        await server.kill()
        known_then = {(each.device_id, each.outcome) for each in seen}
    await server.start()

    async with server.client() as client:
        repeat = client.send(
            audience=to_everyone(),
            notification=Notification(title="Hello"),
            options=SendOptions(resend=resend),
            request_id="once",
        )
        replayed = [event async for event in repeat]
        resumed = [event async for event in client.watch(message_id, after_cursor=cursor)]
        told = [result async for result in client.results(message_id=message_id, page_size=1000)]
        message = (await client.get_message(message_id=message_id)).message

    assert replayed[0].accepted.replayed
    assert replayed[0].accepted.message_id == message_id
    everything = results_of(replayed)
    assert sorted(each.device_id for each in everything) == sorted(f"d{number}" for number in range(DEVICES))
    assert seen + results_of(resumed) == everything == told
    assert known_then <= {(each.device_id, each.outcome) for each in everything}

    outcomes = Counter(each.outcome for each in everything)
    counts = message.counts
    assert message.state == MESSAGE_STATE_COMPLETED
    assert counts.device_count == counts.finished_count == DEVICES
    assert {each.outcome: each.count for each in counts.outcomes} == outcomes

    pushed = Counter(entry.token for entry in apns.journal.find(status=200) if int(entry.token, 16))
    accepted = {token(each.device_id) for each in everything if each.outcome == OUTCOME_ACCEPTED}
    assert accepted <= set(pushed)
    if resend == RESEND_POLICY_NEVER:
        assert set(outcomes) <= {OUTCOME_ACCEPTED, OUTCOME_UNKNOWN}
        assert max(pushed.values()) == 1
    else:
        assert outcomes == {OUTCOME_ACCEPTED: DEVICES}
        twice = {each for each, times in pushed.items() if times > 1}
        first = {token(each.device_id) for each in seen}
        assert not twice & first, "what had a result went again"


@pytest.mark.promise("P7")
async def test_a_stop_in_good_order_leaves_nothing_in_doubt(server: Killable, apns: ApnsSimulator) -> None:
    await register(server, DEVICES)
    slow = apns.faults.add({"delay": 0.2})
    async with server.client() as client:
        stream = client.send(
            audience=to_everyone(),
            notification=Notification(title="Hello"),
            options=SendOptions(resend=RESEND_POLICY_NEVER),
            request_id="once",
        )
        async with stream:
            async for event in stream:
                if event.results.results:
                    break
        assert await server.stop() == 0
    apns.faults.remove(slow)
    await server.start()

    async with server.client() as client:
        told = await client.watch(stream.message_id).results()

    assert len(told) == DEVICES
    assert {each.outcome for each in told} == {OUTCOME_ACCEPTED}
    pushed = Counter(entry.token for entry in apns.journal.find(status=200) if int(entry.token, 16))
    assert set(pushed.values()) == {1}


def token(device_id: str) -> str:
    """None is all zeros: that is what a credential is tried with."""
    return f"{int(device_id[1:]) + 1:064x}"


def results_of(events: list[SendEvent]) -> list[Result]:
    return [result for event in events for result in event.results.results]
