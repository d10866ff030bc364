"""Two workers over one PostgreSQL, one of which has lost its leases and does not know it yet."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from bellhop_server.domain.batch import DOUBT
from bellhop_server.domain.delivery import LEASE
from bellhop_server.domain.message import Message, MessageState, Outcome, ResendPolicy, Result
from bellhop_server.domain.query import ResultQuery
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from bellhop_simulators import ApnsSimulator
from tests.system.crowd import device_id, gather_crowd, token
from tests.system.killable import MASTER_KEY
from tests.system.worker import CutStore, HeldProvider, SteeredClock, Worker, accept

pytestmark = [pytest.mark.promise("P7"), pytest.mark.promise("P9")]

DEVICES = 2 * DOUBT
AT_ONCE = 10


@pytest.fixture
async def stores(postgresql_url: str) -> AsyncIterator[tuple[CutStore, CutStore]]:
    """Those of two processes."""
    await gather_crowd(postgresql_url, MASTER_KEY, ApnsSimulator().key, DEVICES)
    key = MasterKey(MASTER_KEY)
    async with SqlStore.open(postgresql_url, key) as one, SqlStore.open(postgresql_url, key) as other:
        yield CutStore(one), CutStore(other)


async def results_of(store: CutStore, message: Message) -> list[Result]:
    """All of them; the message has come to its end, and its counts say the same."""
    results = [result for _, result in await store.list_results(ResultQuery(message.ref), 0, 10 * DEVICES)]
    assert Counter(result.device_id for result in results) == Counter(map(device_id, range(DEVICES)))
    counts = (await store.counts([message.ref]))[message.ref]
    assert counts.finished_count == counts.device_count == DEVICES
    assert Counter((result.platform, result.outcome) for result in results) == counts.outcomes
    assert (await store.get_message_by_ref(message.ref)).state is MessageState.COMPLETED
    return results


@pytest.mark.parametrize("resend", [ResendPolicy.NEVER, ResendPolicy.ALWAYS])
async def test_who_lost_the_leases_writes_nothing(stores: tuple[CutStore, CutStore], resend: ResendPolicy) -> None:
    clock = SteeredClock()
    message = await accept(stores[0], clock, resend)
    slow = Worker("slow", stores[0], clock, HeldProvider(AT_ONCE))
    quick = Worker("quick", stores[1], clock, HeldProvider())
    quick.provider.answers.set()
    begun = DOUBT if resend is ResendPolicy.NEVER else DEVICES
    async with slow.working():
        await slow.provider.has(begun)
        # What was answered in time is written, and stays whatever comes after it.
        await slow.told(message, len(slow.provider.answered_at_once))
        clock.advance(LEASE + 1)
        async with quick.working():
            await quick.told(message)
        before = await results_of(stores[1], message)
        slow.provider.answers.set()

    results = await results_of(stores[0], message)
    assert results == before
    in_time = set(slow.provider.answered_at_once)
    in_doubt = set(slow.provider.pushed) - in_time
    assert len(slow.provider.pushed) == len(set(slow.provider.pushed)) == begun
    assert len(quick.provider.pushed) == len(set(quick.provider.pushed))
    unknown = {token(result.device_id) for result in results if result.outcome is Outcome.UNKNOWN}
    if resend is ResendPolicy.NEVER:
        assert unknown == in_doubt
        assert not set(quick.provider.pushed) & set(slow.provider.pushed)
    else:
        assert not unknown
        assert set(quick.provider.pushed) == in_doubt
    tries = {token(result.device_id): result.attempts for result in results}
    assert {each for each, attempts in tries.items() if attempts > 1} == (in_doubt if not unknown else set())


async def test_who_starts_after_the_lease_ended_hands_nothing_over(stores: tuple[CutStore, CutStore]) -> None:
    clock = SteeredClock()
    message = await accept(stores[0], clock, ResendPolicy.NEVER)
    late = Worker("late", stores[0], clock, HeldProvider())
    quick = Worker("quick", stores[1], clock, HeldProvider())
    quick.provider.answers.set()
    late.store.may_start.clear()
    async with late.working():
        await late.store.starting.wait()
        clock.advance(LEASE + 1)
        async with quick.working():
            await quick.told(message)
        late.store.may_start.set()
        late.provider.answers.set()

    assert late.provider.pushed == []
    assert {result.outcome for result in await results_of(stores[0], message)} == {Outcome.ACCEPTED}
    assert len(quick.provider.pushed) == DEVICES


async def test_an_outage_longer_than_a_lease_is_lost_to_another_worker(stores: tuple[CutStore, CutStore]) -> None:
    """The one that was cut off has its answers, and cannot write them any more: they were in doubt when it mattered."""
    clock = SteeredClock()
    message = await accept(stores[0], clock, ResendPolicy.NEVER)
    cut = Worker("cut", stores[0], clock, HeldProvider())
    other = Worker("other", stores[1], clock, HeldProvider())
    other.provider.answers.set()
    async with cut.working():
        await cut.provider.has(DOUBT)
        cut.store.reachable = False
        cut.provider.answers.set()
        clock.advance(LEASE + 1)
        async with other.working():
            await other.told(message)
        before = await results_of(stores[1], message)
        cut.store.reachable = True

    assert await results_of(stores[0], message) == before
    assert not set(cut.provider.pushed) & set(other.provider.pushed)
    unknown = {token(result.device_id) for result in before if result.outcome is Outcome.UNKNOWN}
    assert unknown == set(cut.provider.pushed)
