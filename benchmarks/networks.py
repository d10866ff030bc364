"""One adapter for each network against the sink, without a service around it; beside what others send by."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from statistics import median
from typing import Any

from benchmarks.processes import answer, module
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage
from benchmarks.table import table

ROUNDS = 3
# Others take a hundred times as long for each.
PEERS_SHARE = 20


def networks(stage: Stage, sizes: Sizes) -> list[str]:
    """Lines of Markdown; CPU is that of the process that sends."""
    count = sizes.sends
    few = max(count // PEERS_SHARE, 1)
    programs: dict[str, tuple[int, Callable[[], Any]]] = {}
    for name, network in (("APNs", "apns"), ("FCM", "fcm"), ("Web Push", "web_push")):
        command = module("network_sender", network, stage.port, stage.ca, count)
        programs[f"Bellhop's adapter: {name}"] = count, partial(answer, command)
    for package, program in (("firebase-admin", "peer_firebase_admin"), ("pywebpush", "peer_pywebpush")):
        command = module(program, stage.port, stage.ca, few)
        programs[f"{package} {version(package)}"] = few, partial(answer, command)
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for turn in range(ROUNDS + 1):
        for name, (sent, program) in programs.items():
            told = program()
            if turn:
                runs[name].append((sent / told["seconds"], told["cpu"] / sent * 1e6))
    rows = [
        (name, f"{median(rate for rate, _ in taken):,.0f}", f"{median(cpu for _, cpu in taken):.1f}")
        for name, taken in runs.items()
    ]
    return table("sender | sends/s | CPU µs each", rows)
