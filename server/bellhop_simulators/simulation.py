"""All simulators of one run behind one start and one stop; what `bellhop simulate` runs."""

import asyncio
import json
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from bellhop_simulators.apns.simulator import DEFAULT_TOPICS, ApnsSimulator
from bellhop_simulators.authority import Authority
from bellhop_simulators.clock import Clock
from bellhop_simulators.faults.script import Faults
from bellhop_simulators.fcm.simulator import DEFAULT_PROJECT, FcmSimulator
from bellhop_simulators.journal import Journal
from bellhop_simulators.webpush.simulator import WebPushSimulator


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """What to simulate; port 0 takes a free port."""

    host: str = "127.0.0.1"
    apns_port: int = 0
    apns_sandbox_port: int = 0
    apns_topics: tuple[str, ...] = DEFAULT_TOPICS
    fcm_port: int = 0
    fcm_project_id: str = DEFAULT_PROJECT
    web_push_port: int = 0
    journal: Path | None = None
    """File for the journal's lines; they are appended."""
    faults: Path | None = None
    """Fault script."""


class Simulation:
    """Every provider that is simulated, with one authority, one journal and one list of faults.

    Listens while it is entered.
    """

    apns: ApnsSimulator
    fcm: FcmSimulator
    web_push: WebPushSimulator
    journal: Journal
    faults: Faults

    def __init__(self, options: SimulationOptions | None = None, *, clock: Clock | None = None) -> None:
        """Nothing listens before it is entered."""
        self._options = options or SimulationOptions()
        self._clock = clock
        self._stack = AsyncExitStack()

    @property
    def ca_file(self) -> Path:
        """PEM file of the authority to trust."""
        return self.apns.ca_file

    @property
    def description(self) -> dict[str, Any]:
        """Where everything is, ready for JSON: the URLs of all providers, `ca_file` and `credentials`.

        `credentials` holds a body of SetCredential for each provider; `app_id` is for the reader to add.
        """
        return {
            "apns_url": self.apns.url,
            "apns_sandbox_url": self.apns.sandbox_url,
            "fcm_url": self.fcm.url,
            "fcm_token_url": self.fcm.token_url,
            "web_push_url": self.web_push.url,
            "ca_file": str(self.ca_file),
            "credentials": {
                "apns": self.apns.key.credential(),
                "fcm": self.fcm.account.credential(),
                "web_push": self.web_push.credential(),
            },
        }

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            FaultScriptError: the script is wrong.
            OSError: a port is taken, or a file cannot be read or written.
        """
        options = self._options
        async with self._stack as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bellhop-simulators-"))
            hosts = dict.fromkeys(("localhost", "127.0.0.1", "::1", options.host))
            self.journal = stack.enter_context(Journal(options.journal))
            authority = Authority(Path(folder), tuple(hosts))
            self.faults = Faults()
            if options.faults is not None:
                self.faults.load(options.faults)
            self.apns = ApnsSimulator(
                topics=options.apns_topics,
                host=options.host,
                port=options.apns_port,
                sandbox_port=options.apns_sandbox_port,
                clock=self._clock,
                journal=self.journal,
                faults=self.faults,
                authority=authority,
            )
            self.fcm = FcmSimulator(
                project_id=options.fcm_project_id,
                host=options.host,
                port=options.fcm_port,
                clock=self._clock,
                journal=self.journal,
                faults=self.faults,
                authority=authority,
            )
            self.web_push = WebPushSimulator(
                host=options.host,
                port=options.web_push_port,
                clock=self._clock,
                journal=self.journal,
                faults=self.faults,
                authority=authority,
            )
            await stack.enter_async_context(self.apns)
            await stack.enter_async_context(self.fcm)
            await stack.enter_async_context(self.web_push)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._stack.aclose()


async def run(options: SimulationOptions, out: TextIO, stop: asyncio.Event) -> None:
    """Simulate until `stop` is set; print the description as one line of JSON to `out` when everything listens.

    Raises:
        FaultScriptError: the script is wrong.
        OSError: a port is taken, or a file cannot be read or written.
    """
    async with Simulation(options) as simulation:
        print(json.dumps(simulation.description), file=out, flush=True)
        await stop.wait()


def simulate(options: SimulationOptions, out: TextIO = sys.stdout) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        FaultScriptError: the script is wrong.
        OSError: a port is taken, or a file cannot be read or written.
    """

    async def until_signal() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run(options, out, stop)

    asyncio.run(until_signal())
