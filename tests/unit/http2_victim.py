"""A client that waits for its death: its requests are with the kernel, and the peer does not read.

`python -m tests.unit.http2_victim PORT CA ENGINE` prints a line when all is written.
"""

import asyncio
import sys
import time
from pathlib import Path

from bellhop_server.providers.engine import choose
from bellhop_server.providers.pool import Pool
from bellhop_server.providers.tls import client_context
from bellhop_server.providers.turns import Turns
from tests.request_batch import RecordingBatch


async def main(port: int, ca_file: Path, engine: str) -> None:
    pool = Pool("localhost", port, tls=client_context(ca_file), turns=Turns(), engine=choose(engine))
    first = RecordingBatch(1)
    pool.send(first)
    await first.finished()
    batch = RecordingBatch(100, first=1, body=b"x" * 1000)
    batch.deadline = time.monotonic() + 60
    pool.send(batch)
    (connection,) = pool.connections
    while connection.channel.written < 100_000:  # noqa: ASYNC110 - the channel tells nobody of it
        await asyncio.sleep(0)
    print(connection.channel.blocked, flush=True)
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
