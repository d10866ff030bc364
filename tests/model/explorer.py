"""Explores every reachable state of coroutines whose outside world is in our hands.

A world offers steps; each is one atomic thing that may happen next. After each step its coroutines run until they wait
for the world again. The explorer goes depth-first through all orders of steps. Coroutines cannot be copied, so it goes
back by playing the steps again from the start; states that it has met before are not entered again.
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Mapping
from contextvars import Context
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar


class Loop(asyncio.AbstractEventLoop):
    """An event loop that runs what is ready, in order, when it is told to. It has no clock: no timer ever fires."""

    def __init__(self) -> None:
        self.failures: list[dict[str, Any]] = []
        """What nobody was there to raise to."""
        self._ready: deque[asyncio.Handle] = deque()
        self._tasks: list[asyncio.Task[Any]] = []

    def settle(self) -> None:
        """Runs until everything waits."""
        while self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()

    def abandon(self) -> None:
        """Cancels whatever still waits."""
        for task in self._tasks:
            task.cancel()
        self.settle()
        self._tasks.clear()

    def get_debug(self) -> bool:
        return False

    def time(self) -> float:
        return 0.0

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> "asyncio.Task[Any]":
        task = asyncio.Task(coro, loop=self, **options)
        self._tasks.append(task)
        return task

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return asyncio.TimerHandle(delay, callback, args, self, context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio wants to tell it."""


class World(Protocol):
    """What is explored. Made anew for every replay, always the same."""

    def steps(self) -> Mapping[str, Callable[[], None]]:
        """What may happen next, by name."""
        ...

    def state(self) -> Hashable:
        """All that what happens later may depend on."""
        ...

    def check(self) -> None:
        """Raises AssertionError in a state that must not be."""
        ...

    def check_end(self) -> None:
        """Raises AssertionError in a state that must not be the last."""
        ...


W = TypeVar("W", bound=World)


class Explored(NamedTuple):
    """How far it went: distinct states, steps taken between them, and states in which nothing was left to do."""

    states: int
    steps: int
    ends: int


class Broken(AssertionError):
    """A state that must not be, and how to come there."""

    def __init__(self, trace: list[str], reason: str) -> None:
        super().__init__(f"{reason}\n" + "\n".join(f"  {number}. {step}" for number, step in enumerate(trace, 1)))
        self.trace = trace
        self.reason = reason


class Player(Generic[W]):
    """One world, and the steps that a test chooses."""

    def __init__(self, make: Callable[[Loop], W]) -> None:
        self._loop = Loop()
        asyncio._set_running_loop(self._loop)
        self.world = make(self._loop)
        self.trace: list[str] = []
        self._loop.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.abandon()
        asyncio._set_running_loop(None)

    def take(self, *steps: str) -> None:
        """Takes them. Raises Broken as `explore` does, and KeyError where one cannot be taken."""
        for step in steps:
            self.trace.append(step)
            _take(self._loop, self.world, step, self.trace)


def explore(make: Callable[[Loop], World], most: int = 100_000) -> Explored:
    """Visits every reachable state. Raises Broken for the first that fails its check, ValueError for over `most`."""
    known: dict[Hashable, tuple[str, ...]] = {}
    untried: list[list[str]] = [[]]
    taken = ends = 0
    # Replays make garbage in circles; nothing that was there before needs to be looked at for it.
    gc.freeze()
    loop = Loop()
    try:
        while untried:
            path = untried.pop()
            loop = Loop()
            asyncio._set_running_loop(loop)
            world = make(loop)
            loop.settle()
            for count, step in enumerate(path, 1):
                if count == len(path):
                    taken += 1
                    _take(loop, world, step, path)
                else:
                    world.steps()[step]()
                    loop.settle()
            while True:
                state, steps = world.state(), tuple(sorted(world.steps()))
                met = known.get(state)
                if met is not None:
                    # Two states that look the same but can do different things: `state` leaves something out.
                    assert met == steps, (path, met, steps)
                    break
                known[state] = steps
                if len(known) > most:
                    raise ValueError(f"more than {most} states")
                if not steps:
                    ends += 1
                    _check(world.check_end, path)
                    break
                untried += [[*path, step] for step in steps[1:]]
                path = [*path, steps[0]]
                taken += 1
                _take(loop, world, steps[0], path)
            loop.abandon()
    finally:
        loop.abandon()
        asyncio._set_running_loop(None)
        gc.unfreeze()
    return Explored(len(known), taken, ends)


def _take(loop: Loop, world: World, step: str, trace: list[str]) -> None:
    def go() -> None:
        world.steps()[step]()
        loop.settle()
        assert not loop.failures, loop.failures
        world.check()

    _check(go, trace)


def _check(check: Callable[[], None], trace: list[str]) -> None:
    try:
        check()
    except AssertionError as error:
        raise Broken(trace, str(error)) from error
