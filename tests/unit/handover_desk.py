"""A hand-over with its doubles, for tests of the life of a batch."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext, suppress

from bellhop_server.app.fencing import Fence
from bellhop_server.app.handover import Handover
from bellhop_server.app.hygiene import Hygiene
from bellhop_server.app.recording import Recorder
from bellhop_server.domain.batch import ClaimedBatch
from bellhop_server.domain.device import Device, Platform
from bellhop_server.domain.message import Message, Outcome
from bellhop_server.queue.local import LocalQueue
from tests.sealing import STAMPER
from tests.unit.app_fakes import FakeClock, FakeProvider, FakeStore


class Desk:
    """A hand-over with its doubles."""

    def __init__(self, sent: Message, devices: Sequence[Device]) -> None:
        self.clock = FakeClock()
        self.store = FakeStore(sent, devices)
        self.provider = FakeProvider(self.store)
        self.fence = Fence(nullcontext)
        self.recorder = Recorder(self.store, LocalQueue(), self.clock)
        self.settled = 0
        self.hygiene = Hygiene(self.store, self.clock)
        self.handover = Handover(
            self.store,
            self.clock,
            self.fence,
            self.recorder,
            self.hygiene,
            {Platform.APNS: self.provider},
            STAMPER,
        )

    async def carry_out(self, batch: ClaimedBatch) -> None:
        writer = asyncio.create_task(self.recorder.run())
        try:
            async with asyncio.timeout(5):
                await self.handover.carry_out(batch, self._settle)
        finally:
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer

    def _settle(self, results: int) -> None:
        self.settled += results

    @property
    def outcomes(self) -> dict[str, Outcome]:
        assert len({result.device_id for result in self.store.results}) == len(self.store.results)
        return {result.device_id: result.outcome for result in self.store.results}
