"""The fence: what a mark names, when it ends, what a call waits for, and how long at most (P3)."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from bellhop_server.app import fencing
from bellhop_server.app.fencing import DIGITS, Fence, Names
from bellhop_server.domain.batch import Item
from bellhop_server.domain.delivery import HANDOVER
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.errors import ServiceUnavailable

pytestmark = pytest.mark.promise("P3")

TARGET = Target(Platform.APNS, "aa")
OTHER = Target(Platform.APNS, "bb")


class Aside:
    """How many wait at the moment, and how many ever did."""

    def __init__(self) -> None:
        self.now = 0
        self.entered = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.now += 1
        self.entered += 1
        try:
            yield
        finally:
            self.now -= 1


def item(device_id: str, user_id: str = "anna", target: Target = TARGET) -> Item:
    return Item(device_id, user_id, 1, target.digest.hex()[:DIGITS], Platform.APNS)


@pytest.fixture
def aside() -> Aside:
    return Aside()


@pytest.fixture
def fence(aside: Aside) -> Fence:
    return Fence(aside)


async def test_a_mark_is_found_by_each_of_its_names_and_by_no_other(fence: Fence) -> None:
    fence.mark("shop", 1, [item("d1"), item("d2", "ben", OTHER)])

    assert len(fence.ends("shop", [Names(["d1"])])) == 1
    assert len(fence.ends("shop", [], "ben")) == 1
    assert fence.ends("shop", [Names(targets=[OTHER])]) == fence.ends("shop", [], "ben")
    assert len(fence.ends("shop", [Names(["d1"], [TARGET])], "anna")) == 1
    assert len(fence.ends("shop", [Names(["d1", "d2"])])) == 2
    assert fence.ends("shop", [Names(["d3"], [Target(Platform.FCM, "aa")])], "cora") == set()
    assert fence.ends("bank", [Names(["d1"], [TARGET])], "anna") == set()


async def test_each_device_of_a_mark_ends_by_itself(fence: Fence) -> None:
    mark = fence.mark("shop", 1, [item("d1"), item("d2")])
    waiting = asyncio.create_task(fence.wait(fence.ends("shop", [Names(["d1"])])))
    mark.end(1)
    mark.end(1)
    await asyncio.sleep(0)
    assert not waiting.done()
    assert fence.ends("shop", [Names(["d2"])]) == set()

    mark.end(0)
    await waiting
    assert fence.ends("shop", [Names(targets=[TARGET])]) == set()


async def test_one_device_for_two_users_is_open_until_both_have_ended(fence: Fence) -> None:
    mark = fence.mark("shop", 1, [item("d1"), item("d1", "ben")])
    assert len(fence.ends("shop", [Names(["d1"])])) == 2
    mark.end(0)
    await asyncio.sleep(0)
    assert len(fence.ends("shop", [Names(["d1"])])) == 1
    assert fence.ends("shop", [], "anna") == set()


async def test_a_mark_ends_with_its_context_whatever_happens(fence: Fence) -> None:
    with suppress(ValueError), fence.mark("shop", 1, [item("d1")]):
        waiting = asyncio.create_task(fence.wait(fence.ends("shop", [Names(["d1"])])))
        await asyncio.sleep(0)
        raise ValueError

    await waiting
    assert fence.ends("shop", [Names(["d1"])]) == set()


async def test_with_nothing_in_flight_there_is_nothing_to_wait_for(fence: Fence, aside: Aside) -> None:
    loop = asyncio.get_running_loop()
    made: list[object] = []
    create_future = loop.create_future

    def counting() -> "asyncio.Future[object]":
        future = create_future()
        made.append(future)
        return future

    with pytest.MonkeyPatch.context() as patch, fence.mark("shop", 1, [item("d9", "zoe", OTHER)]):
        patch.setattr(loop, "create_future", counting)
        waiting = fence.wait(fence.ends("shop", [Names(["d1"], [TARGET])], "anna"))
        with pytest.raises(StopIteration):
            waiting.send(None)

    assert made == []
    assert aside.entered == 0


async def test_those_who_wait_for_the_same_share_what_they_wait_for(fence: Fence, aside: Aside) -> None:
    mark = fence.mark("shop", 1, [item("d1")])
    ends = [fence.ends("shop", [Names(["d1"])]) for _ in range(50)]
    assert all(each == ends[0] for each in ends)
    waiting = [asyncio.create_task(fence.wait(each)) for each in ends]
    await asyncio.sleep(0)
    assert aside.now == 50

    mark.end_all()
    await asyncio.gather(*waiting)
    assert aside.now == 0


async def test_what_a_device_waited_for_is_waited_for_by_its_next_call(fence: Fence) -> None:
    mark = fence.mark("shop", 1, [item("d1")])
    fence.ends("shop", [Names(["d2"], [TARGET])])

    assert len(fence.ends("shop", [Names(["d2"])])) == 1
    assert fence.ends("bank", [Names(["d2"])]) == fence.ends("shop", [Names(["d3"])]) == set()
    mark.end(0)
    await asyncio.sleep(0)
    assert fence.ends("shop", [Names(["d2"])]) == set()
    assert not fence._awaited


async def test_whoever_leaves_takes_nothing_with_him(fence: Fence, aside: Aside) -> None:
    mark = fence.mark("shop", 1, [item("d1")])
    first, second = (asyncio.create_task(fence.wait(fence.ends("shop", [Names(["d1"])]))) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert aside.now == 1
    assert not second.done()

    mark.end(0)
    await second


async def test_a_wait_has_an_end_though_a_provider_never_speaks(
    fence: Fence, aside: Aside, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert fencing.LONGEST > HANDOVER
    monkeypatch.setattr(fencing, "LONGEST", 0.01)
    mark = fence.mark("shop", 1, [item("d1"), item("d2")])
    mark.end(1)
    async with asyncio.timeout(5):
        with pytest.raises(ServiceUnavailable) as refused:
            await fence.wait(fence.ends("shop", [Names(["d1"])]))
        assert refused.value.metadata == {"cause": "fence"}
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        with pytest.raises(ServiceUnavailable):
            await fence.wait_for_message("shop", 1)
    assert aside.now == 0

    mark.end_all()
    await fence.wait(fence.ends("shop", [Names(["d1"])]))
    await fence.wait_for_message("shop", 1)


async def test_what_a_user_waited_for_is_waited_for_by_the_next_logout(fence: Fence) -> None:
    """Also what names neither the user nor a device that is still there."""
    mark = fence.mark("shop", 1, [item("d1")])
    first = fence.ends("shop", [Names(["d2"], [TARGET])], "ben")

    assert fence.ends("shop", [], "ben") == first
    assert len(first) == 1
    assert (
        fence.ends("bank", [], "ben") == fence.ends("shop", [], "cora") == fence.ends("shop", [Names(["ben"])]) == set()
    )
    mark.end(0)
    await asyncio.sleep(0)
    assert not fence._awaited


async def test_each_device_of_a_user_remembers_its_own_alone(fence: Fence) -> None:
    """Else a user with many devices would stop the server for as long as it takes to tell each of all others."""
    count = 1000
    targets = [Target(Platform.APNS, f"{number:064x}") for number in range(count)]
    marks = [fence.mark("shop", number, [item(f"d{number}", target=target)]) for number, target in enumerate(targets)]
    groups = [Names([f"d{number}"], [target]) for number, target in enumerate(targets)]
    ends: set[asyncio.Future[None]] = set()
    for start in range(0, count, 100):
        ends |= fence.ends("shop", groups[start : start + 100], "anna")

    assert len(ends) == count
    assert sum(map(len, fence._awaited.values())) <= 2 * count
    assert all(len(fence.ends("shop", [Names([f"d{number}"])])) == 1 for number in range(count))
    assert fence.ends("shop", [], "anna") == ends
    for mark in marks:
        mark.end_all()
    await asyncio.sleep(0)
    assert not fence._awaited


async def test_a_message_is_waited_for_as_a_whole(fence: Fence) -> None:
    first, second = fence.mark("shop", 1, [item("d1"), item("d2")]), fence.mark("shop", 2, [item("d1")])
    waiting = asyncio.create_task(fence.wait_for_message("shop", 1))
    await asyncio.sleep(0)
    second.end_all()
    first.end(0)
    await asyncio.sleep(0)
    assert not waiting.done()

    first.end(1)
    await waiting
    await fence.wait_for_message("shop", 2)


async def test_a_mark_of_nothing_is_none(fence: Fence) -> None:
    with fence.mark("shop", 1, []):
        await fence.wait_for_message("shop", 1)
