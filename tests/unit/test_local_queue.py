"""Announcements within one process."""

from bellhop_server.domain.batch import Recorded
from bellhop_server.domain.message import Outcome, Result
from bellhop_server.ports import Work
from bellhop_server.queue.local import MAX_RECENT, LocalQueue


def results(count: int, start: int = 1) -> list[Result]:
    return [Result(f"d{n}", "", 1, Outcome.ACCEPTED, "", 200, "", 1, n, 0) for n in range(start, start + count)]


def recorded(first: int, count: int, completed: bool = False) -> Recorded:
    return Recorded(7, first, results(count, first), completed)


async def test_a_listener_hears_what_came_between_two_waits() -> None:
    queue = LocalQueue()
    planner, worker = queue.listen(Work.PLAN), queue.listen(Work.DELIVER)

    queue.announce_work(Work.PLAN)
    queue.announce_work(Work.PLAN)

    assert await planner.wait(0)
    assert not await planner.wait(0)
    assert not await worker.wait(0)


async def test_a_closed_listener_hears_nothing() -> None:
    queue = LocalQueue()
    listener = queue.listen(Work.PLAN)
    listener.close()

    queue.announce_work(Work.PLAN)

    assert not await listener.wait(0)


async def test_a_reader_that_keeps_up_reads_from_memory() -> None:
    queue = LocalQueue()
    reader = queue.subscribe(7)

    assert reader.recent(0, 10) is None

    queue.announce_results(recorded(1, 3))
    queue.announce_results(recorded(4, 2, completed=True))

    assert await reader.wait(0)
    assert reader.recent(0, 10) == results(5)
    assert reader.recent(2, 2) == results(2, 3)
    assert reader.recent(5, 10) == []
    assert reader.completed


async def test_a_gap_sends_the_reader_to_the_store() -> None:
    queue = LocalQueue()
    reader = queue.subscribe(7)
    queue.announce_results(recorded(1, 3))
    queue.announce_results(recorded(6, 2))

    assert reader.recent(3, 10) is None
    assert reader.recent(5, 10) == results(2, 6)


async def test_a_slow_reader_costs_no_more_than_the_limit() -> None:
    queue = LocalQueue()
    reader = queue.subscribe(7)
    for first in range(1, 3 * MAX_RECENT, 500):
        queue.announce_results(recorded(first, 500))

    assert reader.recent(0, 10) is None
    assert len(reader.recent(2 * MAX_RECENT + 500, 10 * MAX_RECENT) or []) <= MAX_RECENT


async def test_other_messages_are_not_heard_and_nothing_is_kept_for_nobody() -> None:
    queue = LocalQueue()
    reader = queue.subscribe(8)
    queue.announce_results(recorded(1, 3))

    assert not await reader.wait(0)

    reader.close()
    queue.announce_results(Recorded(8, 1, results(1), False))
    again = queue.subscribe(8)

    assert again.recent(0, 10) is None


async def test_two_readers_share_what_is_kept() -> None:
    queue = LocalQueue()
    early = queue.subscribe(7)
    queue.announce_results(recorded(1, 3))
    late = queue.subscribe(7)

    assert late.recent(1, 10) == results(2, 2)

    early.close()

    assert late.recent(1, 10) == results(2, 2)


async def test_what_is_announced_late_neither_hides_what_came_after_it_nor_comes_back() -> None:
    """Two who write at once may announce in another order than they committed in."""
    queue = LocalQueue()
    reader = queue.subscribe(7)
    queue.announce_results(recorded(4, 2))
    queue.announce_results(recorded(1, 3))

    assert reader.recent(0, 10) is None
    assert reader.recent(3, 10) == results(2, 4)
    assert reader.recent(5, 10) == []


async def test_what_every_reader_has_passed_is_dropped() -> None:
    queue = LocalQueue()
    readers = [queue.subscribe(7), queue.subscribe(7)]
    queue.announce_results(recorded(1, 10))
    assert [reader.recent(at, 10) for reader, at in zip(readers, (6, 8), strict=True)] == [results(4, 7), results(2, 9)]

    queue.announce_results(recorded(11, 10))

    late = queue.subscribe(7)
    assert late.recent(5, 100) is None
    assert late.recent(6, 100) == results(14, 7)


async def test_nothing_is_kept_for_readers_that_fell_far_behind() -> None:
    queue = LocalQueue()
    slow, fast = queue.subscribe(7), queue.subscribe(7)
    announced = 0
    while announced <= MAX_RECENT:
        queue.announce_results(recorded(announced + 1, 500))
        announced += 500
        assert fast.recent(announced, 10) == []
        assert slow.recent(0, 10) == (results(10) if announced <= MAX_RECENT else None)

    queue.announce_results(recorded(announced + 1, 500))

    assert fast.recent(announced - 1, 10) is None, "what the fast reader had passed was kept"
    assert fast.recent(announced, 1000) == results(500, announced + 1)


def of(ref: int, first: int, count: int, completed: bool = False) -> Recorded:
    return Recorded(ref, first, results(count, first), completed)


async def test_a_gathering_hears_of_what_it_follows_alone() -> None:
    queue = LocalQueue()
    gathering, other = queue.gather(), queue.gather()
    gathering.follow(1)
    gathering.follow(1)
    gathering.follow(2)
    other.follow(2)
    for ref in (1, 2, 3):
        queue.announce_results(of(ref, 1, 1))

    assert await gathering.wait(0)
    assert gathering.news() == {1: [of(1, 1, 1)], 2: [of(2, 1, 1)]}
    assert other.news() == {2: [of(2, 1, 1)]}
    assert gathering.news() == {}
    gathering.leave(1)
    gathering.leave(1)
    queue.announce_results(of(1, 2, 1))
    assert not await gathering.wait(0)
    gathering.close()
    queue.announce_results(of(2, 2, 1))
    assert gathering.news() == {}
    assert other.news() == {2: [of(2, 2, 1)]}
    other.close()
    assert not queue._gatherings


async def test_a_gathering_keeps_so_much_of_all_its_messages_together() -> None:
    queue = LocalQueue()
    gathering = queue.gather()
    for ref in range(10):
        gathering.follow(ref)
    for ref in range(10):
        queue.announce_results(of(ref, 1, MAX_RECENT // 5, completed=True))

    news = gathering.news()
    assert sum(len(each.results) for kept in news.values() for each in kept or ()) == MAX_RECENT
    assert [ref for ref, kept in news.items() if kept is None] == [5, 6, 7, 8, 9]
    queue.announce_results(of(7, 801, 1))
    assert gathering.news() == {7: [of(7, 801, 1)]}
