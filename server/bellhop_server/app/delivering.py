"""The worker: claims batches under leases and carries them out, several at a time."""

import asyncio
import logging

from bellhop_server.app.handover import Handover
from bellhop_server.domain import SECOND
from bellhop_server.domain.batch import ClaimedBatch
from bellhop_server.domain.delivery import LEASE
from bellhop_server.domain.errors import BellhopError
from bellhop_server.ports import Clock, Queue, Store, Work

# Batches under way at once: enough streams to fill a provider's connections at its latency, few enough to stay small.
SLOTS = 8
POLL = 5.0
PAUSE = 0.5

_log = logging.getLogger(__name__)


class Deliverer:
    """One worker. `name` tells its leases from those of others."""

    def __init__(self, name: str, store: Store, queue: Queue, clock: Clock, handover: Handover) -> None:
        self._name = name
        self._store = store
        self._queue = queue
        self._clock = clock
        self._handover = handover
        self._listener = queue.listen(Work.DELIVER)
        self._active: set[asyncio.Task[None]] = set()
        self._held: set[int] = set()

    async def run(self) -> None:
        """Works until cancelled. What is under way then goes on until `drain` has waited for it."""
        if self._store.exclusive:
            await self._patiently_end_leases()
        while True:
            free = SLOTS - len(self._active)
            claimed = await self._claim(free) if free else []
            for batch in claimed:
                self._held.add(batch.batch_id)
                task = asyncio.create_task(self._carry_out(batch))
                self._active.add(task)
                task.add_done_callback(self._ended)
            await self._listener.wait(POLL if len(claimed) == free else await self._until_due())

    async def drain(self, timeout: float) -> None:
        """Waits for the batches under way, at most that many seconds, and gives back what was not started."""
        if self._active:
            await asyncio.wait(self._active, timeout=timeout)
        for task in self._active:
            task.cancel()
        await asyncio.gather(*self._active, return_exceptions=True)
        self._listener.close()
        try:
            await self._store.release(self._name)
        except BellhopError:
            _log.warning("claims could not be given back; their leases will end")

    async def _patiently_end_leases(self) -> None:
        """The store is ours alone: whoever held a lease is dead."""
        while True:
            try:
                await self._store.end_leases(self._clock.now())
            except BellhopError:
                await self._clock.sleep(PAUSE)
            else:
                return

    async def _claim(self, limit: int) -> list[ClaimedBatch]:
        now = self._clock.now()
        try:
            # A store that was away for longer than a lease must not have us do again what we still have in hand.
            return await self._store.claim(self._name, now, now + int(LEASE * SECOND), limit, self._held)
        except BellhopError:
            await self._clock.sleep(PAUSE)
            return []
        except Exception:
            _log.exception("claiming failed")
            await self._clock.sleep(PAUSE)
            return []

    async def _carry_out(self, batch: ClaimedBatch) -> None:
        try:
            await self._handover.carry_out(batch)
        except BellhopError:
            _log.warning("a batch is left until its lease ends", extra={"batch_id": batch.batch_id})
        except Exception:
            _log.exception("a batch failed", extra={"batch_id": batch.batch_id})
        finally:
            self._held.discard(batch.batch_id)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._active.discard(task)
        self._listener.wake()

    async def _until_due(self) -> float:
        try:
            due = await self._store.next_due()
        except BellhopError:
            return PAUSE
        if due is None:
            return POLL
        return min(POLL, max(0.05, (due - self._clock.now()) / SECOND))
