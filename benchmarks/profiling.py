"""A fan-out by thread and, on the event loop, by stage."""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import answer, module
from benchmarks.profiled import LOOP
from benchmarks.service import Service
from benchmarks.sizes import Sizes
from benchmarks.stage import DATABASES, Stage
from benchmarks.stages import stages
from benchmarks.table import table

_PROGRAM = Path(__file__).with_name("profiled.py")
_PATIENCE = 30.0


def profile(stage: Stage, sizes: Sizes) -> list[str]:
    """Lines of Markdown: CPU by thread of an unhindered send, and how the event loop's divides in a profiled one."""
    lines: list[str] = []
    for backend in sizes.databases:
        file = stage.folder / f"{backend}.profile"
        # -P: our folder must not come before the standard library.
        program = (sys.executable, "-P", str(_PROGRAM), str(file))
        with stage.service(backend, sizes.devices, program) as (service, seeded):

            def send(service: Service = service, secret: str = seeded.app_secret) -> Any:
                return answer(module("fanout_client", service.address, secret))

            send()
            threads, cpu = _threads(service, send)
            shares = _shares(service, send, file)
        each = 1e6 / sizes.devices
        lines += [
            *([""] if lines else []),
            *table(
                f"{DATABASES[backend]}: thread | CPU µs each",
                [*((name, f"{spent * each:.1f}") for name, spent in threads.most_common()), _all(cpu * each)],
            ),
            "",
            *table(
                f"{DATABASES[backend]}: event loop | share of its CPU | CPU µs each",
                ((name, f"{part:.0%}", f"{part * threads[LOOP] * each:.1f}") for name, part in shares),
            ),
        ]
    return lines


def _all(spent: float) -> tuple[str, str]:
    return "all", f"{spent:.1f}"


def _threads(service: Service, send: Callable[[], Any]) -> tuple[Counter[str], float]:
    """CPU seconds of a send by name of thread, numbers at the end of a name left out, and of all."""
    before, cpu = service.meter.threads(), service.meter.cpu()
    send()
    after, cpu = service.meter.threads(), service.meter.cpu() - cpu
    spent: Counter[str] = Counter()
    for identity, (name, until) in after.items():
        spent[name.rstrip("_-0123456789")] += until - before.get(identity, ("", 0.0))[1]
    return Counter({name: seconds for name, seconds in spent.items() if seconds > 0}), cpu


def _shares(service: Service, send: Callable[[], Any], file: Path) -> list[tuple[str, float]]:
    """Stages with their share of the event loop's CPU, the largest first."""
    os.kill(service.pid, signal.SIGUSR1)
    send()
    os.kill(service.pid, signal.SIGUSR1)
    until = time.monotonic() + _PATIENCE
    while not file.exists():
        if time.monotonic() > until:
            raise RuntimeError("no profile was written")
        time.sleep(0.05)
    found = stages(file)
    return [(name, spent / found.total()) for name, spent in found.most_common()]
