"""The table of requests in flight that each engine keeps, because no library tells the end of every stream."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bellhop_server.providers.engine import (
    LARGEST_REPLY,
    LAST_STREAM,
    REFUSED_STREAM,
    Closed,
    Draining,
    Event,
    Failed,
    FailureKind,
    Headers,
    Limit,
    Pong,
    Reply,
)
from bellhop_server.providers.reasons import Reason

PROTOCOL_ERROR = 1
"""The error code of a peer that breaks the rules (RFC 9113 section 7)."""

# Looking one up costs a third of reading it.
_STATUSES = {b"%d" % status: status for status in range(100, 1000)}


@dataclass(slots=True)
class _Partial:
    """An answer whose END_STREAM has not come."""

    status: int
    headers: Headers
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0


class Streams:
    """Requests in flight on one connection, and the events about them.

    `open` has a stream from `opened` until its final event. `fresh` are the streams of which no byte has left,
    `leaving` those of which some may have, and perhaps not all.
    """

    __slots__ = ("closed", "draining", "events", "fresh", "last", "leaving", "limit", "most", "open")

    def __init__(self, most: int) -> None:
        self.most = most
        # None was announced yet; 0 would be one.
        self.limit = -1
        self.last = LAST_STREAM
        self.draining = False
        self.closed = False
        self.open: dict[int, _Partial | None] = {}
        self.fresh: list[int] = []
        self.leaving: list[int] = []
        self.events: list[Event] = []

    def take_events(self) -> list[Event]:
        """The events since the last call."""
        events = self.events
        self.events = []
        return events

    def free(self) -> int:
        """How many streams may be opened now; negative before a limit is known, or where it fell below what is open."""
        return 0 if self.draining else self.limit - len(self.open)

    def set_limit(self, allowed: int) -> None:
        """The peer's SETTINGS_MAX_CONCURRENT_STREAMS."""
        limit = min(allowed, self.most)
        if limit != self.limit:
            self.limit = limit
            self.events.append(Limit(limit))

    def opened(self, stream: int) -> None:
        """A request was queued."""
        self.open[stream] = None
        self.fresh.append(stream)
        # The next identifier, two higher, must exist too.
        if stream + 2 > LAST_STREAM:
            self.drain(LAST_STREAM, 0, b"stream identifiers used up")

    def leave(self) -> None:
        """Some bytes were given out, perhaps of every stream queued before."""
        if self.fresh:
            self.leaving += self.fresh
            self.fresh.clear()

    def unsent(self) -> list[int]:
        """Those that may not have left whole."""
        return self.fresh + self.leaving

    def cancelled(self, stream: int) -> bool:
        """Nobody waits for it any more. Returns whether no byte of it has left."""
        self.open.pop(stream, None)
        fresh = stream in self.fresh
        if fresh:
            self.fresh.remove(stream)
        elif stream in self.leaving:
            self.leaving.remove(stream)
        return fresh

    def headers(self, stream: int, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """The final header block of an answer that goes on; `:status` is its first field.

        False: it is malformed, the stream is finished here and is to be reset.
        """
        if stream in self.open:
            status = _status(headers)
            if status is None:
                self.malformed(stream)
                return False
            self.open[stream] = _Partial(status, headers[1:])
        return True

    def reply(self, stream: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """An answer of a header block alone."""
        if stream in self.open:
            status = _status(headers)
            if status is None:
                self.malformed(stream)
                return
            del self.open[stream]
            self.events.append(Reply(stream, status, headers[1:], b""))

    def data(self, stream: int, data: bytes) -> bool:
        """A piece of an answer's body. False: the body was cut, the stream is finished here and is to be reset."""
        partial = self.open.get(stream)
        if partial is None:
            return True
        partial.chunks.append(data)
        partial.size += len(data)
        if partial.size <= LARGEST_REPLY:
            return True
        self.ended(stream)
        return False

    def ended(self, stream: int) -> None:
        """END_STREAM came behind a body or trailers."""
        partial = self.open.pop(stream, None)
        if partial is not None:
            body = b"".join(partial.chunks)[:LARGEST_REPLY]
            self.events.append(Reply(stream, partial.status, partial.headers, body))

    def fail(self, stream: int, kind: FailureKind, reason: Reason, code: int | None = None, detail: str = "") -> None:
        """The stream ended without a whole answer."""
        if self.open.pop(stream, self) is not self:
            self.events.append(Failed(stream, kind, reason, code, detail))

    def malformed(self, stream: int) -> None:
        """The answer is none (RFC 9113 section 8.1.1)."""
        self.fail(stream, FailureKind.UNKNOWN, Reason.PROTOCOL_ERROR, PROTOCOL_ERROR)

    def reset(self, stream: int, code: int) -> None:
        """The peer's RST_STREAM."""
        if code == REFUSED_STREAM:
            self.fail(stream, FailureKind.NOT_SENT, Reason.STREAM_REFUSED, code)
        else:
            self.fail(stream, FailureKind.UNKNOWN, Reason.STREAM_RESET, code)

    def drain(self, last: int, code: int, debug: bytes) -> None:
        """No new streams; those above `last` were not processed."""
        self.last = min(self.last, last)
        self.draining = True
        self.events.append(Draining(last, code, debug))
        for stream in [stream for stream in self.open if stream > last]:
            self.fail(stream, FailureKind.NOT_SENT, Reason.GO_AWAY, code)

    def pong(self, data: bytes) -> None:
        """The acknowledgement of a ping."""
        self.events.append(Pong(data))

    def close(self, code: int | None, reason: Reason, detail: str = "") -> None:
        """Nothing more will come: fails what is left, by what is known about each."""
        if self.closed:
            return
        self.closed = self.draining = True
        for stream in list(self.open):
            never = stream > self.last or stream in self.fresh
            self.fail(stream, FailureKind.NOT_SENT if never else FailureKind.UNKNOWN, reason, code)
        self.events.append(Closed(code, reason, detail))


def _status(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """None: there is none of three digits (RFC 9110 section 15)."""
    if not headers or headers[0][0] != b":status":
        return None
    return _STATUSES.get(headers[0][1])
