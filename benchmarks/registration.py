"""RegisterDevice under 64 callers, each acknowledged after its commit."""

import asyncio

from bellhop_client import Client
from benchmarks.processes import answer, module
from benchmarks.seed import APP
from benchmarks.sizes import Sizes
from benchmarks.stage import DATABASES, Stage
from benchmarks.table import table


def registration(stage: Stage, sizes: Sizes) -> list[str]:
    """Lines of Markdown. The generator's own CPU tells that it was not the bottleneck.

    Raises RuntimeError when a device that was acknowledged is not there.
    """
    rows = []
    for backend in sizes.databases:
        with stage.service(backend, 0) as (service, seeded):
            before = service.meter.cpu()
            told = answer(module("registration_client", service.address, seeded.client_secret, sizes.seconds))
            used, count = service.meter.cpu() - before, told["count"]
            found = asyncio.run(_stored(service.address, seeded.app_secret))
        if found != count:
            raise RuntimeError(f"{count} registrations were acknowledged, {found} are there")
        rows.append(
            (
                DATABASES[backend],
                f"{count / told['seconds']:,.0f}",
                f"{told['p50']:.1f}",
                f"{told['p99']:.1f}",
                f"{used / count * 1e6:.0f}",
                f"{told['cpu'] / count * 1e6:.0f}",
            )
        )
    return table("database | registrations/s | p50 ms | p99 ms | server CPU µs each | generator CPU µs each", rows)


async def _stored(address: str, app_secret: str) -> int:
    async with Client(address, app_id=APP, app_secret=app_secret) as client:
        answered = await client.list_devices(page_size=1, return_total_size=True)
        return answered.total_size
