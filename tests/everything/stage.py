"""A whole server without its doors, on a stage: its time, its database, its crashes and its provider are in our hands.

Everything is the production code, joined as `main` joins it. Time stands still unless it is moved. What is asked of the
database waits until the stage lets it pass, one thing at a time and in an order that is drawn, and so do the answers.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection

from bellhop_server.app.cancelling import Cancelling
from bellhop_server.app.delivering import Deliverer
from bellhop_server.app.fencing import Fence
from bellhop_server.app.handover import Handover
from bellhop_server.app.hygiene import Hygiene
from bellhop_server.app.planning import Planner
from bellhop_server.app.proving import Proving
from bellhop_server.app.recording import Recorder
from bellhop_server.app.registering import Registering
from bellhop_server.app.scheduling import Scheduler
from bellhop_server.app.sending import Sending
from bellhop_server.app.sweeping import Sweeper
from bellhop_server.app.targets import Targets
from bellhop_server.app.watching import Watching
from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.errors import ServiceUnavailable
from bellhop_server.domain.registration import RegistryAnswer, RegistryCommand
from bellhop_server.ports import Provider
from bellhop_server.queue.local import LocalQueue
from bellhop_server.store.database import Database
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from tests.sealing import STAMPER, PlainSealer

T = TypeVar("T")

START: Micros = 1_800_000_000 * SECOND
COMMITTED: ContextVar[Callable[[], object]] = ContextVar("committed", default=lambda: None)
RESOLUTION = 1e-5
# So many steps without an end are a circle.
MOST_STEPS = 30_000


class StageLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is moved by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = 0.0
        # Two moments closer than this are one, also after months.
        self._clock_resolution = RESOLUTION

    def time(self) -> float:
        return self.moment

    @property
    def busy(self) -> bool:
        """Whether something is to be run at this moment."""
        return bool(self._ready) or (bool(self._scheduled) and self._scheduled[0].when() < self.moment + RESOLUTION)


class StageClock:
    """`ports.Clock`: the time of the loop, and a wall clock that may be set."""

    def __init__(self, loop: StageLoop) -> None:
        self._loop = loop
        self._offset = START - round(loop.moment * SECOND)

    def now(self) -> Micros:
        return self._offset + round(self._loop.moment * SECOND)

    def monotonic(self) -> float:
        return self._loop.moment

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def set_wall(self, by: Micros) -> None:
        """Moves the wall clock alone."""
        self._offset += by


class _Step(NamedTuple):
    """Something that is asked of the database, or an answer of it on its way back (`door` None)."""

    future: "asyncio.Future[Any]"
    door: Callable[[Callable[[Connection], Any]], Coroutine[Any, Any, Any]] | None
    fn: Any
    writes: bool = False


class Gate:
    """`Database`: what is asked of it becomes a step. `refuse`: as if it were away, so many times."""

    def __init__(self, inner: Database, steps: list[_Step]) -> None:
        self.dialect = inner.dialect
        self.exclusive = inner.exclusive
        self.closed = False
        self.refuse = 0
        self._inner = inner
        self._steps = steps

    async def read(self, fn: Callable[[Connection], T]) -> T:
        return await self._ask(self._inner.read, fn, writes=False)

    async def write(self, fn: Callable[[Connection], T]) -> T:
        return await self._ask(self._inner.write, fn, writes=True)

    async def aclose(self) -> None:
        self.closed = True

    async def _ask(self, door: Any, fn: Callable[[Connection], T], *, writes: bool) -> T:
        if self.closed or self.refuse:
            self.refuse -= not self.closed
            raise ServiceUnavailable("store")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._steps.append(_Step(future, door, fn, writes))
        return await future


class HeardStore(SqlStore):
    """The store; whoever waits for a command in a context of its own hears when it has been committed."""

    async def execute(
        self, command: RegistryCommand, committed: Callable[[RegistryAnswer], None] | None = None
    ) -> RegistryAnswer:
        """See `ports.DeviceStore`."""
        hear = COMMITTED.get()

        def tell(answer: RegistryAnswer) -> None:
            hear()
            if committed is not None:
                committed(answer)

        return await super().execute(command, tell)


class Unproved(Proving):
    """Pushes no nonces: they are of no message, and the model counts what each phone gets."""

    def push(self, app_id: str, target: Target, nonce: str) -> None:
        """Nothing."""


class Server:
    """One life of the server, from its start to its crash."""

    def __init__(self, name: str, gate: Gate, clock: StageClock, provider: Provider) -> None:
        self.gate = gate
        self.store = store = HeardStore(gate, MasterKey(bytes(range(32))))
        queue = LocalQueue()
        self.fence = Fence(nullcontext)
        self.recorder = recorder = Recorder(store, queue, clock)
        self.handover = Handover(
            store, clock, self.fence, recorder, Hygiene(store, clock), {Platform.APNS: provider}, STAMPER
        )
        self.deliverer = Deliverer(name, store, queue, clock, self.handover)
        planner, scheduler = Planner(store, queue, clock), Scheduler(store, queue, clock)
        parts = (recorder, self.deliverer, planner, scheduler, Sweeper(store, clock))
        self.watching = Watching(store, queue, clock)
        targets, proving = Targets(store, clock, {}), Unproved(store, clock, {})
        self.registering = Registering(store, clock, self.fence, targets, proving, PlainSealer())
        self.sending = Sending(store, queue, clock, self.handover.briefs)
        self.cancelling = Cancelling(store, queue, clock, self.fence)
        self.parts = [asyncio.create_task(part.run()) for part in parts]


class Stage:
    """The server that lives now, and the hand that moves everything."""

    def __init__(
        self,
        loop: StageLoop,
        database: Database,
        order: random.Random,
        provider_of: Callable[["Stage"], Provider],
        committed: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """`committed` is called after every transaction, before anybody hears of its end."""
        self.clock = StageClock(loop)
        self.tick = 0
        self.fuse: int | None = None
        """So many steps until the server is killed in the middle of whatever it does."""
        self.crashes: list[int] = []
        self._loop = loop
        self._database = database
        self._order = order
        self._provider_of = provider_of
        self._committed = committed
        self._steps: list[_Step] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def now(self) -> int:
        """A number for what happens now, greater than all before."""
        self.tick += 1
        return self.tick

    def start(self) -> None:
        """Starts the server. To be called from the loop."""
        self._steps = []
        gate = Gate(self._database, self._steps)
        self.server = Server(f"life-{len(self.crashes)}", gate, self.clock, self._provider_of(self))

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Something that asks the server; it ends with the server."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def crash(self) -> None:
        """Kills the server and starts it again: whatever was in memory is gone, and nothing more is written."""
        await self.kill()
        self.start()

    async def kill(self) -> None:
        """See `crash`."""
        self.crashes.append(self.now())
        self.fuse = None
        self.server.gate.closed = True
        self._steps.clear()
        me = asyncio.current_task()
        while left := [task for task in asyncio.all_tasks() if task is not me]:
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def settle(self, steps: int = MOST_STEPS) -> None:
        """Goes on until nothing happens any more without the clock, or for so many steps."""
        for _ in range(MOST_STEPS):
            await asyncio.sleep(0)
            if self._loop.busy:
                continue
            for part in self.server.parts:
                if part.done():
                    raise AssertionError("a part of the server has ended") from part.exception()
            if not self._steps or not steps:
                return
            steps -= 1
            await self._take(self._steps.pop(self._order.randrange(len(self._steps))))
            if self.fuse is not None:
                self.fuse -= 1
                if self.fuse < 0:
                    await self.crash()
        raise AssertionError("the server goes round in a circle")

    async def advance(self, seconds: float) -> None:
        """Lets time pass, all at once, as for a machine that was asleep."""
        await self.settle()
        self._loop.moment += seconds
        await self.settle()

    async def _take(self, step: _Step) -> None:
        future, door, fn, writes = step
        if future.done():
            return
        if door is None:
            fn()
            return
        try:
            value = await door(fn)
        except Exception as error:
            self._answer(future, future.set_exception, error)
        else:
            if writes:
                await self._committed()
            self._answer(future, future.set_result, value)

    def _answer(self, future: "asyncio.Future[Any]", settle: Callable[[Any], None], outcome: Any) -> None:
        """At once, or after whatever happens meanwhile."""

        def deliver() -> None:
            if not future.done():
                settle(outcome)

        if self._order.random() < 0.5:
            deliver()
        else:
            self._steps.append(_Step(future, None, deliver))
