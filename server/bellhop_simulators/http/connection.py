"""A connection as the side that knows a provider's rules sees it, over either version of HTTP."""

from typing import Literal, Protocol

from bellhop_simulators.http.request import Header

HttpVersion = Literal["HTTP/1.1", "HTTP/2"]

WHOLE = 16_384
"""Octets in one piece of a body unless it is cut smaller: the largest DATA frame of HTTP/2 by default."""


class Connection(Protocol):
    """One connection. Every method may be called at any time; those about a request that is gone do nothing.

    What only HTTP/2 can do ends an HTTP/1.1 connection instead, each method says when.
    """

    version: HttpVersion
    highest: int
    """Stream id of the latest request."""

    def respond(
        self,
        stream_id: int,
        status: int,
        headers: list[Header],
        body: bytes = b"",
        *,
        chunk: int = WHOLE,
        trickle: float = 0.0,
    ) -> None:
        """Answer; the body in pieces of at most `chunk` octets, the head in pieces over `trickle` seconds."""

    def reset_stream(self, stream_id: int, code: int) -> None:
        """RST_STREAM; over HTTP/1.1 the connection is closed without an answer."""

    def set_limit(self, limit: int) -> None:
        """Announce another MAX_CONCURRENT_STREAMS; over HTTP/1.1 the connection is closed behind the next answer."""

    def set_initial_window(self, size: int) -> None:
        """Announce INITIAL_WINDOW_SIZE; over HTTP/1.1 the connection is closed behind the next answer."""

    def goaway(self, last_stream_id: int, code: int = 0, debug: bytes = b"") -> None:
        """GOAWAY. Requests above `last_stream_id` are neither taken nor answered from now on.

        Over HTTP/1.1 nothing is said; such a request closes the connection.
        """

    def close_when_idle(self) -> None:
        """Close as soon as every request was answered."""

    def close(self) -> None:
        """Send what is queued, then end TLS and TCP in order."""

    def reset(self) -> None:
        """Cut the connection with a TCP reset; what is queued is lost."""

    def abort(self) -> None:
        """Drop the connection; what is queued is lost."""
