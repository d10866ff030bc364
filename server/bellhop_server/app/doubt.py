"""What a crash would leave in doubt: bounded, so that a sender who asked for no resend has little to worry about.

A device is at stake from the moment its batch is started until its result is committed, unless it may be sent again
anyway. Of one lane no more than DOUBT are at stake at once.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager

from bellhop_server.domain.batch import DOUBT


class Doubt:
    """Counts what is at stake, by lane."""

    def __init__(self, most: int = DOUBT) -> None:
        self._most = most
        self._scales: dict[Hashable, _Scales] = {}

    @asynccontextmanager
    async def about(self, lane: Hashable, devices: int, *, whole: bool) -> AsyncIterator[Callable[[int], None]]:
        """Waits until so many more may be at stake; they are no more when the context ends.

        `whole`: no others are in the batch, so that each result, of which the callable is told by number, is one of
        these.
        """
        if not devices:
            yield lambda _: None
            return
        scales = self._scales.get(lane)
        if scales is None:
            scales = self._scales[lane] = _Scales(self._most)
        await scales.take(devices)
        left = devices

        def resolved(results: int) -> None:
            nonlocal left
            if whole:
                results = min(results, left)
                left -= results
                scales.give(results)

        try:
            yield resolved
        finally:
            scales.give(left)
            if scales.idle:
                self._scales.pop(lane, None)


class _Scales:
    """What is at stake in one lane, and who waits, first come first served."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._at_stake = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def idle(self) -> bool:
        return not self._at_stake and not self._waiting

    async def take(self, devices: int) -> None:
        if not self._waiting and self._fits(devices):
            self._at_stake += devices
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((devices, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(devices)
            raise

    def give(self, devices: int) -> None:
        self._at_stake -= devices
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            devices, turn = self._waiting.popleft()
            if not turn.done():
                self._at_stake += devices
                turn.set_result(None)

    def _fits(self, devices: int) -> bool:
        # A batch that is larger than what is allowed goes alone.
        return self._at_stake + devices <= self._most or not self._at_stake
