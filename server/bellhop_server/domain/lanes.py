"""Lanes: whose turn it is. What waits is given out by application and priority, in deficit round-robin.

Each lane earns a quantum in every round and spends it on the devices of its batches (Shreedhar and Varghese, "Efficient
fair queueing using deficit round robin", 1995). A lane that has as much in hand as it may, because its provider is slow
or because it is large, takes nothing until some of that has its result, and the others have the rest of the worker.
Within a lane batches go by their `turn` (see `planning.turn`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from bellhop_server.domain import Micros
from bellhop_server.domain.batch import BATCH_SIZE
from bellhop_server.domain.notification import Priority

# Devices in hand: claimed, and without a committed result. Of one lane, and of all lanes of a worker.
LANE_LIMIT = 1000
WORKER_LIMIT = 8000
# What a lane must have room for before it is given more: claims are statements, and each should be worth it.
REFILL = 2 * BATCH_SIZE

_QUANTUM = {Priority.LOW: BATCH_SIZE, Priority.NORMAL: 2 * BATCH_SIZE, Priority.HIGH: 8 * BATCH_SIZE}
_MOST_BATCHES = 64


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

    def __init__(self, lane_limit: int = LANE_LIMIT, worker_limit: int = WORKER_LIMIT) -> None:
        self._lane_limit = lane_limit
        self._worker_limit = worker_limit
        self._in_hand: dict[Lane, int] = {}
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
        left = self._worker_limit - self._total
        shares = []
        for lane in order:
            if left < REFILL:
                break
            room = min(self._room(lane), left)
            if room < REFILL:
                continue
            # A lane with room takes it at once while nobody goes short, and saves nothing up.
            quantum = _QUANTUM[Priority(lane.priority)]
            self._deficits[lane] = min(self._deficits[lane] + quantum, self._lane_limit)
            devices = room if len(order) == 1 else min(self._deficits[lane], room)
            if devices <= 0:
                continue
            self._last = lane
            left -= devices
            self._hold(lane, devices)
            shares.append(Share(lane, devices, self._batches(lane, devices)))
        return shares

    def took(self, share: Share, devices: int, batches: int) -> bool:
        """So much of a share was there; whether the lane could do with more now."""
        lane = share.lane
        # A lane that had everything to itself owes the others nothing for that.
        self._deficits[lane] = max(self._deficits.get(lane, 0) - devices, -BATCH_SIZE)
        if batches:
            self._batch_size[lane] = devices / batches
        return self.give_back(lane, share.devices - devices)

    def give_back(self, lane: Lane, devices: int) -> bool:
        """So many devices are in hand no more; whether the lane could do with more now."""
        before = self._room(lane)
        self._hold(lane, -devices)
        return before < REFILL <= self._room(lane) or self._total > self._worker_limit - REFILL

    def _hold(self, lane: Lane, devices: int) -> None:
        self._total += devices
        in_hand = self._in_hand.get(lane, 0) + devices
        if in_hand:
            self._in_hand[lane] = in_hand
        else:
            self._in_hand.pop(lane, None)

    def _room(self, lane: Lane) -> int:
        return self._lane_limit - self._in_hand.get(lane, 0)

    def _batches(self, lane: Lane, devices: int) -> int:
        """About as many as hold so many devices, by what was found there last."""
        size = self._batch_size.get(lane, BATCH_SIZE / 8)
        return max(1, min(_MOST_BATCHES, round(devices / size)))
