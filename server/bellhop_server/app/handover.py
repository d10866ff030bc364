"""The life of one batch: from the claim to its last result."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from bellhop_server.app.brief import Briefs
from bellhop_server.app.doubt import Doubt
from bellhop_server.app.fencing import Fence, Mark
from bellhop_server.app.hygiene import Hygiene
from bellhop_server.app.recording import Recorder
from bellhop_server.app.sheet import Sheet
from bellhop_server.app.sorting import Entry, Lot, sort
from bellhop_server.app.stamping import Stamper
from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.batch import ClaimedBatch, Item, NewBatch
from bellhop_server.domain.delivery import HANDOVER, LEASE, Answer, Reading, Verdict
from bellhop_server.domain.device import Platform
from bellhop_server.domain.errors import BellhopError, Unavailable
from bellhop_server.domain.message import Outcome
from bellhop_server.domain.retry import LAST_TRY
from bellhop_server.ports import Clock, Provider, Store

JITTER = 0.2
# Seconds until what the store could not do is tried again.
STORE_AWAY = 1.0

_log = logging.getLogger(__name__)


class Handover:
    """Carries out batches."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        fence: Fence,
        recorder: Recorder,
        hygiene: Hygiene,
        providers: Mapping[Platform, Provider],
        stamper: Stamper,
    ) -> None:
        self._store = store
        self._clock = clock
        self._fence = fence
        self._doubt = Doubt()
        self._recorder = recorder
        self._hygiene = hygiene
        self._providers = providers
        self._stamper = stamper
        self.briefs = Briefs(store)

    async def carry_out(self, batch: ClaimedBatch, settled: Callable[[int], None]) -> bool:
        """Brings every item of a claimed batch to a final result or into a batch of its own for later.

        `settled` hears how many results more are committed, or lost. False: the batch is ours no longer, or cannot be
        written, and comes again. Raises what the store raises where it is asked about the batch.
        """
        brief = await self.briefs.of(batch.message_ref)
        at_stake = sum(
            not brief.terms(item.platform).may_resend(item.doubts + batch.interruptions + 1) for item in batch.items
        )
        lane, whole = (batch.app_id, batch.priority), at_stake == len(batch.items)
        async with self._doubt.about(lane, at_stake, whole=whole) as resolved:

            def count(results: int) -> None:
                resolved(results)
                settled(results)

            ledger, suspects = self._recorder.open(batch, count), self._hygiene.suspects(batch.app_id)
            sheet = Sheet(batch, brief, ledger, suspects)
            items = await self._left(sheet) if batch.in_doubt else batch.items
            return await self._try(sheet, items) and await self._finish(sheet)

    async def _try(self, sheet: Sheet, items: Sequence[Item]) -> bool:
        """One attempt at each, unless it is too late. False: the batch is ours no longer."""
        while items:
            now = self._clock.now()
            for item in items:
                if now >= sheet.brief.terms(item.platform).last_call:
                    sheet.withhold(item, Outcome.EXPIRED, item.obstacle or "Expired", item.obstacle_status, now)
            items = [item for item in items if now < sheet.brief.terms(item.platform).last_call]
            try:
                return not items or await self._attempt(sheet, items)
            except Unavailable:
                # Nothing has been handed over, though the start may be committed: once more, while the lease is ours.
                await self._clock.sleep(STORE_AWAY)
        return True

    async def _left(self, sheet: Sheet) -> list[Item]:
        """What an interrupted worker left without a result, less what must not go again."""
        reported = await self._store.reported(sheet.batch)
        now = self._clock.now()
        left = []
        for item in sheet.batch.items:
            if (item.device_id, item.user_id) in reported:
                continue
            item.attempts += sheet.batch.interruptions
            item.doubts += sheet.batch.interruptions
            if sheet.brief.terms(item.platform).may_resend(item.doubts):
                left.append(item)
            else:
                sheet.withhold(item, Outcome.UNKNOWN, "Interrupted", 0, now)
        return left

    async def _attempt(self, sheet: Sheet, items: Sequence[Item]) -> bool:
        """Marks, then reads, and meanwhile starts the batch; then hands over. False: the batch is ours no longer."""
        batch = sheet.batch
        # Both clocks are read before the start is committed, so that neither limit is later than the lease allows.
        deadline, now = self._clock.monotonic() + HANDOVER, self._clock.now()
        with self._fence.mark(batch.app_id, batch.message_ref, items) as mark:
            reading = asyncio.create_task(self._read(sheet, items))
            try:
                begun = await self._store.start(batch.batch_id, batch.lease, now, now + int(LEASE * SECOND))
                found = await reading
            finally:
                reading.cancel()
            if begun:
                await self._pass_on(sheet, items, found, mark, deadline)
            return begun

    async def _follow(self, sheet: Sheet, items: Sequence[Item], deadline: float) -> None:
        """Marks anew those that have another target by now than the one that was marked, and reads again."""
        batch = sheet.batch
        with self._fence.mark(batch.app_id, batch.message_ref, items) as mark:
            await self._pass_on(sheet, items, await self._read(sheet, items), mark, deadline)

    async def _read(self, sheet: Sheet, items: Sequence[Item]) -> Reading | None:
        """None: the store is away."""
        batch = sheet.batch
        try:
            return await self._store.read_present(batch.app_id, batch.message_ref, [item.device_id for item in items])
        except Unavailable:
            return None

    async def _pass_on(
        self, sheet: Sheet, items: Sequence[Item], reading: Reading | None, mark: Mark, deadline: float
    ) -> None:
        now = self._clock.now()
        if reading is None:
            sheet.again[STORE_AWAY].extend(items)
            return
        if reading.cancelled:
            for item in items:
                sheet.withhold(item, Outcome.CANCELLED, "Cancelled", 0, now)
            return
        sorted_out = sort(sheet.brief, items, reading, now, self._stamper)
        for item, outcome, reason in sorted_out.withheld:
            sheet.withhold(item, outcome, reason, 0, now)
        steps = [self._send(sheet, lot, mark, deadline) for lot in sorted_out.lots]
        if sorted_out.moved:
            for position, _ in sorted_out.moved:
                mark.end(position)
            steps.append(self._follow(sheet, [item for _, item in sorted_out.moved], deadline))
        if len(steps) == 1:
            await steps[0]
            return
        # All of them to their end, whatever happens to one: the mark stands for all.
        for failure in await asyncio.gather(*steps, return_exceptions=True):
            if failure is not None:
                raise failure

    async def _send(self, sheet: Sheet, lot: Lot, mark: Mark, deadline: float) -> None:
        message = sheet.brief.message
        # After its last call nothing is handed over, whatever of it still waits for its turn then.
        end = lot.terms.last_call if lot.until is None else min(lot.until, lot.terms.last_call)
        deadline = min(deadline, self._clock.monotonic() + (end - self._clock.now()) / SECOND)
        chunk = lot.chunk(message, deadline)
        entries = lot.entries
        report = partial(self._report, sheet, entries, mark)

        def handed_over(index: int) -> None:
            entry = entries[index]
            if entry is not None:
                mark.end(entry[2])

        try:
            await self._providers[lot.way.credential.platform].send(chunk, report, handed_over)
        except Exception:
            _log.exception("a provider failed")
        for index, entry in enumerate(entries):
            if entry is not None:
                report(index, Answer(Verdict.UNKNOWN, reason="ProviderFailed"))

    def _report(self, sheet: Sheet, entries: list[Entry | None], mark: Mark, index: int, answer: Answer) -> None:
        entry = entries[index]
        if entry is None:
            return
        entries[index] = None
        item, device, position = entry
        mark.end(position)
        sheet.answered(item, device, answer, self._clock.now())

    async def _finish(self, sheet: Sheet) -> bool:
        app_id = sheet.brief.message.app_id
        await self._hygiene.note(app_id, sheet.proven, sheet.refused, sheet.cleared)
        for result in sheet.refusals:
            sheet.ledger.add(result)
        now, priority = self._clock.now(), sheet.batch.priority
        again = [
            NewBatch(items, _due(_last_call(sheet, items), now, delay), priority, retry=True)
            for delay, items in sheet.again.items()
        ]
        finished = await sheet.ledger.finish(again)
        if finished and sheet.taken:
            try:
                await self._store.mark_accepted(app_id, sheet.taken)
            except BellhopError:
                _log.warning("accepted targets could not be noted", extra={"app_id": app_id})
        return finished


def _last_call(sheet: Sheet, items: Sequence[Item]) -> Micros:
    return min(sheet.brief.terms(platform).last_call for platform in {item.platform for item in items})


def _due(last_call: Micros, now: Micros, delay: float) -> Micros:
    """After the delay and a bit, as long as that leaves time for the attempt."""
    least = int(delay * SECOND)
    bit = int(delay * JITTER * random.random() * SECOND)  # noqa: S311 - no secret hangs on it
    return now + max(least, min(least + bit, last_call - int(LAST_TRY * SECOND) - now))
