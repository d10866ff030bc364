"""Sends one message to everyone and reads its stream to the end: `python -m benchmarks.fanout_client ADDRESS SECRET`.

Prints one JSON line: seconds from the call to the last event, seconds to the first results, how many results came.
"""

import asyncio
import json
import sys
import time

from bellhop.v1.message_pb2 import OUTCOME_ACCEPTED, Notification
from bellhop_client import Client, to_everyone
from benchmarks.seed import APP


async def main(address: str, app_secret: str) -> None:
    """One Send."""
    async with Client(address, app_id=APP, app_secret=app_secret) as client:
        start = time.perf_counter()
        first = 0.0
        count = 0
        notification = Notification(title="Hello", body="Your order is on its way.")
        stream = client.send(audience=to_everyone(), notification=notification)
        async for event in stream:
            if event.results.results:
                first = first or time.perf_counter() - start
                count += len(event.results.results)
        seconds = time.perf_counter() - start
        assert stream.summary is not None
        accepted = sum(each.count for each in stream.summary.counts.outcomes if each.outcome == OUTCOME_ACCEPTED)
        if accepted != count:
            raise RuntimeError(f"{accepted} accepted, {count} results streamed")
        print(json.dumps({"seconds": seconds, "first": first, "count": count}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
