"""aioapns against the sink: `python -m benchmarks.peer_aioapns PORT CA KEY COUNT` prints one JSON line.

aioapns knows only Apple's hosts, so host and port of its protocol class are set to the sink's. A thousand sends are
under way at once.
"""

import asyncio
import json
import ssl
import sys
import time
from pathlib import Path

from aioapns import APNs, NotificationRequest, PushType
from aioapns.connection import APNsProductionClientProtocol

AT_ONCE = 1000


async def main(port: int, ca: str, key: str, count: int) -> None:
    """Sends `count` notifications and prints what they took."""
    APNsProductionClientProtocol.APNS_SERVER = "localhost"
    APNsProductionClientProtocol.APNS_PORT = port
    client = APNs(
        key=key,
        key_id="KEY1234567",
        team_id="TEAM123456",
        topic="com.example.shop",
        ssl_context=ssl.create_default_context(cafile=ca),
        max_connections=4,
    )
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            request = NotificationRequest(
                device_token=f"{number:064x}",
                message={"aps": {"alert": {"title": "Hello", "body": "Your order is on its way."}}},
                push_type=PushType.ALERT,
                time_to_live=86400,
                priority=10,
            )
            answer = await client.send_notification(request)
            if not answer.is_successful:
                raise RuntimeError(answer.description)

    start, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).read_text(), int(sys.argv[4])))
