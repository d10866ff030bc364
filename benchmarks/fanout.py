"""One message to many devices, from Send to the last streamed result, durable; beside its limit and its peers."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from benchmarks.peers import Peer, peers
from benchmarks.processes import answer, module
from benchmarks.seed import Seeded
from benchmarks.service import Service
from benchmarks.sizes import Sizes
from benchmarks.stage import DATABASES, Stage
from benchmarks.table import table


@dataclass(frozen=True, slots=True)
class _Run:
    seconds: float
    cpu: float
    sink: float


def fanout(stage: Stage, sizes: Sizes) -> list[str]:
    """Lines of Markdown. All candidates take turns, so that each meets the same noise."""
    count = sizes.devices
    skipped = []
    candidates: dict[str, Callable[[], Any]] = {
        "HTTP/2 stack alone": partial(answer, module("bare_pool", stage.port, stage.ca, count))
    }
    for peer in peers():
        if isinstance(peer, Peer):
            candidates[peer.name] = partial(answer, peer.command(stage.port, stage.ca, stage.key, count))
        else:
            skipped.append(peer)
    services: dict[str, Service] = {}
    with ExitStack() as stack:
        for backend in sizes.databases:
            service, seeded = stack.enter_context(stage.service(backend, count))
            name = f"Bellhop on {DATABASES[backend]}"
            services[name] = service
            candidates[name] = partial(_send, service, seeded, count)
        runs: dict[str, list[_Run]] = {name: [] for name in candidates}
        for turn in range(sizes.rounds + 1):
            for name, candidate in candidates.items():
                sink = stage.sink.cpu()
                told = candidate()
                if turn:
                    runs[name].append(_Run(told["seconds"], told["cpu"], stage.sink.cpu() - sink))
        peaks = {name: f"{service.meter.peak():.0f}" for name, service in services.items()}
    costs = {name: median(run.cpu for run in taken) for name, taken in runs.items()}
    least = min((costs[name] for name in services), default=0.0)
    rows = []
    for name, taken in runs.items():
        rates = sorted(count / run.seconds for run in taken)
        sink = median(run.sink for run in taken) / count * 1e6
        rows.append(
            (
                name,
                f"{median(rates):,.0f}",
                f"{rates[0]:,.0f} to {rates[-1]:,.0f}",
                f"{costs[name] / count * 1e6:.1f}",
                f"{costs[name] / least:.1f}" if least else "",
                f"{sink:.1f}",
                peaks.get(name, ""),
            )
        )
    heads = "candidate | notifications/s, median | range | CPU µs each | CPU, Bellhop = 1 | sink CPU µs each | peak MB"
    return [*table(heads, rows), *([""] if skipped else []), *skipped]


def _send(service: Service, seeded: Seeded, count: int) -> dict[str, float]:
    cpu = service.meter.cpu()
    told = answer(module("fanout_client", service.address, seeded.app_secret))
    if told["count"] != count:
        raise RuntimeError(f"{told['count']} results of {count}")
    return {"seconds": told["seconds"], "cpu": service.meter.cpu() - cpu}
