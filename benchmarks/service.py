"""A real `bellhop serve` process over a seeded database."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Meter

SERVE = (sys.executable, "-m", "bellhop_cli.main", "serve")


@dataclass(frozen=True, slots=True)
class Service:
    """Where it is, and what it costs."""

    address: str
    pid: int
    meter: Meter


def new_master_key() -> str:
    """What BELLHOP_MASTER_KEY takes."""
    return base64.b64encode(os.urandom(32)).decode()


@contextmanager
def serving(
    folder: Path, database_url: str, master_key: str, sink_port: int, ca: Path, program: Sequence[str] = SERVE
) -> Iterator[Service]:
    """Runs until the context ends; raises RuntimeError if it does not come up."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BELLHOP_")} | {
        "BELLHOP_LISTEN": "127.0.0.1:0",
        "BELLHOP_DATABASE_URL": database_url,
        "BELLHOP_MASTER_KEY": master_key,
        "BELLHOP_ADMIN_TOKEN": "benchmark-admin-token",
        "BELLHOP_APNS_URL": f"https://localhost:{sink_port}",
        "BELLHOP_PROVIDER_CA": str(ca),
    }
    process = subprocess.Popen(program, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    said: deque[str] = deque(maxlen=20)
    try:
        address = _listening(process, said)
        drain = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
        drain.start()
        yield Service(address, process.pid, Meter(process.pid))
    except BaseException:
        print(*said, sep="", file=sys.stderr)
        raise
    finally:
        process.terminate()
        process.wait(30)


def _listening(process: subprocess.Popen[str], said: deque[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("event") == "listening":
            return str(entry["address"])
    raise RuntimeError("the server did not come up")
