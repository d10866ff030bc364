"""What is due is found and claimed by lane, on both databases: in turn, in the share asked for, never early."""

import uuid

import pytest

from bellhop_server.domain.batch import BATCH_SIZE, ClaimedBatch, NewBatch
from bellhop_server.domain.lanes import Lane, Share, Survey
from bellhop_server.domain.notification import Priority
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import APP, LEASE, NOW, items, send

pytestmark = pytest.mark.promise("P12")

NORMAL = Lane(APP, Priority.NORMAL)
HIGH = Lane(APP, Priority.HIGH)


async def write(store: SqlStore, *batches: NewBatch, app_id: str = APP) -> int:
    """A message with these batches; its ref."""
    message = (await store.accept(send(app_id=app_id), "mark", uuid.uuid4().hex, NOW)).message
    page = AudiencePage([item for batch in batches for item in batch.items], [], None)
    await store.add_plan(message.ref, "", page, batches, NOW)
    return message.ref


def batch(*names: str, turn: int = NOW, priority: Priority = Priority.NORMAL, retry: bool = False) -> NewBatch:
    return NewBatch(items(*names), turn, priority, retry)


async def claim(store: SqlStore, *shares: Share, now: int = NOW, held: tuple[int, ...] = ()) -> list[ClaimedBatch]:
    return await store.claim("worker", now, now + LEASE - NOW, shares, held)


def names(claimed: list[ClaimedBatch]) -> list[str]:
    return ["".join(item.device_id for item in each.items) for each in claimed]


async def test_an_empty_store_has_no_lanes(store: SqlStore) -> None:
    assert await store.survey(NOW, []) == Survey([], None)
    assert await claim(store, Share(NORMAL, 100, 10)) == []


async def test_lanes_that_have_something_due_are_found(store: SqlStore) -> None:
    await write(store, batch("a"), batch("b", priority=Priority.HIGH), batch("c", turn=NOW + 10**9))
    await write(store, batch("d", turn=NOW + 5, retry=True, priority=Priority.LOW))

    assert await store.survey(NOW, []) == Survey([NORMAL, HIGH], NOW + 5)
    assert await store.survey(NOW + 5, []) == Survey([Lane(APP, Priority.LOW), NORMAL, HIGH], None)


async def test_applications_have_lanes_of_their_own(store: SqlStore) -> None:
    for app_id in ("b", "a", "c"):
        await write(store, batch("x", app_id), app_id=app_id)

    assert (await store.survey(NOW, [])).lanes == [Lane(app_id, Priority.NORMAL) for app_id in "abc"]
    assert names(await claim(store, Share(Lane("b", Priority.NORMAL), 9, 9))) == ["xb"]
    assert (await store.survey(NOW, [])).lanes == [Lane(app_id, Priority.NORMAL) for app_id in "ac"]


async def test_batches_come_by_their_turn(store: SqlStore) -> None:
    await write(store, *(batch(f"broadcast{place}", turn=NOW + place * 1000) for place in range(5)))
    await write(store, batch("login", turn=NOW + 1500))

    assert names(await claim(store, Share(NORMAL, 100, 100))) == [
        "broadcast0",
        "broadcast1",
        "login",
        "broadcast2",
        "broadcast3",
        "broadcast4",
    ]


async def test_a_share_ends_with_the_batch_that_fills_it(store: SqlStore) -> None:
    await write(store, *(batch(f"{place}a", f"{place}b", turn=NOW + place) for place in range(4)))

    assert names(await claim(store, Share(NORMAL, 3, 64))) == ["0a0b", "1a1b"]
    assert names(await claim(store, Share(NORMAL, 64, 1))) == ["2a2b"]
    assert names(await claim(store, Share(NORMAL, 1, 1))) == ["3a3b"]


async def test_a_retry_is_never_early(store: SqlStore) -> None:
    await write(store, batch("later", turn=NOW + 10, retry=True), batch("sooner", turn=NOW - 1, retry=True))

    assert names(await claim(store, Share(NORMAL, 9, 9))) == ["sooner"]
    assert names(await claim(store, Share(NORMAL, 9, 9), now=NOW + 9)) == []
    assert names(await claim(store, Share(NORMAL, 9, 9), now=NOW + 10)) == ["later"]


async def test_what_lapsed_comes_again_in_its_turn_and_in_doubt_if_it_was_begun(store: SqlStore) -> None:
    await write(store, batch("begun", turn=NOW), batch("claimed", turn=NOW + 1), batch("fresh", turn=NOW + 2))
    begun, _ = await claim(store, Share(NORMAL, 2, 9))
    assert await store.start(begun.batch_id, begun.lease, NOW, LEASE)

    assert (await store.survey(NOW, [])) == Survey([NORMAL], LEASE)
    again = await claim(store, Share(NORMAL, 9, 9), now=LEASE)

    assert [(name, each.in_doubt) for name, each in zip(names(again), again, strict=True)] == [
        ("begun", True),
        ("claimed", False),
        ("fresh", False),
    ]
    assert not await store.start(begun.batch_id, begun.lease, NOW, LEASE)


async def test_what_the_worker_still_has_in_hand_is_not_given_to_it_again(store: SqlStore) -> None:
    await write(store, batch("one"))
    [held] = await claim(store, Share(NORMAL, 9, 9))

    assert await store.survey(LEASE, [held.batch_id]) == Survey([], None)
    assert await claim(store, Share(NORMAL, 9, 9), now=LEASE, held=(held.batch_id,)) == []
    assert names(await claim(store, Share(NORMAL, 9, 9), now=LEASE)) == ["one"]


async def test_what_is_given_back_can_be_claimed_at_once(store: SqlStore) -> None:
    await write(store, batch("one"), batch("two"))
    one, _ = await claim(store, Share(NORMAL, 9, 9))
    await store.start(one.batch_id, one.lease, NOW, LEASE)

    assert await store.release("worker") == 1
    assert names(await claim(store, Share(NORMAL, 9, 9))) == ["two"]


async def test_a_share_of_many_small_batches(store: SqlStore) -> None:
    await write(store, *(batch(f"d{place}", turn=NOW + place) for place in range(2 * BATCH_SIZE)))

    first = await claim(store, Share(NORMAL, BATCH_SIZE, 2 * BATCH_SIZE))

    assert names(first) == [f"d{place}" for place in range(BATCH_SIZE)]
