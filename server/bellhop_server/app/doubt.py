"""What a crash would leave in doubt: bounded, so that a sender who asked for no resend has little to worry about.

A device is at stake from the moment its batch is started until its result is committed, unless it may be sent again
anyway. Of one lane no more than DOUBT are at stake at once.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable

from bellhop_server.domain.batch import DOUBT


class Doubt:
    """Counts what is at stake, by lane."""

    def __init__(self, most: int = DOUBT) -> None:
        self._most = most
        self._scales: dict[Hashable, _Scales] = {}

    def about(self, lane: Hashable, devices: int, *, whole: bool) -> "Stake":
        """Waits, when it is entered, until so many more may be at stake; they are no more when it is left.

        `whole`: no others are in the batch, so that each result, of which it is told by number, is one of these.
        """
        return Stake(self._scales, self._most, lane, devices, whole)


class Stake:
    """Devices of a batch. Entered, it is what hears of results, by number, that are committed."""

    __slots__ = ("_all", "_lane", "_left", "_most", "_whole")

    def __init__(self, scales: "dict[Hashable, _Scales]", most: int, lane: Hashable, devices: int, whole: bool) -> None:
        self._all = scales
        self._most = most
        self._lane = lane
        self._left = devices
        self._whole = whole

    async def __aenter__(self) -> Callable[[int], None]:
        if self._left:
            scales = self._all.get(self._lane)
            if scales is None:
                scales = self._all[self._lane] = _Scales(self._most)
            await scales.take(self._left)
        return self._resolve

    async def __aexit__(self, *_: object) -> None:
        self._give(self._left)

    def _resolve(self, results: int) -> None:
        if self._whole:
            self._give(min(results, self._left))

    def _give(self, devices: int) -> None:
        if not devices:
            return
        self._left -= devices
        scales = self._all[self._lane]
        scales.give(devices)
        if scales.idle:
            del self._all[self._lane]


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
