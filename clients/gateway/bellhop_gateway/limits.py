"""What one client may ask of the gateway: how often, and how much at once."""

import math
from collections import OrderedDict
from collections.abc import Callable

import grpc
from starlette.requests import Request

from bellhop_gateway.errors import Refused, reason_detail, retry_detail

MOST_BYTES = 4 * 1024 * 1024
REMEMBERED = 10_000


class Rate:
    """A bucket of requests for each client address: it fills at `rate` a second, and holds twice as many."""

    def __init__(self, rate: int, clock: Callable[[], float]) -> None:
        """`clock`: monotonic seconds."""
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """By address: requests left, and when that was."""

    def take(self, client: str) -> None:
        """One request. Raises Refused when there is none left."""
        now, most = self._clock(), 2.0 * self._rate
        left, since = self._buckets.pop(client, (most, now))
        left = min(most, left + (now - since) * self._rate)
        self._buckets[client] = (max(left - 1, 0.0) if left >= 1 else left, now)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        if left < 1:
            wait = math.ceil((1 - left) / self._rate * 1000) / 1000
            metadata = {"limit": "requests_per_second", "value": str(self._rate)}
            raise Refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "Too many requests from this address.",
                [reason_detail("RATE_LIMITED", **metadata), retry_detail(wait)],
            )


async def read(request: Request) -> bytes:
    """The body, as long as it is not too large: no more than that is ever held. Raises Refused."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MOST_BYTES:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"The body has more than {MOST_BYTES} bytes.",
                [reason_detail("INVALID_REQUEST", limit="request_bytes", value=str(MOST_BYTES))],
                http_status=413,
                headers={"connection": "close"},
            )
        chunks.append(chunk)
    return b"".join(chunks)
