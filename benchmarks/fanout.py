"""One message to many devices, from Send to the last streamed result, durable; beside its limit and a peer."""

from statistics import median

from benchmarks.stage import Stage

ROUNDS = 3
# aioapns is slower by more than ten times; it gets fewer, and is compared by rate and CPU of one notification.
PEER = 10_000


def fanout(stage: Stage, devices: int) -> list[str]:
    """Rows of Markdown. All candidates take turns, so that each meets the same noise."""
    measured: dict[str, list[tuple[float, float, float]]] = {}
    peaks: dict[str, float] = {}
    with stage.service("sqlite", devices) as lite, stage.service("postgresql", devices) as postgres:
        for turn in range(ROUNDS + 1):
            for name, module, count in (
                ("HTTP/2 stack alone", "bare_pool", devices),
                ("aioapns 4.0", "peer_aioapns", PEER),
            ):
                sink = stage.sink.cpu()
                told = stage.measure(module, stage.port, stage.ca, count)
                spent = stage.sink.cpu() - sink
                if turn:
                    row = (count / told["seconds"], told["cpu"] / count, spent / count)
                    measured.setdefault(name, []).append(row)
            for name, (service, seeded) in (("Bellhop on SQLite", lite), ("Bellhop on PostgreSQL", postgres)):
                sink, cpu = stage.sink.cpu(), service.meter.cpu()
                told = stage.measure("fanout_client", service.address, seeded.app_secret)
                if told["count"] != devices:
                    raise RuntimeError(f"{told['count']} results of {devices}")
                if turn:
                    used, spent = service.meter.cpu() - cpu, stage.sink.cpu() - sink
                    row = (devices / told["seconds"], used / devices, spent / devices)
                    measured.setdefault(name, []).append(row)
                peaks[name] = service.meter.peak()
    rows = [
        "| candidate | notifications/s, median | range | CPU µs each | sink CPU µs each | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in measured.items():
        rates = [rate for rate, _, _ in runs]
        cpu, sink = (median(run[at] for run in runs) * 1e6 for at in (1, 2))
        peak = f"{peaks[name]:.0f}" if name in peaks else ""
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        rows.append(f"| {name} | {median(rates):,.0f} | {spread} | {cpu:.1f} | {sink:.1f} | {peak} |")
    return rows
