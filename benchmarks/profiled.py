"""`bellhop serve`, with the names of its threads told to the system, and a sampler of the thread of the event loop.

`python profiled.py FILE`: the first SIGUSR1 starts sampling, the second stops it and writes FILE as JSON: `loop` is a
list of [CPU seconds, stack], a stack being [file, function] from the inside out; `threads` has the CPU seconds of each
function that SQLite's threads were given. A profiler that hooks every call would make the smallest functions the
dearest.
"""

import ctypes
import dis
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from sqlalchemy import Connection

from bellhop_cli.main import main
from bellhop_server.store.sqlite import SqliteDatabase

LOOP = "event-loop"

_INTERVAL_NS = 1_000_000
_CLOCK_THREAD_CPUTIME_ID = 3
_SIGEV_THREAD_ID = 4
_RESUME = dis.opmap["RESUME"]


class _Event(ctypes.Structure):
    """struct sigevent, timer_create(2)."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread", ctypes.c_int),
        ("unused", ctypes.c_char * 44),
    )


class _Times(ctypes.Structure):
    """struct itimerspec, timer_settime(2)."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every", "every_ns", "first", "first_ns"))


class Sampler:
    """Interrupts the main thread each time it has used another millisecond of CPU, or as often as the kernel looks."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stacks: Counter[tuple[CodeType, ...]] = Counter()
        self._threads: Counter[str] = Counter()
        self._last = 0.0
        self._running = False
        self._system = ctypes.CDLL(None, use_errno=True)
        self._timer = ctypes.c_void_p()
        signal.signal(signal.SIGPROF, self._sample)
        signal.signal(signal.SIGUSR1, self._toggle)
        event = _Event(signal=signal.SIGPROF, notify=_SIGEV_THREAD_ID, thread=threading.get_native_id())
        created = self._system.timer_create(_CLOCK_THREAD_CPUTIME_ID, ctypes.byref(event), ctypes.byref(self._timer))
        if created:
            raise OSError(ctypes.get_errno(), "timer_create")

    def _toggle(self, *_: Any) -> None:
        self._running = not self._running
        self._last = time.thread_time()
        every = _INTERVAL_NS if self._running else 0
        times = _Times(every_ns=every, first_ns=every)
        if self._system.timer_settime(self._timer, 0, ctypes.byref(times), None):
            raise OSError(ctypes.get_errno(), "timer_settime")
        if not self._running:
            self._write()
        self._stacks.clear()
        self._threads.clear()

    def _write(self) -> None:
        loop = [(spent, [(code.co_filename, code.co_name) for code in stack]) for stack, spent in self._stacks.items()]
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps({"loop": loop, "threads": self._threads}))
        new.rename(self._file)

    def time(self, door: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """The same door of a database, which notes what each function takes of its thread's CPU."""

        async def timed_door(database: Any, fn: Callable[[Connection], Any]) -> Any:
            def timed(connection: Connection) -> Any:
                began = time.thread_time()
                try:
                    return fn(connection)
                finally:
                    self._threads[_name_of(fn)] += time.thread_time() - began

            return await door(database, timed)

        return timed_door

    def _sample(self, _: int, frame: FrameType | None) -> None:
        """What was used since the last sample counts for this one, so a long call of C counts in full."""
        now = time.thread_time()
        if frame is not None and frame.f_code.co_code[frame.f_lasti] == _RESUME:
            # It has only just been entered: whoever called it was at work, which may be no Python at all.
            frame = frame.f_back
        stack = []
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        if self._running:
            self._stacks[tuple(stack)] += now - self._last
        self._last = now


def _name_of(fn: Any) -> str:
    while hasattr(fn, "func"):
        fn = fn.func
    name: str = fn.__qualname__
    return name.replace(".<locals>", "").removesuffix(".<lambda>")


def _name(name: str) -> None:
    """The system keeps 15 bytes."""
    Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name[:15])


def _name_new_thread(*_: Any) -> None:
    """Runs in each new thread before its own work, as its profile function, which it stops being at once."""
    sys.setprofile(None)
    _name(threading.current_thread().name)


if __name__ == "__main__":
    threading.setprofile(_name_new_thread)
    _name(LOOP)
    sampler = Sampler(Path(sys.argv[1]))
    SqliteDatabase.read = sampler.time(SqliteDatabase.read)
    SqliteDatabase.write = sampler.time(SqliteDatabase.write)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.exit(main(["serve"]))
