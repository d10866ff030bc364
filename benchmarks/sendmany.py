"""Messages to one device each, durable, to their streamed summaries: on one SendMany stream, and each on its own."""

from statistics import median

from benchmarks.processes import answer, module
from benchmarks.sizes import Sizes
from benchmarks.stage import DATABASES, Stage
from benchmarks.table import table

WAYS = {"many": "one SendMany stream", "single": "64 Send streams at once"}


def sendmany(stage: Stage, sizes: Sizes) -> list[str]:
    """Lines of Markdown. The ways take turns, so that each meets the same noise.

    Raises RuntimeError when not every message was answered to its end.
    """
    rows = []
    for backend in sizes.databases:
        runs: dict[str, list[tuple[float, ...]]] = {way: [] for way in WAYS}
        with stage.service(backend, sizes.messages) as (service, seeded):
            for turn in range(sizes.rounds + 1):
                for way, taken in runs.items():
                    # A single one costs many times as much.
                    count = sizes.messages // (1 if way == "many" else 5)
                    server, sink = service.meter.cpu(), stage.sink.cpu()
                    secret = seeded.app_secret
                    told = answer(module("sendmany_client", way, service.address, secret, count, sizes.messages))
                    if told["count"] != count:
                        raise RuntimeError(f"{told['count']} of {count} messages were answered to their end")
                    spent = (service.meter.cpu() - server, told["cpu"], stage.sink.cpu() - sink)
                    if turn:
                        taken.append((count / told["seconds"], *(each / count * 1e6 for each in spent)))
            peak = service.meter.peak()
        for way, taken in runs.items():
            rates = sorted(run[0] for run in taken)
            costs = [f"{median(column):.0f}" for column in list(zip(*taken, strict=True))[1:]]
            span = f"{rates[0]:,.0f} to {rates[-1]:,.0f}"
            rows.append((DATABASES[backend], WAYS[way], f"{median(rates):,.0f}", span, *costs, f"{peak:.0f}"))
    heads = "database | how | messages/s, median | range | server CPU µs each | client CPU µs | sink CPU µs | peak MB"
    return table(heads, rows)
