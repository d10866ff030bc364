"""What every simulator can do, whoever is simulated: listen while it is entered, tell its address, drop its clients."""

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from bellhop_simulators.authority import Authority
from bellhop_simulators.faults.actions import Goaway
from bellhop_simulators.faults.script import Faults
from bellhop_simulators.journal import Journal
from bellhop_simulators.serving.connections import Connections
from bellhop_simulators.serving.endpoint import Endpoint
from bellhop_simulators.serving.world import World

WorldT = TypeVar("WorldT", bound=World)


class Simulator(Generic[WorldT]):
    """A simulated provider; an asynchronous context manager that listens while it is entered.

    Everything that it shows may be used and changed at any time from the loop that it runs in.
    """

    def __init__(self, world: WorldT, host: str, authority: Authority | None) -> None:
        """Without `authority` one is made."""
        self._world = world
        self._host = host
        self._authority = authority
        self._endpoints: list[tuple[Endpoint, int]] = []
        self._stack = AsyncExitStack()

    def _listen(self, endpoint: Endpoint, port: int) -> Endpoint:
        """Have `endpoint` started with the simulator."""
        self._endpoints.append((endpoint, port))
        return endpoint

    def _address(self, endpoint: Endpoint) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"https://{host}:{endpoint.port}"

    @property
    def journal(self) -> Journal:
        """What was seen."""
        return self._world.journal

    @property
    def faults(self) -> Faults:
        """What goes wrong."""
        return self._world.faults

    @property
    def connections(self) -> Connections:
        """The connections."""
        return self._world.connections

    @property
    def ca_file(self) -> Path:
        """PEM file of the authority to trust."""
        assert self._authority is not None, "enter the simulator first"
        return self._authority.ca_file

    def goaway(self, *, reason: str = "Shutdown", graceful: bool = False, code: int = 0) -> None:
        """Shut every connection down as Apple does: GOAWAY, answers to what is in flight, close.

        Not `graceful`: requests that come after this are not taken. `graceful`: 2^31 - 1 first, the last stream a
        moment later. HTTP/1.1 connections are closed likewise, without a word.
        """
        self.connections.goaway(Goaway("all" if graceful else "this", code, reason), self._world.clock.now())

    def disconnect(self, *, reset: bool = False) -> None:
        """End every connection without GOAWAY, in order or with a TCP reset."""
        self.connections.disconnect(reset=reset)

    async def __aenter__(self) -> Self:
        if self._authority is None:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bellhop-simulators-"))
            self._authority = Authority(Path(folder))
        try:
            for endpoint, port in self._endpoints:
                await endpoint.start(self._host, port, self._authority)
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
