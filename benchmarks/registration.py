"""RegisterDevice under 64 callers, each acknowledged after its commit."""

from benchmarks.stage import Stage

SECONDS = 10


def registration(stage: Stage) -> list[str]:
    """Rows of Markdown. The generator's own CPU tells whether it was the bottleneck."""
    rows = [
        "| database | registrations/s | p50 ms | p99 ms | server CPU µs each | generator CPU µs each |",
        "|---|---|---|---|---|---|",
    ]
    for name, backend in (("SQLite", "sqlite"), ("PostgreSQL", "postgresql")):
        with stage.service(backend, 0) as (service, seeded):
            cpu = service.meter.cpu()
            told = stage.measure("registration_client", service.address, seeded.client_secret, SECONDS)
            used, count = service.meter.cpu() - cpu, told["count"]
            rows.append(
                f"| {name} | {count / told['seconds']:,.0f} | {told['p50']:.1f} | {told['p99']:.1f} "
                f"| {used / count * 1e6:.0f} | {told['cpu'] / count * 1e6:.0f} |"
            )
    return rows
