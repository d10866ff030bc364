"""What every measurement stands on: a folder, a sink, and databases of both kinds with devices in them."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.certificates import localhost
from benchmarks.processes import Meter, python
from benchmarks.seed import Seeded, seed
from benchmarks.service import Service, new_master_key, serving
from tests.postgres import postgres_server


@dataclass(frozen=True, slots=True)
class Stage:
    """A sink in a process of its own, and where its certificate is."""

    folder: Path
    port: int
    ca: Path
    sink: Meter

    def measure(self, module: str, *arguments: object) -> Any:
        """The JSON line that a program of this package prints."""
        with python(f"benchmarks.{module}", *map(str, arguments)) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{module} failed")
        return json.loads(line)

    @contextmanager
    def service(self, backend: str, devices: int) -> Iterator[tuple[Service, Seeded]]:
        """A server over a database of that kind, durable, with so many devices."""
        key = new_master_key()
        with database(backend) as url:
            seeded = asyncio.run(seed(url, key, devices))
            with serving(self.folder, url, key, self.port, self.ca) as service:
                yield service, seeded


@contextmanager
def stage() -> Iterator[Stage]:
    """Ends with the context."""
    with tempfile.TemporaryDirectory(prefix="bellhop-bench-") as name:
        folder = Path(name)
        certificate, key = localhost(folder)
        with python("benchmarks.sink", str(certificate), str(key)) as process:
            assert process.stdout is not None
            yield Stage(folder, int(process.stdout.readline()), certificate, Meter(process.pid))


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
