"""An engine whose peer is the test."""

from collections import Counter

from bellhop_server.providers.engine import (
    Engine,
    Event,
    Failed,
    FailureKind,
    Reply,
    choose,
)
from bellhop_server.providers.reasons import Reason
from tests.raw_http2_server import (
    Reader,
)

FIELDS = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":path", b"/3/device/ab"),
    (b":authority", b"localhost"),
    (b"authorization", b"bearer abc"),
]


BODY = b'{"aps":{}}'


NOT_SENT, UNKNOWN, PERMANENT = FailureKind.NOT_SENT, FailureKind.UNKNOWN, FailureKind.PERMANENT


REFUSED_STREAM, NO_ERROR, CANCEL = 7, 0, 8


class Talk:
    """An engine whose peer is the test."""

    def __init__(self, name: str, first: bytes | None = None, most: int = 1000) -> None:
        self.engine: Engine = choose(name)(most)
        self.reader = Reader()
        self.events: list[Event] = []
        self.engine.start()
        self.flush()
        if first is not None:
            self.feed(first)

    def feed(self, *data: bytes) -> None:
        self.events += self.engine.feed(b"".join(data))
        self.flush()

    def flush(self) -> None:
        while data := self.engine.take(100):
            self.reader.feed(data)
        self.events += self.engine.events()

    def submit(self, count: int = 1, body: bytes = BODY) -> list[int]:
        numbers = [self.engine.submit(FIELDS, body) for _ in range(count)]
        self.flush()
        return numbers

    def eof(self) -> None:
        self.events += self.engine.eof(Reason.CONNECTION_LOST)

    def finals(self) -> dict[int, object]:
        """Stream -> status or kind of failure; asserts that there is one at most."""
        final = [event for event in self.events if isinstance(event, Reply | Failed)]
        assert max(Counter(event.stream for event in final).values(), default=1) == 1
        return {event.stream: event.status if isinstance(event, Reply) else event.kind for event in final}

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]
