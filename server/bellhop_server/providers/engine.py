"""What an outgoing connection asks of its protocol engine, and what the engine tells it.

An engine is sans-IO: bytes in, events and bytes out. It knows no socket, clock or callback. Two speak HTTP/2:
`engine_ngh2` (libnghttp2, the default) and `engine_h2` (pure Python, slower by more than ten times, for platforms
without a wheel of ngh2). `engine_h11` speaks HTTP/1.1, where a stream is one request and its answer.

The promise all keep, whatever the peer sends and wherever the input is cut: **every submitted stream gets exactly one
final event**, `Reply` or `Failed`, unless it was cancelled; and a failure is called NOT_SENT only where HTTP/2 itself
says that the peer did not process the request (RFC 9113 section 8.7), or nothing of it has left.
"""

import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from bellhop_server.providers.reasons import Reason

_log = logging.getLogger(__name__)

Headers = Sequence[tuple[bytes, bytes]]
"""Header fields in order, pseudo-header fields first, names in lower case."""


class FailureKind(Enum):
    """What is known about a request that got no answer."""

    NOT_SENT = "not_sent"
    """The peer did not process it: sending it again is safe."""
    UNKNOWN = "unknown"
    """It may have been processed: sending it again may be a duplicate."""
    PERMANENT = "permanent"
    """It was not processed and never will be: the request itself cannot be sent (bad or over-long header fields)."""


@dataclass(slots=True)
class Reply:
    """The whole answer to the request on `stream`; a body over `LARGEST_REPLY` bytes is cut there."""

    stream: int
    status: int
    headers: Headers
    """Header fields without `:status`."""
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """The first field with this lower-case name."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(slots=True)
class Failed:
    """The request on `stream` ended without a whole answer; `code` is the HTTP/2 error code, where there was one."""

    stream: int
    kind: FailureKind
    reason: Reason
    code: int | None = None
    detail: str = ""
    """For the log, not quoted yet."""


@dataclass(slots=True)
class Limit:
    """The peer now allows this many concurrent streams (already cut to the engine's own bound)."""

    streams: int


@dataclass(slots=True)
class Pong:
    """The acknowledgement of a ping with these 8 bytes."""

    data: bytes


@dataclass(slots=True)
class Draining:
    """No new requests: GOAWAY or `Connection: close` came, or the stream identifiers are used up.

    Streams up to `last_stream` go on.
    """

    last_stream: int
    code: int
    debug: bytes


@dataclass(slots=True)
class Closed:
    """The connection is over; every stream has had its final event. `take` may still give a last word."""

    code: int | None
    reason: Reason
    detail: str = ""
    """For the log, not quoted yet."""


Event = Reply | Failed | Limit | Pong | Draining | Closed

REFUSED_STREAM = 7
"""The error code that promises that nothing was processed (RFC 9113 section 8.7)."""

LARGEST_REPLY = 64 * 1024
"""Bytes kept of an answer's body; the rest is cancelled. Providers answer with a few hundred."""

LARGEST_HEADER_LIST = 16 * 1024
"""Bytes of header fields, counted as in RFC 9113 section 6.5.2, taken from the peer and sent to it."""

LAST_STREAM = 2**31 - 1
"""The largest stream identifier there is."""


class Refused(Exception):
    """Nothing was sent and nothing will be: the request can go elsewhere or later."""


class HeadersRefused(Refused):
    """The peer announced a SETTINGS_MAX_HEADER_LIST_SIZE that these fields exceed: they can go elsewhere."""


class InvalidRequest(Exception):
    """The header fields cannot be sent by HTTP, here or elsewhere. Its text never holds a field's value."""


class Engine(Protocol):
    """One client connection. After each `feed` and `take` the caller takes what `take` gives, then `events()`.

    No method raises but `submit`.
    """

    weight: int
    """CPU cost of a request relative to ngh2's, for sharing out the turns of the event loop."""
    multiplexed: bool
    """Requests share the connection, and a PING tells that it is alive. HTTP/1.1 has neither."""

    def start(self) -> None:
        """Queues the connection preface. Until the peer's first SETTINGS `capacity` is 0; HTTP/1.1 has no such."""

    def capacity(self, size: int) -> int:
        """How many requests with bodies of `size` bytes the peer's stream limit and windows let leave whole, now."""

    def submit(self, headers: Headers, body: bytes) -> int:
        """Queues a request and returns its stream.

        Raises Refused where `capacity(len(body))` is 0, HeadersRefused for more of them than this peer takes, and
        InvalidRequest for header fields that RFC 9113 section 8.2 forbids or that exceed `LARGEST_HEADER_LIST`.
        """

    def feed(self, data: bytes) -> list[Event]:
        """Takes bytes from the peer; returns the events so far. Errors are events too."""

    def take(self, most: int = 16384) -> bytes:
        """Up to `most` bytes to be written; empty when there are none."""

    def events(self) -> list[Event]:
        """The events since the last call, also those that `take` caused."""

    def cancel(self, stream: int) -> bool:
        """Resets the stream; no final event follows. What waits for a window or for the stream limit never leaves.

        Returns whether nothing of the request has left or will.
        """

    def unsent(self) -> Collection[int]:
        """The streams of which `take` may not have given out all, up to END_STREAM.

        A ping queued now comes behind the last byte of every other request.
        """

    def ping(self, data: bytes) -> None:
        """Queues a PING with these 8 bytes, where there is one."""

    def close(self) -> None:
        """Queues a GOAWAY (HTTP/2) and gives up what is in flight: the final events come with `events` or `eof`."""

    def eof(self, reason: Reason) -> list[Event]:
        """The transport is gone: fails what is left, for that reason."""


EngineFactory = Callable[[int], Engine]
"""Makes an engine that keeps at most so many requests in flight, whatever the peer allows."""

Engines = Mapping[str, EngineFactory]
"""What may be spoken, by the name that ALPN has for it (RFC 7301); "h2" always is."""


@functools.cache
def choose(name: str | None = None) -> EngineFactory:
    """The engine of HTTP/2 called `name` ("ngh2" or "h2"), or the better one that this installation has."""
    if name != "h2":
        try:
            from bellhop_server.providers.engine_ngh2 import Ngh2Engine
        except ImportError:
            if name is not None:
                raise
        else:
            _log.info("HTTP/2 by ngh2")
            return Ngh2Engine
    from bellhop_server.providers.engine_h2 import H2Engine

    _log.info("HTTP/2 by h2, which is slow")
    return H2Engine
