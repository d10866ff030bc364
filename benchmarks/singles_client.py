"""Single sends and logouts: `python -m benchmarks.singles_client ADDRESS SECRETS DEVICES TIMES RUN`.

Of each kind so many, one call of any kind every 25 ms, whether or not those before have been answered; first while
nothing else happens, then during a broadcast to all devices. What began after the broadcast had ended does not count.

Prints one JSON line: for `idle` and `loaded` the calls with their kind, identity and times (ns, monotonic), and the
seconds that the broadcast took.
"""

import asyncio
import json
import random
import sys
import time
from typing import Any

import uvloop

from bellhop.v1.message_pb2 import (
    MESSAGE_STATE_COMPLETED,
    OUTCOME_ACCEPTED,
    PRIORITY_HIGH,
    PRIORITY_NORMAL,
    Notification,
    SendOptions,
)
from bellhop_client import Client, to_everyone, to_users
from benchmarks.seed import APP, OTHER, OTHER_DEVICES, device, person

INTERVAL = 0.025
POLL = 0.5

_BROADCAST = "broadcast"


class Caller:
    """Makes the calls of one phase after the other. People and devices are used once."""

    def __init__(self, address: str, secrets: dict[str, str], devices: int, run: str) -> None:
        self._address = address
        self._secrets = secrets
        self._run = run
        self._numbers = iter(random.Random(7).sample(range(devices), min(devices, 100_000)))
        self._others = iter(range(devices, devices + OTHER_DEVICES))
        self.until = float("inf")

    async def __aenter__(self) -> "Caller":
        self.same = Client(self._address, app_id=APP, app_secret=self._secrets["app_secret"])
        self._other = Client(self._address, app_id=OTHER, app_secret=self._secrets["other_app_secret"])
        self._phones = Client(self._address, app_id=APP, client_secret=self._secrets["client_secret"])
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in (self.same, self._other, self._phones):
            await client.close()

    async def phase(self, times: int) -> list[dict[str, Any]]:
        """The calls of one phase, which ends early with the broadcast."""
        kinds = ("normal", "high", "other", "logout")
        loop = asyncio.get_running_loop()
        start = loop.time()
        tasks = []
        for number in range(times * len(kinds)):
            await asyncio.sleep(start + number * INTERVAL - loop.time())
            if loop.time() > self.until:
                break
            tasks.append(asyncio.create_task(self._call(kinds[number % len(kinds)])))
        return await asyncio.gather(*tasks)

    async def _call(self, kind: str) -> dict[str, Any]:
        number = next(self._others if kind == "other" else self._numbers)
        identity = f"watched-{self._run}-{number}"
        began = time.monotonic_ns()
        if kind == "logout":
            answered = await self._phones.unregister_device(device_id=device(number))
            if not answered.existed:
                raise RuntimeError("nobody to log out")
        else:
            stream = (self._other if kind == "other" else self.same).send(
                audience=to_users(person(number)),
                notification=Notification(title="Your code", body="123456", collapse_key=identity),
                options=SendOptions(priority=PRIORITY_HIGH if kind == "high" else PRIORITY_NORMAL),
            )
            results = await stream.results()
            if [result.outcome for result in results] != [OUTCOME_ACCEPTED]:
                raise RuntimeError(f"not sent to one device: {results}")
        return {"kind": kind, "identity": identity, "began": began, "ended": time.monotonic_ns()}


async def main(address: str, secrets: dict[str, str], devices: int, times: int, run: str) -> None:
    """Both phases."""
    async with Caller(address, secrets, devices, run) as caller:
        await caller.phase(10)
        idle = await caller.phase(times)
        began = time.monotonic_ns()
        broadcast = caller.same.send(
            audience=to_everyone(),
            notification=Notification(title="Hello", body="Your order is on its way."),
            options=SendOptions(priority=PRIORITY_NORMAL),
            message_id=_BROADCAST,
            accept_only=True,
        )
        await broadcast.results()
        watching = asyncio.create_task(_watch(caller))
        loaded = await caller.phase(times)
        ended = await watching
        loaded = [call for call in loaded if call["began"] < ended]
    print(json.dumps({"idle": idle, "loaded": loaded, "seconds": (ended - began) / 1e9}))


async def _watch(caller: Caller) -> int:
    """When the broadcast was seen to have ended (ns, monotonic)."""
    while True:
        began = time.monotonic_ns()
        answered = await caller.same.get_message(message_id=_BROADCAST)
        if answered.message.state == MESSAGE_STATE_COMPLETED:
            caller.until = asyncio.get_running_loop().time()
            return began
        await asyncio.sleep(POLL)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    uvloop.run(main(arguments[0], json.loads(arguments[1]), int(arguments[2]), int(arguments[3]), arguments[4]))
