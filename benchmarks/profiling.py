"""A fan-out by thread and, on the event loop, by stage."""

import json
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
from benchmarks.stages import functions, stages
from benchmarks.table import table

_PROGRAM = Path(__file__).with_name("profiled.py")
_PATIENCE = 30.0
_FUNCTIONS = 12


def profile(stage: Stage, sizes: Sizes) -> list[str]:
    """Lines of Markdown: CPU by thread of an unhindered send, and how the event loop's divides in a sampled one."""
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
            sampled = _sample(service, send, file)
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
                _parts(stages(sampled["loop"]), threads[LOOP] * each),
            ),
        ]
        if inside := Counter(sampled["threads"]):
            heads = f"{DATABASES[backend]}: function in its threads | share | CPU µs each"
            lines += ["", *table(heads, _parts(inside, inside.total() * each, _FUNCTIONS))]
        if sizes.functions:
            heads = f"{DATABASES[backend]}: function on the event loop | share | CPU µs each"
            found = functions(sampled["loop"])
            lines += ["", *table(heads, _parts(found, threads[LOOP] * each, sizes.functions))]
    return lines


def _parts(parts: Counter[str], whole: float, most: int | None = None) -> list[tuple[str, str, str]]:
    """The largest first, with its share, and with that share of the whole."""
    total = parts.total()
    return [(name, f"{part / total:.0%}", f"{part / total * whole:.1f}") for name, part in parts.most_common(most)]


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


def _sample(service: Service, send: Callable[[], Any], file: Path) -> Any:
    """What the launcher writes about another send."""
    os.kill(service.pid, signal.SIGUSR1)
    send()
    os.kill(service.pid, signal.SIGUSR1)
    until = time.monotonic() + _PATIENCE
    while not file.exists():
        if time.monotonic() > until:
            raise RuntimeError("no profile was written")
        time.sleep(0.05)
    return json.loads(file.read_text())
