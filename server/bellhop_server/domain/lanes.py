"""Lanes: whose turn it is. What waits is given out by application and priority, in deficit round-robin.

Each lane earns a quantum in every round and spends it on the devices of its batches (Shreedhar and Varghese, "Efficient
fair queueing using deficit round robin", 1995). A lane that has as much in hand as it may, because its provider is slow
or because it is large, takes nothing until some of that has its result, and the others have the rest of the worker.
Within a lane batches go by their `turn` (see `planning.turn`).
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from bellhop_server.domain import Micros
from bellhop_server.domain.batch import BATCH_SIZE
from bellhop_server.domain.notification import Priority

# Devices in hand: claimed, and without a committed result. Of one lane, of all lanes of an application, of a worker.
LANE_LIMIT = 1000
APPLICATION_LIMIT = 2000
WORKER_LIMIT = 8000
# What a lane must have room for before it is given more: claims are statements, and each should be worth it.
REFILL = 4 * BATCH_SIZE

_QUANTUM = {Priority.LOW: BATCH_SIZE, Priority.NORMAL: 2 * BATCH_SIZE, Priority.HIGH: 8 * BATCH_SIZE}
_MOST_BATCHES = 250


class Lane(NamedTuple):
    """What shares a turn."""

    app_id: str
    priority: int


class Share(NamedTuple):
    """What a worker may claim of a lane: batches until there are `devices` in them, and at most so many batches."""

    lane: Lane
    devices: int
    batches: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What waits: the lanes that have something due, and when the next of the others will have (None: never)."""

    lanes: list[Lane]
    next_due: Micros | None


class Lanes:
    """The lanes of one worker."""

    def __init__(
        self,
        lane_limit: int = LANE_LIMIT,
        application_limit: int = APPLICATION_LIMIT,
        worker_limit: int = WORKER_LIMIT,
    ) -> None:
        self._lane_limit = lane_limit
        self._application_limit = application_limit
        self._worker_limit = worker_limit
        self._in_hand: Counter[Lane] = Counter()
        self._in_hand_of: Counter[str] = Counter()
        self._total = 0
        self._deficits: dict[Lane, int] = {}
        self._batch_size: dict[Lane, float] = {}
        self._last: Lane | None = None

    def allot(self, waiting: Collection[Lane]) -> list[Share]:
        """One round over the lanes that have something due, going on behind the one that came last the time before.

        What is allotted counts as in hand, until `took` tells what there was.
        """
        self._deficits = {lane: self._deficits.get(lane, 0) for lane in waiting}
        self._batch_size = {lane: size for lane, size in self._batch_size.items() if lane in self._deficits}
        order = sorted(waiting)
        if self._last is not None:
            order = [lane for lane in order if lane > self._last] + [lane for lane in order if lane <= self._last]
        shares = []
        for lane in order:
            room = self._room(lane)
            if room < REFILL:
                continue
            # A lane with room takes it at once while nobody goes short, and saves nothing up.
            quantum = _QUANTUM[Priority(lane.priority)]
            self._deficits[lane] = min(self._deficits[lane] + quantum, self._lane_limit)
            devices = room if len(order) == 1 else min(self._deficits[lane], room)
            self._last = lane
            self._hold(lane, devices)
            shares.append(Share(lane, devices, self._batches(lane, devices)))
        return shares

    def have_room(self, lanes: Collection[Lane]) -> bool:
        """Whether one of these would be given something."""
        return any(self._room(lane) >= REFILL for lane in lanes)

    def took(self, share: Share, devices: int, batches: int) -> bool:
        """So much of a share was there; whether the lane could do with more now."""
        lane = share.lane
        # A batch too much, or what a lane had while it was alone, is not owed.
        self._deficits[lane] = max(self._deficits.get(lane, 0) - devices, 0)
        if batches:
            self._batch_size[lane] = devices / batches
        return self.give_back(lane, share.devices - devices)

    def give_back(self, lane: Lane, devices: int) -> bool:
        """So many devices are in hand no more; whether the lane could do with more now."""
        crowded = self._total > self._worker_limit - self._lane_limit
        before = self._room(lane)
        self._hold(lane, -devices)
        # In a crowd others may have waited for this.
        return crowded or before < REFILL <= self._room(lane)

    def _hold(self, lane: Lane, devices: int) -> None:
        self._total += devices
        self._in_hand[lane] += devices
        self._in_hand_of[lane.app_id] += devices
        if not self._in_hand[lane]:
            del self._in_hand[lane]
        if not self._in_hand_of[lane.app_id]:
            del self._in_hand_of[lane.app_id]

    def _room(self, lane: Lane) -> int:
        """What the lane may take: within its own limit, that of its application and that of the worker; but whatever
        the others have, up to REFILL, so that nobody who hangs keeps it from going on.
        """
        room = self._lane_limit - self._in_hand[lane]
        shared = min(self._application_limit - self._in_hand_of[lane.app_id], self._worker_limit - self._total)
        return min(room, max(shared, REFILL - self._in_hand[lane]))

    def _batches(self, lane: Lane, devices: int) -> int:
        """About as many as hold so many devices, by what was found there last."""
        size = self._batch_size.get(lane, BATCH_SIZE / 8)
        return max(1, min(_MOST_BATCHES, round(devices / size)))
