"""What every measurement stands on: a folder, a sink, and databases of both kinds with devices in them."""

import asyncio
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.certificates import localhost, provider_key
from benchmarks.processes import Meter, module, started
from benchmarks.seed import Seeded, seed
from benchmarks.service import SERVE, Service, new_master_key, serving
from tests.postgres import postgres_server

DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True, slots=True)
class Stage:
    """A sink in a process of its own, and what its clients need to know of it."""

    folder: Path
    port: int
    ca: Path
    key: Path
    sink: Meter
    sightings: dict[str, int]
    """When the sink saw a request (ns, monotonic), by its collapse id, for ids that begin with `watched`."""

    @contextmanager
    def service(self, backend: str, devices: int, program: Sequence[str] = SERVE) -> Iterator[tuple[Service, Seeded]]:
        """A server over a database of that kind, durable, with so many devices."""
        key = new_master_key()
        with database(backend) as url:
            seeded = asyncio.run(seed(url, key, devices))
            with serving(self.folder, url, key, self.port, self.ca, program) as service:
                yield service, seeded


@contextmanager
def stage() -> Iterator[Stage]:
    """Ends with the context."""
    with tempfile.TemporaryDirectory(prefix="bellhop-bench-") as name:
        folder = Path(name)
        certificate, key = localhost(folder)
        provider = folder / "provider.p8"
        provider.write_text(provider_key())
        with started(module("sink", certificate, key)) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            sightings: dict[str, int] = {}
            reader = threading.Thread(target=_note, args=(process.stdout, sightings))
            reader.start()
            yield Stage(folder, port, certificate, provider, Meter(process.pid), sightings)
            process.terminate()
            reader.join()


def _note(lines: IO[str], sightings: dict[str, int]) -> None:
    for line in lines:
        identity, when = line.split()
        sightings[identity] = int(when)


@contextmanager
def database(backend: str) -> Iterator[str]:
    """The URL of an empty database of that kind, durable, for as long as the context lasts."""
    if backend == "sqlite":
        with tempfile.TemporaryDirectory(prefix="bellhop-bench-") as name:
            yield f"sqlite:///{Path(name) / 'bellhop.db'}"
        return
    with postgres_server(durable=True) as server:
        server.execute("CREATE DATABASE bellhop")
        yield server.url("bellhop")
