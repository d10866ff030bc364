"""Processes of a benchmark, and what they cost: read from /proc, so Linux only."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TICK = os.sysconf("SC_CLK_TCK")


class Meter:
    """CPU time and memory of one running process."""

    def __init__(self, pid: int) -> None:
        self._root = Path("/proc") / str(pid)

    def cpu(self) -> float:
        """CPU seconds so far, user and system."""
        return _spent(self._root / "stat")[1]

    def threads(self) -> dict[str, tuple[str, float]]:
        """Name and CPU seconds so far of each thread that runs, by its id."""
        return {each.name: _spent(each / "stat") for each in (self._root / "task").iterdir()}

    def peak(self) -> float:
        """The most memory it has held, in MB."""
        line = next(line for line in (self._root / "status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


def _spent(stat: Path) -> tuple[str, float]:
    head, _, tail = stat.read_text().rpartition(")")
    fields = tail.split()
    return head.partition("(")[2], (int(fields[11]) + int(fields[12])) / _TICK


@contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """The process of a command, with pipes; it is ended on the way out."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def module(name: str, *arguments: object) -> list[str]:
    """The command that runs a program of this package."""
    return [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]


def answer(command: Sequence[str]) -> Any:
    """The JSON line that a command prints. Raises RuntimeError when it prints none."""
    with started(command) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"failed: {' '.join(command[:3])}")
    return json.loads(line)
