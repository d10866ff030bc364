"""The marks of a hand-over in the fence: when they are made, and for how long they stand (P3)."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from bellhop_server.app.fencing import Mark, Names
from bellhop_server.domain.batch import Item
from bellhop_server.domain.delivery import Answer, Chunk, Reading, Verdict
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.message import (
    Outcome,
)
from tests.unit.app_fakes import batch_of, device, message
from tests.unit.handover_desk import Desk

Report = Callable[[int, Answer], None]


@pytest.mark.promise("P3")
async def test_a_target_that_moved_is_marked_anew_and_read_again() -> None:
    planned, moved = [device("d1"), device("d2")], device("d2", target=Target(Platform.APNS, "ffff"))
    desk = Desk(message(), [planned[0], moved])
    marked: list[list[str]] = []
    mark = desk.fence.mark

    def noting(app_id: str, message_ref: int, items: Sequence[Item]) -> Mark:
        marked.append([item.target_digest for item in items])
        desk.store.log.append("mark")
        return mark(app_id, message_ref, items)

    desk.fence.mark = noting

    await desk.carry_out(batch_of(planned))

    first, second = (each.target.digest.hex()[:16] for each in planned)
    assert marked == [[first, second], [moved.target.digest.hex()[:16]]]
    assert [what for what in desk.store.log if what in ("mark", "read")] == ["mark", "read", "mark", "read"]
    assert [each.address for chunk in desk.provider.chunks for each in chunk.deliveries] == ["d1ab", "ffff"]
    assert desk.outcomes == {"d1": Outcome.ACCEPTED, "d2": Outcome.ACCEPTED}


@pytest.mark.promise("P3")
async def test_a_mark_stands_for_as_long_as_anything_is_handed_over_whatever_else_fails() -> None:
    planned, moved = [device("d1"), device("d2")], device("d2", target=Target(Platform.APNS, "ffff"))
    desk = Desk(message(), [planned[0], moved])
    read = desk.store.read_present
    reads = 0

    async def fail_the_second_time(*what: object) -> Reading:
        nonlocal reads
        reads += 1
        if reads == 2:
            raise RuntimeError("broken")
        return await read(*what)

    desk.store.read_present = fail_the_second_time
    still_open: list[int] = []

    async def send(chunk: Chunk, report: Report, handed_over: Callable[[int], None]) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        still_open.append(len(desk.fence.ends("shop", [Names(["d1"])])))
        report(0, Answer(Verdict.ACCEPTED, 200))

    desk.provider.send = send

    with pytest.raises(RuntimeError):
        await desk.carry_out(batch_of(planned))
    assert still_open == [1]


@pytest.mark.promise("P3")
async def test_a_mark_ends_with_what_the_provider_says_of_each_device() -> None:
    phones = [device("d1"), device("d2"), device("d3")]
    desk = Desk(message(), phones)
    open_at: list[set[str]] = []

    async def send(chunk: Chunk, report: Report, handed_over: Callable[[int], None]) -> None:
        def note() -> None:
            open_at.append({each.device_id for each in phones if desk.fence.ends("shop", [Names([each.device_id])])})

        note()
        report(1, Answer(Verdict.ACCEPTED, 200))
        await asyncio.sleep(0)
        note()
        handed_over(0)
        await asyncio.sleep(0)
        note()
        report(0, Answer(Verdict.ACCEPTED, 200))
        report(2, Answer(Verdict.NOT_SENT, reason="Refused"))
        await asyncio.sleep(0)
        note()

    desk.provider.send = send

    await desk.carry_out(batch_of(phones))

    assert open_at == [{"d1", "d2", "d3"}, {"d1", "d3"}, {"d3"}, set()]
    assert desk.settled == 2
