"""The `Retry-After` of an answer (RFC 9110 section 10.2.3)."""

import re
from email.utils import parsedate_to_datetime

from bellhop_server.domain import SECOND, Micros

_LONGEST = 24 * 3600.0

_SECONDS = re.compile(rb"[0-9]{1,10}")


def retry_after(value: bytes | None, now: Micros) -> float | None:
    """Seconds, told as such or as an HTTP date; at most a day, and None when there are none or they are unreadable."""
    if value is None:
        return None
    if _SECONDS.fullmatch(value):
        seconds = float(value)
    else:
        try:
            seconds = parsedate_to_datetime(value.decode("ascii")).timestamp() - now / SECOND
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), _LONGEST)
