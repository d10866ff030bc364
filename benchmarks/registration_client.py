"""Registers devices from 64 callers at once: `python -m benchmarks.registration_client ADDRESS SECRET SECONDS`.

Prints one JSON line: registrations acknowledged, seconds, latencies in milliseconds, this client's own CPU seconds.
"""

import asyncio
import json
import sys
import time

from bellhop.v1.device_pb2 import ApnsTarget
from bellhop_client import Client
from benchmarks.seed import APP

CALLERS = 64


async def main(address: str, client_secret: str, seconds: float) -> None:
    """New devices, each of a person of its own, for so many seconds."""
    latencies: list[float] = []
    start, cpu = time.perf_counter(), time.process_time()
    async with Client(address, app_id=APP, client_secret=client_secret) as client:

        async def caller(number: int) -> None:
            turn = 0
            while (began := time.perf_counter()) - start < seconds:
                name = f"{number}-{turn}"
                token = f"{number:08x}{turn:056x}"
                await client.register_device(device_id=name, user_id=f"person-{name}", apns=ApnsTarget(token=token))
                latencies.append(time.perf_counter() - began)
                turn += 1

        await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    latencies.sort()
    print(
        json.dumps(
            {
                "count": len(latencies),
                "seconds": time.perf_counter() - start,
                "p50": latencies[len(latencies) // 2] * 1000,
                "p99": latencies[len(latencies) * 99 // 100] * 1000,
                "cpu": time.process_time() - cpu,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
