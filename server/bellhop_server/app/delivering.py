"""The worker: claims batches under leases, lane by lane, and carries them out, many at a time."""

import asyncio
import logging

from bellhop_server.app.handover import Handover
from bellhop_server.domain import SECOND
from bellhop_server.domain.batch import ClaimedBatch
from bellhop_server.domain.delivery import LEASE
from bellhop_server.domain.errors import BellhopError
from bellhop_server.domain.lanes import Lane, Lanes
from bellhop_server.ports import Clock, Queue, Store, Work

POLL = 5.0
PAUSE = 0.5
# Seconds after which a worker looks again that another one has forestalled.
FORESTALLED = 0.05

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
        self._lanes = Lanes()
        self._active: set[asyncio.Task[None]] = set()
        self._held: set[int] = set()

    async def run(self) -> None:
        """Works until cancelled. What is under way then goes on until `drain` has waited for it."""
        if self._store.exclusive:
            await self._patiently_end_leases()
        while True:
            try:
                idle = await self._take_on()
            except BellhopError:
                await self._clock.sleep(PAUSE)
            except Exception:
                _log.exception("claiming failed")
                await self._clock.sleep(PAUSE)
            else:
                await self._listener.wait(idle)

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

    async def _take_on(self) -> float:
        """Claims a share of each lane that has something due; returns the seconds until there may be more to claim."""
        now = self._clock.now()
        # A store that was away for longer than a lease must not have us do again what we still have in hand.
        survey = await self._store.survey(now, self._held)
        shares = self._lanes.allot(survey.lanes)
        if not shares:
            # What has no room now wakes us when it has.
            return POLL if survey.next_due is None else min(POLL, max(0.0, (survey.next_due - now) / SECOND))
        lease_until = now + int(LEASE * SECOND)
        found: dict[Lane, list[ClaimedBatch]] = {share.lane: [] for share in shares}
        try:
            for batch in await self._store.claim(self._name, now, lease_until, shares, self._held):
                found[Lane(batch.app_id, batch.priority)].append(batch)
        finally:
            for share in shares:
                batches = found[share.lane]
                if self._lanes.took(share, sum(len(batch.items) for batch in batches), len(batches)):
                    self._listener.wake()
        for lane, batches in found.items():
            for batch in batches:
                self._held.add(batch.batch_id)
                task = asyncio.create_task(self._carry_out(lane, batch))
                self._active.add(task)
                task.add_done_callback(self._active.discard)
        if not any(found.values()):
            return FORESTALLED
        # A share is rarely all there is. Those that have no room wake us when they have.
        return 0.0 if self._lanes.have_room(survey.lanes) else POLL

    async def _carry_out(self, lane: Lane, batch: ClaimedBatch) -> None:
        left = len(batch.items)

        def settle(results: int) -> None:
            nonlocal left
            results = min(results, left)
            left -= results
            if self._lanes.give_back(lane, results):
                self._listener.wake()

        finished = False
        try:
            finished = await self._handover.carry_out(batch, settle)
        except BellhopError:
            _log.warning("a batch is left until its lease ends", extra={"batch_id": batch.batch_id})
        except Exception:
            _log.exception("a batch failed", extra={"batch_id": batch.batch_id})
        finally:
            self._held.discard(batch.batch_id)
            settle(left)
            if not finished:
                # Its lease may have ended long ago.
                self._listener.wake()
