"""How a stream is opened and continued after an interruption."""

import random
from dataclasses import dataclass

import grpc

from bellhop_client.errors import BellhopError

# What the transport or a proxy makes of a stream that it cuts; with a reason it is the server's own word, and final.
_TRANSPORT_CODES = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Delays grow from `initial_delay` seconds, doubling, up to `maximum_delay`, each between half and the whole of it.

    A send that has not been accepted is tried `opening_attempts` times in all. A stream that was cut is continued as
    long as no `resuming_attempts` in a row bring an event.
    """

    initial_delay: float = 0.2
    maximum_delay: float = 10.0
    opening_attempts: int = 5
    resuming_attempts: int = 10

    def delay(self, failures: int, retry_after: float | None) -> float:
        """Seconds to wait after so many failures in a row, 1 or more; never less than the server asked for."""
        # The exponent is bounded because a float overflows at 2 ** 1024.
        longest = min(self.maximum_delay, self.initial_delay * 2.0 ** min(failures - 1, 64))
        # Spread, so that clients that lost the same server do not come back all at once.
        return max(longest * random.uniform(0.5, 1.0), retry_after or 0.0)  # noqa: S311 - no secret depends on it


def is_interruption(error: BellhopError, *, accepted: bool) -> bool:
    """Whether the stream was cut rather than refused, so that going on can help."""
    # Nothing is lost by waiting for a full server once it has the message; before, the caller may know another way.
    if accepted and error.reason == "OVERLOADED":
        return True
    if error.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return True
    return error.code in _TRANSPORT_CODES and not error.reason
