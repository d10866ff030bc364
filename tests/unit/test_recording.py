"""The recorder: what is reported is written once, under the lease it was reported under, or not at all (P7)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from bellhop_server.app.recording import Ledger, Recorder
from bellhop_server.domain import Micros
from bellhop_server.domain.batch import BatchReport, Recorded
from bellhop_server.domain.errors import ConcurrentChange
from bellhop_server.domain.message import Outcome, Result
from bellhop_server.queue.local import LocalQueue
from tests.unit.app_fakes import FakeClock, FakeStore, batch_of, device, message

BATCH = batch_of([device("d1"), device("d2")])


def result(device_id: str) -> Result:
    return Result(device_id, "anna", 1, Outcome.ACCEPTED, "", 200, "", 1, 0, 0)


class Desk:
    def __init__(self) -> None:
        self.store = FakeStore(message())
        self.clock = FakeClock()
        self.queue = LocalQueue()
        self.recorder = Recorder(self.store, self.queue, self.clock)
        self.settled: list[int] = []

    def open(self, **changes: object) -> Ledger:
        return self.recorder.open(replace(BATCH, **changes), self.settled.append)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    running = asyncio.create_task(desk.recorder.run())
    yield desk
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_what_is_reported_together_is_written_together(desk: Desk) -> None:
    ledger = desk.open()
    ledger.add(result("d1"))
    ledger.add(result("d2"))

    assert await ledger.finish([])
    assert desk.settled == [2]
    assert [[each.device_id for each in report.results] for report in desk.store.reports] == [["d1", "d2"]]


async def test_reports_under_two_leases_are_two(desk: Desk) -> None:
    ledger, again = desk.open(), desk.open(lease="another")
    desk.store.away = 3
    ledger.add(result("d1"))
    first = asyncio.create_task(ledger.finish([]))
    await asyncio.sleep(0)
    again.add(result("d2"))

    assert await asyncio.gather(first, again.finish([])) == [True, True]
    assert {(report.lease, each.device_id) for report in desk.store.reports for each in report.results} == {
        ("lease", "d1"),
        ("another", "d2"),
    }


async def test_a_race_in_the_store_is_tried_again(desk: Desk) -> None:
    record, races = desk.store.record, [ConcurrentChange(), ConcurrentChange()]

    async def racing(reports: Sequence[BatchReport], now: Micros) -> list[Recorded]:
        if races:
            raise races.pop()
        return await record(reports, now)

    desk.store.record = racing
    ledger = desk.open()
    ledger.add(result("d1"))

    assert await ledger.finish([])
    assert len(desk.store.results) == 1


async def test_a_batch_of_which_something_could_not_be_written_is_never_done(desk: Desk) -> None:
    ledger, other = desk.open(), desk.open(batch_id=2, lease="other")
    record = desk.store.record
    refused = asyncio.Event()

    async def refusing(reports: Sequence[BatchReport], now: Micros) -> list[Recorded]:
        if any(each.device_id == "d1" for report in reports for each in report.results):
            refused.set()
            raise ValueError("what the database will not have")
        return await record(reports, now)

    desk.store.record = refusing
    ledger.add(result("d1"))
    await refused.wait()
    ledger.add(result("d2"))
    other.add(result("d3"))

    assert await asyncio.gather(ledger.finish([]), other.finish([])) == [False, True]
    assert [each.device_id for each in desk.store.results] == ["d3"]
