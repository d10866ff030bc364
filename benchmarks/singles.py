"""Messages to one person and logouts: alone, and while the same process sends a broadcast to everyone."""

import json
from dataclasses import asdict
from typing import Any

from benchmarks.percentiles import percentile
from benchmarks.processes import answer, module
from benchmarks.sizes import Sizes
from benchmarks.stage import DATABASES, Stage
from benchmarks.table import table

KINDS = {
    "normal": "send, same application, NORMAL",
    "high": "send, same application, HIGH",
    "other": "send, other application, NORMAL",
    "logout": "logout",
}


def singles(stage: Stage, sizes: Sizes) -> list[str]:
    """Lines of Markdown: milliseconds from the call of Send to its request at the sink, or of UnregisterDevice.

    The broadcast is NORMAL and of the first application.
    """
    rows = []
    notes = []
    for backend in sizes.databases:
        with stage.service(backend, sizes.broadcast) as (service, seeded):
            secrets = json.dumps(asdict(seeded))
            told = answer(module("singles_client", service.address, secrets, sizes.broadcast, sizes.singles, backend))
        for kind, about in KINDS.items():
            idle, loaded = (_milliseconds(stage, told[phase], kind) for phase in ("idle", "loaded"))
            cells = [f"{percentile(each, percent):.1f}" for percent in (50, 99) for each in (idle, loaded) if each]
            rows.append((DATABASES[backend], about, *cells, len(loaded)))
        notes.append(f"On {DATABASES[backend]} the broadcast took {told['seconds']:.1f} s.")
    heads = "database | what | idle p50 ms | loaded p50 ms | idle p99 ms | loaded p99 ms | times, loaded"
    return [*table(heads, rows), "", *notes]


def _milliseconds(stage: Stage, calls: list[dict[str, Any]], kind: str) -> list[float]:
    """In ascending order. Raises KeyError for a send that the sink has not seen."""
    return sorted(
        ((call["ended"] if kind == "logout" else stage.sightings[call["identity"]]) - call["began"]) / 1e6
        for call in calls
        if call["kind"] == kind
    )
