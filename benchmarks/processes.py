"""Processes of a benchmark, and what they cost: read from /proc, so Linux only."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


class Meter:
    """CPU time and memory of one running process."""

    def __init__(self, pid: int) -> None:
        self._root = Path("/proc") / str(pid)

    def cpu(self) -> float:
        """CPU seconds so far, user and system."""
        fields = (self._root / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def peak(self) -> float:
        """The most memory it has held, in MB."""
        line = next(line for line in (self._root / "status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def reset_peak(self) -> None:
        """Begins the peak anew from what it holds now."""
        (self._root / "clear_refs").write_text("5")


@contextmanager
def python(module: str, *arguments: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """`python -m module arguments` with pipes; it is ended on the way out."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
