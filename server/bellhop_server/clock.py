"""The clock of the machine."""

import asyncio
import time

from bellhop_server.domain import Micros


class SystemClock:
    """Implements `ports.Clock`."""

    def now(self) -> Micros:
        """See `ports.Clock`."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """See `ports.Clock`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `ports.Clock`."""
        await asyncio.sleep(seconds)
