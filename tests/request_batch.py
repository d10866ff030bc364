"""A batch for the outgoing pool that remembers what became of each request, and a world to run it in."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from bellhop_server.providers.addresses import Resolve
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import Headers, Reply, choose
from bellhop_server.providers.http2 import Connection
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.pool import Pool
from bellhop_server.providers.reasons import Reason
from bellhop_server.providers.tls import client_context
from bellhop_server.providers.turns import Turns
from tests.raw_http2_server import Authority


class RecordingBatch:
    """Requests that differ in `:path`, `/{first + index}`."""

    def __init__(
        self, size: int, *, seconds: float = 20.0, body: bytes = b"{}", first: int = 0, priority: int = 2
    ) -> None:
        self.size = size
        self.priority = priority
        self.deadline = time.monotonic() + seconds
        self.largest_body = len(body)
        self.weight = 1
        self.results: list[list[Reply | Failure]] = [[] for _ in range(size)]
        self.handed: list[int] = []
        self.connections: list[Connection | None] = [None] * size
        self.on_done: Callable[[int, Reply | Failure, Connection | None], object] = lambda *_: None
        self.on_request: Callable[[int], object] = lambda _: None
        self.on_handed_over: Callable[[int], object] = lambda _: None
        self._body = body
        self._first = first
        self._left = size
        self._finished = asyncio.Event()

    def request(self, index: int) -> tuple[Headers, bytes]:
        self.on_request(index)
        path = b"/%d" % (self._first + index)
        fields = [(b":method", b"POST"), (b":scheme", b"https"), (b":path", path), (b":authority", b"localhost")]
        return fields, self._body

    def handed_over(self, index: int) -> None:
        assert index not in self.handed, "told twice"
        assert not self.results[index], "told too late"
        self.handed.append(index)
        self.on_handed_over(index)

    def done(self, index: int, result: Reply | Failure, connection: Connection | None) -> None:
        self.results[index].append(result)
        self.connections[index] = connection
        self._left -= 1
        if self._left <= 0:
            self._finished.set()
        self.on_done(index, result, connection)

    async def finished(self) -> None:
        """Waits until every request has its end, and asserts that it has one alone."""
        async with asyncio.timeout(20):
            await self._finished.wait()
        assert {len(results) for results in self.results} == {1}

    def counts(self) -> Counter[int | str]:
        """How many ended with each status or kind of failure."""
        ends = [result for results in self.results for result in results]
        return Counter(end.status if isinstance(end, Reply) else end.kind.value for end in ends)

    def reasons(self) -> set[Reason]:
        return {result.reason for results in self.results for result in results if isinstance(result, Failure)}


class World:
    """One engine, one event loop."""

    def __init__(self, engine: str, loop: str, authority: Authority) -> None:
        self.engine = engine
        self.loop = loop
        self.authority = authority
        self._pools: list[Pool] = []

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs `main` on the event loop, and closes what it leaves open when it fails. No callback may raise."""
        factory = uvloop.new_event_loop if self.loop == "uvloop" else asyncio.new_event_loop
        raised: list[object] = []

        async def whole() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
            try:
                await main()
            finally:
                for pool in self._pools:
                    await pool.aclose(timeout=0)

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(whole())
        assert raised == []

    def pool(
        self,
        port: int,
        *,
        host: str = "localhost",
        http1: bool = False,
        resolve: Resolve | None = None,
        rng: Callable[[], float] = lambda: 0.0,
        **limits: float,
    ) -> Pool:
        """Pool with short pauses between connections."""
        numbers: dict[str, Any] = {
            "connections": 1,
            "confirm": 0.02,
            "backoff_first": 0.005,
            "backoff_most": 0.05,
        } | limits
        pool = Pool(
            host,
            port,
            tls=client_context(self.authority.ca_file, http1=http1),
            turns=Turns(),
            limits=Limits(**numbers),
            engine=choose(self.engine),
            http1=http1,
            resolve=resolve,
            rng=rng,
        )
        self._pools.append(pool)
        return pool
