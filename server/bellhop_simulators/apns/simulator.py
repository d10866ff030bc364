"""An APNs on this machine: Apple's provider API over TLS and HTTP/2, production and sandbox on a port each.

    async with ApnsSimulator() as apns:
        ...  # send to apns.url, trusting apns.ca_file, with a provider token of apns.key
        apns.faults.add({"status": 503}, {"every": 10})
        entries = await apns.journal.wait_for(3, status=200)

It refuses what Apple refuses (`rules`, `provider_tokens`) and keeps Apple's limits (`ConcurrencyPolicy`): one
stream at a time until a request was authenticated, then a thousand; one again after a 400 or 403, until the next 200.
Not simulated: broadcast channels (404 BadPath) and client certificates.
"""

import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from bellhop_simulators.apns.answers import goaway_debug
from bellhop_simulators.apns.concurrency import ConcurrencyPolicy
from bellhop_simulators.apns.connections import Connections
from bellhop_simulators.apns.devices import ApnsDevices
from bellhop_simulators.apns.endpoint import ApnsEndpoint
from bellhop_simulators.apns.keys import ApnsKey, ApnsKeys
from bellhop_simulators.apns.world import ApnsWorld
from bellhop_simulators.authority import Authority
from bellhop_simulators.clock import Clock, SystemClock
from bellhop_simulators.faults.actions import Goaway
from bellhop_simulators.faults.playback import send_goaway
from bellhop_simulators.faults.script import Faults
from bellhop_simulators.http2.frames import MAX_STREAM_ID
from bellhop_simulators.journal import Journal

DEFAULT_TOPICS = ("com.example.app",)


class ApnsSimulator:
    """The simulator; an asynchronous context manager that listens while it is entered.

    `journal`, `faults`, `devices`, `keys` and `connections` may be used and changed at any time from the loop that it
    runs in.
    """

    def __init__(
        self,
        *,
        topics: Sequence[str] = DEFAULT_TOPICS,
        host: str = "127.0.0.1",
        port: int = 0,
        sandbox_port: int = 0,
        clock: Clock | None = None,
        journal: Journal | None = None,
        authority: Authority | None = None,
        concurrency: ConcurrencyPolicy | None = None,
    ) -> None:
        """Make `key` for the bundle ids `topics`. Port 0 takes a free port; without `authority` a CA is made."""
        clock = clock or SystemClock()
        self._world = ApnsWorld(clock, journal or Journal(), concurrency or ConcurrencyPolicy())
        self._host, self._ports = host, {"production": port, "sandbox": sandbox_port}
        self._authority = authority
        self._endpoints: dict[str, ApnsEndpoint] = {}
        self._stack = AsyncExitStack()
        self.key: ApnsKey = self.keys.add(topics)

    @property
    def journal(self) -> Journal:
        """What was seen."""
        return self._world.journal

    @property
    def faults(self) -> Faults:
        """What goes wrong."""
        return self._world.faults

    @property
    def devices(self) -> ApnsDevices:
        """The phones."""
        return self._world.devices

    @property
    def keys(self) -> ApnsKeys:
        """The `.p8` keys."""
        return self._world.keys

    @property
    def connections(self) -> Connections:
        """The connections."""
        return self._world.connections

    @property
    def url(self) -> str:
        """Where production listens, `https://host:port`."""
        return self._url("production")

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox listens."""
        return self._url("sandbox")

    @property
    def ca_file(self) -> Path:
        """PEM file of the authority to trust."""
        assert self._authority is not None, "enter the simulator first"
        return self._authority.ca_file

    def goaway(self, *, reason: str = "Shutdown", graceful: bool = False, code: int = 0) -> None:
        """Shut every connection down as Apple does: GOAWAY, answers to what is in flight, close.

        Not `graceful`: requests that come after this are not taken. `graceful`: 2^31 - 1 first, the last stream a
        moment later.
        """
        goaway = Goaway("all" if graceful else "this", code, reason)
        for record in self.connections.open:
            last = MAX_STREAM_ID if graceful else record.wire.highest
            send_goaway(record.wire, goaway, last, goaway_debug(goaway, self._world.clock.now()))

    def disconnect(self, *, reset: bool = False) -> None:
        """End every connection without GOAWAY, in order or with a TCP reset."""
        for record in self.connections.open:
            if reset:
                record.wire.reset()
            else:
                record.wire.close()

    async def __aenter__(self) -> Self:
        if self._authority is None:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bellhop-simulators-"))
            self._authority = Authority(Path(folder))
        try:
            for environment, port in self._ports.items():
                endpoint = ApnsEndpoint(environment, self._world)
                await endpoint.start(self._host, port, self._authority.server_context(["h2"]))
                self._endpoints[environment] = endpoint
                self._stack.push_async_callback(endpoint.stop)
        except OSError:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        self.journal.flush()

    def _url(self, environment: str) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"https://{host}:{self._endpoints[environment].port}"
