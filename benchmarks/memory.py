"""The most memory that the server holds while it sends to everyone, by the size of the audience."""

from benchmarks.processes import answer, module
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage
from benchmarks.table import table


def memory(stage: Stage, sizes: Sizes) -> list[str]:
    """Lines of Markdown; each audience meets a server that has just been started, on SQLite."""
    rows = []
    for devices in sizes.audiences:
        with stage.service("sqlite", devices) as (service, seeded):
            before = service.meter.peak()
            told = answer(module("fanout_client", service.address, seeded.app_secret))
            rows.append((f"{devices:,}", f"{before:.0f}", f"{service.meter.peak():.0f}", f"{told['seconds']:.1f}"))
    return table("devices | peak MB before | peak MB of the send | seconds", rows)
