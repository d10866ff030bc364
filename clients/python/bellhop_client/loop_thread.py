"""An event loop in a thread of its own, for programs that have none."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for whoever waits; from any thread, but not in a process that was forked off since."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bellhop-client", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it can be asked to run something: in this process, and not closed."""
        return os.getpid() == self._process and self._thread.is_alive()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What it returns or raises. Whatever interrupts the wait, Ctrl-C too, cancels it.

        Raises RuntimeError in another process than the one that made this, and after `close`.
        """
        if not self.alive:
            coroutine.close()
            raise RuntimeError(
                "the client is closed" if os.getpid() == self._process else "make the client after the fork, not before"
            )
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise RuntimeError("the client is closed") from None
        except BaseException:
            future.cancel()
            raise

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """Its elements, each asked for when it is wanted. It is closed when the iteration is given up."""
        try:
            while True:
                try:
                    element = self.run(_next(source))
                except StopAsyncIteration:
                    return
                yield element
        finally:
            close = getattr(source, "aclose", None)
            if close is not None and self.alive:
                self.run(close())

    def close(self) -> None:
        """Ends what is under way, and the thread. Again, it does nothing."""
        if not self.alive:
            return
        self.run(_end_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _next(source: AsyncIterator[T]) -> T:
    return await anext(source)


async def _end_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
