"""The engine of HTTP/1.1: one request at a time, one end for each, and no answer goes to the wrong one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.providers.engine import (
    LARGEST_REPLY,
    Closed,
    Draining,
    Event,
    Failed,
    FailureKind,
    InvalidRequest,
    Limit,
    Refused,
    Reply,
)
from bellhop_server.providers.engine_h11 import H11Engine
from bellhop_server.providers.reasons import Reason
from tests.unit.engine_talk import NOT_SENT, PERMANENT, UNKNOWN

FIELDS = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":path", b"/push/a%2Fb?x=1;y"),
    (b":authority", b"push.example:8443"),
    (b"ttl", b"60"),
]
CREATED = b"HTTP/1.1 201 Created\r\nLocation: /m/1\r\nContent-Length: 0\r\n\r\n"


class Talk:
    """An engine that was started, whose peer is the test."""

    def __init__(self) -> None:
        self.engine = H11Engine()
        self.engine.start()
        self.events: list[Event] = self.engine.events()

    def sent(self, body: bytes = b"abc") -> int:
        """A request that has left whole."""
        stream = self.engine.submit(FIELDS, body)
        while self.engine.take():
            pass
        return stream

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.events += self.engine.feed(piece)

    def eof(self, reason: Reason = Reason.CONNECTION_LOST) -> None:
        self.events += self.engine.eof(reason)

    def finals(self) -> dict[int, int | FailureKind]:
        """Stream -> status or kind of failure; asserts that there is one at most."""
        final = [event for event in self.events if isinstance(event, Reply | Failed)]
        ends = {event.stream: event.status if isinstance(event, Reply) else event.kind for event in final}
        assert len(ends) == len(final)
        return ends

    def replies(self) -> list[Reply]:
        return [event for event in self.events if isinstance(event, Reply)]

    def closed(self) -> Closed | None:
        found = [event for event in self.events if isinstance(event, Closed)]
        assert len(found) <= 1
        return found[0] if found else None


def test_a_request_is_written_with_its_target_as_it_is() -> None:
    engine = H11Engine()
    assert engine.capacity(3) == 0
    engine.start()
    assert engine.events() == [Limit(1)]
    assert engine.capacity(3) == 1
    engine.submit(FIELDS, b"abc")
    assert engine.take(10) + engine.take() == (
        b"POST /push/a%2Fb?x=1;y HTTP/1.1\r\nhost: push.example:8443\r\nttl: 60\r\ncontent-length: 3\r\n\r\nabc"
    )
    assert engine.take() == b""


def test_an_empty_body_has_its_length_too() -> None:
    engine = Talk().engine
    engine.submit(FIELDS, b"")
    assert engine.take().endswith(b"\r\ncontent-length: 0\r\n\r\n")


def test_one_request_at_a_time() -> None:
    talk = Talk()
    for number in range(1, 4):
        assert talk.sent() == number
        assert talk.engine.capacity(0) == 0
        with pytest.raises(Refused):
            talk.engine.submit(FIELDS, b"")
        talk.feed(CREATED)
        assert talk.engine.capacity(0) == 1
    assert talk.finals() == {1: 201, 2: 201, 3: 201}
    assert talk.closed() is None


ANSWERS = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
    "chunks": (
        b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n",
        400,
        b"hello",
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "no reason": (b"HTTP/1.1 410 \r\ncontent-length:0\r\n\r\n", 410, b""),
    "interim first": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + CREATED, 201, b""),
    "redirect": (b"HTTP/1.1 307 Go\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n", 307, b""),
}


@pytest.mark.parametrize("piece", [1, 7, 10_000])
@pytest.mark.parametrize(("answer", "status", "body"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_however_it_is_cut(answer: bytes, status: int, body: bytes, piece: int) -> None:
    talk = Talk()
    talk.sent()
    talk.feed(*(answer[start : start + piece] for start in range(0, len(answer), piece)))
    (reply,) = talk.replies()
    assert (reply.stream, reply.status, reply.body) == (1, status, body)
    assert talk.engine.capacity(0) == 1


def test_the_fields_of_an_answer_are_found_by_lower_case_names() -> None:
    talk = Talk()
    talk.sent()
    talk.feed(CREATED)
    (reply,) = talk.replies()
    assert reply.header(b"location") == b"/m/1"
    assert reply.header(b":status") is None


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 201 Created\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_no_request_follows_where_the_peer_will_close(answer: bytes) -> None:
    talk = Talk()
    talk.sent()
    talk.feed(answer)
    assert talk.finals() == {1: 201}
    assert [type(event) for event in talk.events] == [Limit, Reply, Draining]
    assert talk.engine.capacity(0) == 0
    with pytest.raises(Refused):
        talk.engine.submit(FIELDS, b"")
    talk.eof()
    assert talk.finals() == {1: 201}


def test_a_body_may_end_with_the_connection() -> None:
    talk = Talk()
    talk.sent()
    talk.feed(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo")
    assert talk.finals() == {}
    talk.eof()
    assert [reply.body for reply in talk.replies()] == [b"hello"]


def test_a_body_that_we_cut_off_is_no_whole_answer() -> None:
    talk = Talk()
    talk.sent()
    talk.feed(b"HTTP/1.1 200 OK\r\n\r\nhel")
    talk.eof(Reason.SHUTTING_DOWN)
    assert talk.finals() == {1: UNKNOWN}


NONSENSE = {
    "not HTTP": b"\x15\x03\x01 hello\r\n\r\n",
    "HTTP/2": b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 2,
    "a switch nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    "status 099": b"HTTP/1.1 099 Odd\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a strange coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\nx: " + b"x" * 20_000,
    "an endless line of interim answers": b"HTTP/1.1 102 Wait\r\n\r\n" * 101,
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_ends_the_connection(answer: bytes) -> None:
    talk = Talk()
    talk.sent()
    talk.feed(answer)
    assert talk.finals() == {1: UNKNOWN}
    closed = talk.closed()
    assert closed is not None
    assert closed.reason is Reason.PROTOCOL_ERROR
    assert talk.engine.capacity(0) == 0
    talk.feed(CREATED)
    talk.eof()
    assert talk.finals() == {1: UNKNOWN}


@pytest.mark.parametrize("head", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
def test_a_long_body_is_cut_and_the_connection_given_up(head: bytes) -> None:
    talk = Talk()
    talk.sent()
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    talk.feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", *[chunk] * 30)
    (reply,) = talk.replies()
    assert len(reply.body) == LARGEST_REPLY
    assert talk.closed() is not None
    assert talk.engine.capacity(0) == 0


def test_the_connection_ends_before_anything_has_left() -> None:
    talk = Talk()
    talk.engine.submit(FIELDS, b"abc")
    talk.eof()
    assert talk.finals() == {1: NOT_SENT}
    assert talk.engine.take() == b""


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"])
def test_the_connection_ends_before_the_answer_is_whole(answer: bytes) -> None:
    talk = Talk()
    talk.sent()
    talk.feed(*([answer] if answer else []))
    talk.eof()
    assert talk.finals() == {1: UNKNOWN}
    assert [event.reason for event in talk.events if isinstance(event, Failed)] == [Reason.CONNECTION_LOST]


def test_a_request_of_which_some_bytes_left_is_in_doubt() -> None:
    talk = Talk()
    talk.engine.submit(FIELDS, b"x" * 4000)
    talk.engine.take(10)
    assert talk.engine.unsent() == [1]
    talk.eof()
    assert talk.finals() == {1: UNKNOWN}
    assert talk.engine.take() == b""


@pytest.mark.parametrize("early", [b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", CREATED])
def test_what_came_unasked_is_no_answer_to_the_next(early: bytes) -> None:
    talk = Talk()
    talk.engine.submit(FIELDS, b"abc")
    talk.feed(early)
    assert talk.finals() == {1: NOT_SENT}
    assert talk.closed() is not None
    assert talk.engine.take() == b""
    idle = Talk()
    idle.feed(early)
    assert idle.closed() is not None
    assert idle.engine.capacity(0) == 0


def test_a_second_answer_is_no_answer_to_the_next() -> None:
    talk = Talk()
    talk.sent()
    talk.feed(CREATED + CREATED)
    assert talk.finals() == {1: 201}
    assert talk.closed() is not None
    assert talk.engine.capacity(0) == 0


def test_a_cancelled_request_that_has_not_left_never_does() -> None:
    talk = Talk()
    stream = talk.engine.submit(FIELDS, b"abc")
    assert talk.engine.cancel(stream)
    assert talk.engine.take() == b""
    assert talk.engine.capacity(0) == 0


def test_the_answer_to_a_cancelled_request_is_nobodys() -> None:
    talk = Talk()
    assert not talk.engine.cancel(talk.sent())
    talk.feed(CREATED, b"junk")
    talk.eof()
    assert talk.finals() == {}
    assert talk.engine.capacity(0) == 0


def test_closing_gives_up_what_is_in_flight() -> None:
    talk = Talk()
    talk.sent()
    talk.engine.close()
    talk.eof()
    assert talk.finals() == {1: UNKNOWN}
    waiting = Talk()
    waiting.engine.submit(FIELDS, b"")
    waiting.engine.close()
    assert waiting.engine.take() == b""
    waiting.eof()
    assert waiting.finals() == {1: NOT_SENT}


def test_there_is_no_ping() -> None:
    talk = Talk()
    talk.engine.ping(b"bellhop!")
    assert talk.engine.take() == b""
    assert not talk.engine.multiplexed


@pytest.mark.parametrize(
    "field",
    [
        (b"topic", b"secret\r\nx: y"),
        (b"topic", b"secret\n"),
        (b"topic", b"sec\0ret"),
        (b"topic", b" secret"),
        (b"topic: x", b"secret"),
        (b"Topic", b"secret"),
        (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"content-length", b"9"),
        (b"host", b"other.example"),
        (b":path", b"/"),
        (b"topic", b"s" * 20_000),
    ],
)
def test_fields_that_cannot_be_sent(field: tuple[bytes, bytes]) -> None:
    engine = Talk().engine
    with pytest.raises(InvalidRequest) as refused:
        engine.submit([*FIELDS, field], b"abc")
    assert "sec" not in str(refused.value)
    # The connection is as good as before.
    engine.submit(FIELDS, b"")
    assert engine.take().startswith(b"POST /push/")


@pytest.mark.parametrize(
    "path", [b"", b"push", b"http://10.0.0.1/", b"/a b", b"/\x7f", b"/\xc3\xa9", b"/ HTTP/1.1\r\n"]
)
def test_a_path_that_is_none(path: bytes) -> None:
    engine = Talk().engine
    with pytest.raises(InvalidRequest):
        engine.submit([(name, path if name == b":path" else value) for name, value in FIELDS], b"")
    assert engine.take() == b""


def test_a_host_is_needed() -> None:
    engine = Talk().engine
    fields = [field for field in FIELDS if field[0] != b":authority"]
    with pytest.raises(InvalidRequest):
        engine.submit(fields, b"")
    engine.submit([*fields, (b"host", b"push.example")], b"")
    assert b"\r\nhost: push.example\r\n" in engine.take()


_PIECES = st.sampled_from(
    [
        CREATED,
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
    ]
) | st.binary(min_size=1, max_size=20)


@given(st.lists(_PIECES | st.none(), max_size=12), st.booleans())
def test_whatever_comes_each_request_has_one_end(steps: list[bytes | None], lost: bool) -> None:
    talk = Talk()
    submitted = 0
    for step in steps:
        if step is not None:
            talk.feed(step)
        elif talk.engine.capacity(3):
            submitted = talk.sent()
    talk.eof(Reason.CONNECTION_LOST if lost else Reason.PING_TIMEOUT)
    finals = talk.finals()
    assert set(finals) == set(range(1, submitted + 1))
    assert NOT_SENT not in finals.values()
    assert PERMANENT not in finals.values()
    assert talk.closed() is not None
