"""How much is served at once, and the end of it when the server goes down."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bellhop_server.domain.errors import Overloaded, ServiceUnavailable


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server takes. A request over `request_bytes` and metadata over `metadata_bytes` are refused.

    `wrong_credentials` a minute are told so to one peer for one application; `reader_seconds` is how long a reader may
    take nothing of its stream.
    """

    request_bytes: int = 4 * 1024 * 1024
    metadata_bytes: int = 16 * 1024
    calls: int = 10_000
    streams_per_application: int = 5_000
    streams_per_connection: int = 1_000
    reader_seconds: float = 60.0
    wrong_credentials: int = 20


class Admission:
    """Counts calls and streams."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._calls = 0
        self._aside = 0
        self._streams: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """One call. Raises Overloaded, ServiceUnavailable."""
        if self._closed:
            raise ServiceUnavailable("shutdown")
        if self._calls >= self._limits.calls:
            raise Overloaded("calls")
        self._calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls and not self._aside:
                self._idle.set()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """A call that only waits, and is not to keep others out meanwhile."""
        self._calls -= 1
        self._aside += 1
        try:
            yield
        finally:
            self._aside -= 1
            self._calls += 1

    @contextmanager
    def stream(self, connection: str, app_id: str | None = None) -> Iterator[None]:
        """One stream over a connection; None: it is no application's. Raises Overloaded."""
        keys = {f"connection {connection}": self._limits.streams_per_connection}
        if app_id is not None:
            keys[f"app {app_id}"] = self._limits.streams_per_application
        if any(self._streams[key] >= most for key, most in keys.items()):
            raise Overloaded("streams")
        self._streams.update(keys.keys())
        try:
            yield
        finally:
            for key in keys:
                self._streams[key] -= 1
                if not self._streams[key]:
                    del self._streams[key]

    def close(self) -> None:
        """Takes no more calls."""
        self._closed = True

    async def drained(self, timeout: float) -> bool:
        """Waits until no call is served. False: some still are after that many seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
