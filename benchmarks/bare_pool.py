"""The HTTP/2 stack alone against the sink, without a service around it: the limit of any fan-out on this engine.

`python -m benchmarks.bare_pool PORT CA COUNT` prints one JSON line.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import Headers, Reply
from bellhop_server.providers.pool import Pool
from bellhop_server.providers.tls import client_context
from bellhop_server.providers.turns import Turns

BODY = b'{"aps":{"alert":{"title":"Hello","body":"Your order is on its way."}}}'
BATCH = 500


class Requests:
    """Some requests, as the APNs adapter makes them."""

    size = BATCH
    priority = 2
    largest_body = len(BODY)
    weight = 1

    def __init__(self, first: int, ended: asyncio.Semaphore) -> None:
        self.deadline = time.monotonic() + 600
        self.failed = 0
        self._first = first
        self._ended = ended
        self._left = BATCH

    def request(self, index: int) -> tuple[Headers, bytes]:
        number = self._first + index
        return [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", b"/3/device/%064x" % number),
            (b"authorization", b"bearer " + b"x" * 120),
            (b"apns-topic", b"com.example.shop"),
            (b"apns-push-type", b"alert"),
            (b"apns-priority", b"10"),
            (b"apns-expiration", b"1800000000"),
            (b"apns-id", b"00000000-0000-4000-8000-%012x" % number),
        ], BODY

    def handed_over(self, index: int) -> None:
        """Nobody waits for it."""

    def done(self, index: int, result: Reply | Failure, connection: object) -> None:
        self.failed += not isinstance(result, Reply)
        self._left -= 1
        if not self._left:
            self._ended.release()


async def main(port: int, ca: str, count: int) -> None:
    """Sends `count` requests, eight batches at a time, and prints what they took."""
    pool = Pool("localhost", port, tls=client_context(Path(ca)), turns=Turns())
    places = asyncio.Semaphore(8)
    batches = []
    start, cpu = time.perf_counter(), time.process_time()
    for first in range(0, count, BATCH):
        await places.acquire()
        batches.append(Requests(first, places))
        pool.send(batches[-1])
    for _ in range(8):
        await places.acquire()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    await pool.aclose()
    if any(batch.failed for batch in batches):
        raise RuntimeError("requests failed")
    print(json.dumps({"seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
