"""What goes on to the server beside the message: credentials, the trace, the client's address, and its time."""

from collections.abc import Iterable

from starlette.datastructures import Headers

from bellhop_gateway.errors import invalid

CREDENTIALS = ("app-id", "client-secret", "app-secret", "device-secret", "bind-grant", "authorization")
# https://www.w3.org/TR/trace-context/
_TRACE = ("traceparent", "tracestate")
FORWARDED_FOR = "x-forwarded-for"

TIMEOUT = "request-timeout"
"""Seconds that the client will wait: the header that says so."""
DEFAULT_SECONDS = 30.0
LONGEST_SECONDS = 3600.0


def metadata_of(headers: Headers, client: str, kinds: Iterable[str] = CREDENTIALS) -> list[tuple[str, str]]:
    """The metadata of a call. `kinds`: of credentials that are passed on. Raises Refused."""
    passed = []
    for name in (*kinds, *_TRACE):
        values = headers.getlist(name)
        if len(values) > 1:
            raise invalid((name, "comes twice"))
        for value in values:
            if not value.isascii() or not value.isprintable():
                raise invalid((name, "has a character that no header can carry"))
            passed.append((name, value))
    if client:
        passed.append((FORWARDED_FOR, client))
    return passed


def timeout_of(headers: Headers) -> float | None:
    """Seconds that the client will wait; None: it does not say. Raises Refused."""
    text = headers.get(TIMEOUT)
    if text is None:
        return None
    digits = text.replace(".", "", 1)
    seconds = float(text) if digits.isascii() and digits.isdigit() and len(text) <= 12 else 0.0
    if not 0 < seconds <= LONGEST_SECONDS:
        raise invalid((TIMEOUT, f"must be a number of seconds, more than 0 and up to {LONGEST_SECONDS:.0f}"))
    return seconds
