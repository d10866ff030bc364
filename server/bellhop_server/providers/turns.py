"""Shares the event loop between all outgoing connections of the process and everything else in it."""

import asyncio
import collections
from typing import Protocol

# About 2 ms: a request costs the whole service some 20 microseconds, half of them when submitted, half when answered.
_BUDGET = 200


class Worker(Protocol):
    """Has work that can be done in small steps."""

    def step(self, budget: int) -> tuple[int, bool]:
        """Works for about `budget` units, at least one; returns the units spent and whether there is more to do.

        A unit is the submission, or the answer, of one request by the ngh2 engine.
        """


class Turns:
    """Workers that wait for their turn. All pools of a process share one, or each would take the whole budget."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: collections.deque[Worker] = collections.deque()
        self._queued: set[Worker] = set()
        self._scheduled = False

    def want(self, worker: Worker) -> None:
        """Gives the worker a step in a coming turn of the event loop."""
        if worker not in self._queued:
            self._queued.add(worker)
            self._waiting.append(worker)
            if not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        budget = _BUDGET
        try:
            for _ in range(len(self._waiting)):
                worker = self._waiting.popleft()
                self._queued.discard(worker)
                spent, more = worker.step(budget)
                budget -= spent
                if more:
                    self.want(worker)
                if budget <= 0:
                    break
        finally:
            # Also when a worker raised: the others must not wait for it.
            if self._waiting and not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self._turn)
