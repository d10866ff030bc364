"""The most memory that the server holds while it sends to everyone, by the size of the audience."""

from benchmarks.stage import Stage


def memory(stage: Stage, audiences: tuple[int, ...]) -> list[str]:
    """Rows of Markdown; each audience meets a server that has just been started, on SQLite."""
    rows = ["| devices | peak MB before | peak MB of the send | seconds |", "|---|---|---|---|"]
    for devices in audiences:
        with stage.service("sqlite", devices) as (service, seeded):
            before = service.meter.peak()
            told = stage.measure("fanout_client", service.address, seeded.app_secret)
            rows.append(f"| {devices:,} | {before:.0f} | {service.meter.peak():.0f} | {told['seconds']:.1f} |")
    return rows
