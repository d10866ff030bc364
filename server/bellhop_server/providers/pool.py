"""A pool of connections to one origin, for requests that come in batches.

    turns = Turns()                                             # one for the process
    pool = Pool("api.push.apple.com", 443, tls=client_context(), turns=turns)
    pool.send(batch)                                            # a `Batch`, see backlog.py; returns at once
    ...                                                         # each index: batch.done(index, result, connection)
    connection.retire("expired token")                          # this one takes no more; its answers are still read
    pool.retire("revoked key")                                  # the same for all; new ones are opened as needed
    await pool.aclose()

Connections are opened one after the other while there is more work than those at hand can take, each with a DNS look-up
of its own, and kept until the peer ends them, leaves out an answer or has no more room. A request that certainly was
not processed (GOAWAY, REFUSED_STREAM, never written) goes to another connection by itself, before its batch's deadline;
everything else is the caller's to decide: no redirect is followed, and no proxy is asked.

A pool without work keeps its connections. Who has many pools looks at `busy` and `used`, and closes those not needed.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable, Sequence

from bellhop_server.providers.addresses import Blocked, Resolve
from bellhop_server.providers.backlog import Backlog, Batch
from bellhop_server.providers.channel import Channel
from bellhop_server.providers.engine import EngineFactory, Engines, choose
from bellhop_server.providers.engine_h11 import H11Engine
from bellhop_server.providers.http2 import Connection
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.reasons import Reason
from bellhop_server.providers.tls import TlsClient
from bellhop_server.providers.turns import Turns

_log = logging.getLogger(__name__)


class Pool:
    """Up to `limits.connections` connections to `host`:`port`. To be made and used on a running event loop.

    `http1`: HTTP/1.1 will do where the peer does not choose HTTP/2; `tls` is to offer it. `resolve` says at each
    connection where the host is, in place of the system; where it raises Blocked, all that waits ends as NOT_SENT
    with Reason.ADDRESS_BLOCKED. TLS is asked for `host` either way. `clock` is monotonic seconds, the same that the
    deadlines of batches are told in. Raises ValueError or TypeError for a host that TLS cannot ask for.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext,
        turns: Turns,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        engine: EngineFactory | None = None,
        http1: bool = False,
        resolve: Resolve | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
    ) -> None:
        # Raises what each connection would raise.
        TlsClient(tls, host)
        self.host = host
        self.port = port
        self._tls = tls
        self._turns = turns
        self._limits = limits
        self._engines: Engines = {"h2": choose() if engine is None else engine}
        if http1:
            self._engines = {**self._engines, "http/1.1": H11Engine}
        self._resolve = resolve
        self._clock = clock
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._backlog = Backlog(clock, self._wake)
        self._connections: list[Connection] = []
        self._live: list[Connection] = []
        self._opening: dict[Connection, asyncio.Task[None]] = {}
        self._failures = 0
        self._not_before = clock()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self.used = clock()
        """When the last batch came."""
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def connections(self) -> tuple[Connection, ...]:
        """All that are not over: being set up, in use, and finishing."""
        return tuple(self._connections)

    @property
    def in_flight(self) -> int:
        """Requests submitted and not yet answered."""
        return sum(connection.in_flight for connection in self._connections)

    @property
    def waiting(self) -> int:
        """Requests in the backlog."""
        return len(self._backlog)

    @property
    def busy(self) -> bool:
        """Whether a request waits or is in flight."""
        return bool(self.waiting or self.in_flight)

    @property
    def trouble(self) -> Reason | None:
        """Why the last attempt at a connection failed, or it ended before its first answer; None once one is up."""
        return self._backlog.trouble

    def send(self, batch: Batch) -> None:
        """Takes a batch. Its `done` hears of every request, never before this call has returned."""
        self.used = self._clock()
        self._backlog.add(batch)

    def expire(self) -> None:
        """Gives what is late back at once: for when a batch has moved its deadline to an earlier time."""
        self._backlog.expire()

    def retire(self, reason: str) -> None:
        """No new request on any connection of now; each ends when its answers are in."""
        for connection in self.connections:
            connection.retire(reason)

    async def aclose(self, timeout: float = 10.0) -> None:
        """Gives back what waits, waits up to `timeout` seconds for the answers in flight, then closes. For ever."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        for connection, task in self._opening.items():
            # A connection that is there is ended below; uvloop would not tell the loss of it to a cancelled attempt.
            if not connection.channel.connected:
                task.cancel()
        self._backlog.close(Reason.SHUTTING_DOWN)
        self.retire("shutting down")
        try:
            async with asyncio.timeout(timeout):
                await self._empty.wait()
        except TimeoutError:
            for connection in self.connections:
                connection.abort(Reason.SHUTTING_DOWN)
            await self._empty.wait()

    def _wake(self) -> None:
        usable = [connection for connection in self._connections if connection.usable]
        for connection in usable:
            self._turns.want(connection)
        # Otherwise each will say when it is full.
        if not usable:
            self._grow()

    def _changed(self, connection: Connection) -> None:
        """A connection came into use, leaves it, had its first answer, is over, or is full."""
        if connection.usable:
            self._backlog.trouble = None
        if connection.proven:
            self._failures = 0
        if connection.reason and connection in self._live:
            self._live.remove(connection)
            self._pause(connection)
        if connection.over and connection in self._connections:
            self._connections.remove(connection)
            if not self._connections:
                self._empty.set()
            _log.info("connection to %s over: %s %s", self.host, connection.reason, connection.detail)
        self._grow()

    def _pause(self, connection: Connection) -> None:
        """Says when the next connection may be tried after this one."""
        limits = self._limits
        if connection.channel.protocol != "h2" and (connection.proven or connection.unused):
            # A connection for each request, or a short time for the next one, is an old custom of HTTP/1.1.
            return
        if connection.proven or connection.reason is Reason.ADDRESS_BLOCKED:
            # A peer that takes connections only to end them must not be called again and again.
            self._postpone(connection.began + limits.backoff_first)
            return
        delay = min(limits.backoff_first * 2**self._failures, limits.backoff_most)
        self._failures = min(self._failures + 1, 32)
        # Spread over half the delay, or all processes would call a provider that comes back at the same moment.
        self._postpone(self._clock() + delay * (1 - self._rng() / 2))
        self._backlog.trouble = connection.reason

    def _postpone(self, when: float) -> None:
        self._not_before = max(self._not_before, when)

    def _grow(self) -> None:
        """Opens one more connection if there is work for it."""
        if self._closing or not self._backlog.pending() or self._timer is not None:
            return
        # One at a time: what a peer allows is known only after its first answer (APNs begins with one stream).
        if len(self._live) >= self._limits.connections or not all(connection.proven for connection in self._live):
            return
        delay = self._not_before - self._clock()
        if delay > 0:
            self._timer = self._loop.call_later(delay, self._grow_again)
        else:
            self._open()

    def _grow_again(self) -> None:
        self._timer = None
        self._grow()

    def _open(self) -> None:
        connection = Connection(
            self._backlog,
            self._engines,
            (self._tls, self.host),
            self._turns,
            self._limits,
            self._clock,
            self._changed,
        )
        self._connections.append(connection)
        self._live.append(connection)
        self._empty.clear()
        task = self._opening[connection] = self._loop.create_task(self._connect(connection))
        task.add_done_callback(lambda _: self._opening.pop(connection))

    async def _connect(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self._limits.setup):
                if self._resolve is None:
                    await self._loop.create_connection(lambda: connection.channel, self.host, self.port)
                else:
                    await self._dial(connection.channel, await self._resolve(self.host, self.port))
        except Blocked as error:
            # First: when the connection is over, what comes next may open another one.
            self._backlog.clear(Reason.ADDRESS_BLOCKED)
            connection.abort(Reason.ADDRESS_BLOCKED, str(error))
        except TimeoutError:
            connection.abort(Reason.CONNECT_TIMEOUT)
        except ConnectionRefusedError:
            connection.abort(Reason.CONNECTION_REFUSED)
        except OSError as error:
            connection.abort(Reason.CONNECTION_FAILED, error.strerror or str(error))

    async def _dial(self, channel: Channel, addresses: Sequence[str]) -> None:
        """Tries one address after the other, each for its share of the time. Raises as the last one does."""
        failure = OSError("no address")
        for address in addresses:
            try:
                async with asyncio.timeout(self._limits.setup / len(addresses)):
                    await self._loop.create_connection(lambda: channel, address, self.port)
                    return
            except OSError as error:
                if channel.connected:
                    raise
                failure = error
        raise failure
