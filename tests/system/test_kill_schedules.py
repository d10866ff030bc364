"""SIGKILL to a server with messages that wait or are being cancelled: each has its end, and nothing comes too late."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from bellhop.v1.device_pb2 import ApnsTarget
from bellhop.v1.message_pb2 import (
    MESSAGE_STATE_CANCELLED,
    MESSAGE_STATE_COMPLETED,
    OUTCOME_ACCEPTED,
    OUTCOME_CANCELLED,
    OUTCOME_EXPIRED,
    OUTCOME_UNKNOWN,
    RESEND_POLICY_NEVER,
    Notification,
    SendOptions,
)
from bellhop_client import to_everyone
from bellhop_server.store.database import sqlite_path
from bellhop_simulators import ApnsSimulator, ConcurrencyPolicy
from tests.contract.backstage import Backstage, PostgresqlBackstage, SqliteBackstage
from tests.system.killable import Killable, killable

HOUR = 3600 * 10**6


@pytest.fixture
async def apns() -> AsyncIterator[ApnsSimulator]:
    async with ApnsSimulator(concurrency=ConcurrencyPolicy(authenticated=50)) as simulator:
        yield simulator


@pytest.fixture
async def server(tmp_path: Path, database_url: str, apns: ApnsSimulator) -> AsyncIterator[Killable]:
    async with killable(tmp_path, database_url, apns) as server:
        yield server


@pytest.fixture
def backstage(database_url: str, request: pytest.FixtureRequest) -> Backstage:
    path = sqlite_path(database_url)
    return SqliteBackstage(path) if path else PostgresqlBackstage(database_url, request.getfixturevalue("postgresql"))


async def register(server: Killable, count: int) -> None:
    async with server.client() as client:
        await asyncio.gather(
            *(
                client.register_device(
                    device_id=f"d{number}", user_id=f"u{number}", apns=ApnsTarget(token=f"{number + 1:064x}")
                )
                for number in range(count)
            )
        )


async def accept(server: Killable, *, ahead: float, **options: object) -> str:
    """Accepts a message to everyone that is to be sent so many seconds from now; its id."""
    when = Timestamp()
    when.FromNanoseconds(time.time_ns() + int(ahead * 1e9))
    async with server.client() as client:
        stream = client.send(
            audience=to_everyone(),
            notification=Notification(title="Hello"),
            options=SendOptions(schedule_time=when, resend=RESEND_POLICY_NEVER, **options),
            accept_only=True,
        )
        async for _ in stream:
            pass
        return stream.message_id


def pushed(apns: ApnsSimulator) -> Counter[str]:
    return Counter(entry.token for entry in apns.journal.find(status=200) if int(entry.token, 16))


@pytest.mark.promise("P6")
async def test_what_is_scheduled_outlives_a_kill(server: Killable, apns: ApnsSimulator) -> None:
    await register(server, 5)
    message_id = await accept(server, ahead=1)
    await server.kill()
    assert not pushed(apns)
    await server.start()

    async with server.client() as client:
        results = await client.watch(message_id).results()
        message = (await client.get_message(message_id=message_id)).message
    assert [each.outcome for each in results] == [OUTCOME_ACCEPTED] * 5
    assert sorted(pushed(apns).values()) == [1] * 5
    assert message.state == MESSAGE_STATE_COMPLETED
    assert message.complete_time.ToNanoseconds() >= message.schedule_time.ToNanoseconds()


@pytest.mark.promise("P4")
@pytest.mark.parametrize(("ttl", "late"), [(0, 2), (3600, 2), (7200, 1)])
async def test_what_its_time_ran_out_for_while_nobody_served_is_expired(
    server: Killable, apns: ApnsSimulator, backstage: Backstage, ttl: int, late: int
) -> None:
    """Its ttl counts from its schedule: with hours to go a late start is no end."""
    await register(server, 3)
    message_id = await accept(server, ahead=1800, ttl=Duration(seconds=ttl))
    await server.kill()
    # As if the hours had passed.
    backstage.execute(
        "UPDATE messages SET "
        + ", ".join(f"{each} = {each} - {late * HOUR}" for each in ("accept_time", "fire_time", "expire_time"))
    )
    await server.start()

    async with server.client() as client:
        results = await client.watch(message_id).results()
    if ttl > late * 3600:
        assert [each.outcome for each in results] == [OUTCOME_ACCEPTED] * 3
    else:
        assert [each.outcome for each in results] == [OUTCOME_EXPIRED] * 3
        assert not pushed(apns)


async def test_what_was_cancelled_is_not_taken_up_again(
    server: Killable, apns: ApnsSimulator, backstage: Backstage
) -> None:
    """Cancelled in the middle, then killed: what follows the restart are results, and not one push."""
    await register(server, 600)
    apns.faults.add({"delay": 0.05})
    async with server.client() as client:
        stream = client.send(
            audience=to_everyone(),
            notification=Notification(title="Hello"),
            options=SendOptions(resend=RESEND_POLICY_NEVER),
        )
        async with stream:
            async for event in stream:
                if event.results.results:
                    break
        await client.cancel_message(message_id=stream.message_id)
        handed_over = sum(pushed(apns).values())
        await server.kill()
    # As if their time was over: nobody has them.
    backstage.execute("UPDATE batches SET lease_until = 1 WHERE lease_until > 0")
    await server.start()

    async with server.client() as client:
        watch = client.watch(stream.message_id)
        results = await watch.results()
        again = (await client.cancel_message(message_id=stream.message_id)).message
    assert watch.summary is not None
    assert watch.summary.state == again.state == MESSAGE_STATE_CANCELLED
    assert again.counts == watch.summary.counts
    outcomes = Counter(each.outcome for each in results)
    assert set(outcomes) <= {OUTCOME_ACCEPTED, OUTCOME_CANCELLED, OUTCOME_UNKNOWN}
    assert outcomes[OUTCOME_ACCEPTED]
    assert outcomes[OUTCOME_CANCELLED]
    assert again.counts.device_count == len({each.device_id for each in results}) == len(results)
    assert sum(pushed(apns).values()) == handed_over
    told = {f"{int(each.device_id[1:]) + 1:064x}" for each in results if each.outcome == OUTCOME_CANCELLED}
    assert not told & set(pushed(apns)), "what was handed over is not said to be cancelled"


async def test_a_cancel_that_a_kill_cut_off_is_done_or_can_be_repeated(server: Killable, apns: ApnsSimulator) -> None:
    await register(server, 5)
    message_id = await accept(server, ahead=3600)
    async with server.client() as client:
        cutting = asyncio.create_task(client.cancel_message(message_id=message_id))
        await asyncio.sleep(0)
        await server.kill()
        await server.start()
        cutting.cancel()
        await asyncio.gather(cutting, return_exceptions=True)
    async with server.client() as client:
        message = (await client.cancel_message(message_id=message_id)).message
    assert message.state == MESSAGE_STATE_CANCELLED
    assert not pushed(apns)
