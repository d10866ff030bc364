"""Both engines against raw frames: one final event for every request, and never a wrong word about resending."""

import pytest

from bellhop_server.providers.engine import (
    LARGEST_REPLY,
    Closed,
    Draining,
    Failed,
    FailureKind,
    HeadersRefused,
    InvalidRequest,
    Limit,
    Pong,
    Refused,
    Reply,
)
from tests.raw_http2_server import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW,
    MAX_CONCURRENT,
    MAX_HEADER_LIST,
    PADDED,
    PING,
    RST_STREAM,
    SETTINGS,
    block,
    frame,
    goaway,
    reply,
    reset,
    settings,
    window_update,
)
from tests.unit.engine_talk import BODY, CANCEL, FIELDS, NO_ERROR, NOT_SENT, REFUSED_STREAM, UNKNOWN, Talk


def test_nothing_is_submitted_before_the_first_settings(engine_name: str) -> None:
    talk = Talk(engine_name)
    assert talk.engine.capacity(0) == 0
    with pytest.raises(Refused):
        talk.engine.submit(FIELDS, BODY)
    talk.feed(settings())
    assert talk.of(Limit) == [Limit(1000)]
    assert talk.engine.capacity(0) == 1000
    assert [seen.flags for seen in talk.reader.of(SETTINGS)] == [0, ACK]


def test_an_answer(talk: Talk) -> None:
    (stream,) = talk.submit()
    request = talk.reader.requests[0]
    assert (request.stream, request.headers, request.body) == (stream, dict(FIELDS), BODY)
    talk.feed(reply(stream, 410, [(b"apns-id", b"7")], b'{"reason":"x"}'))
    (answer,) = talk.of(Reply)
    assert isinstance(answer, Reply)
    assert (answer.status, answer.header(b"apns-id"), answer.header(b"none")) == (410, b"7", None)
    assert answer.body == b'{"reason":"x"}'


def test_a_request_without_a_body(talk: Talk) -> None:
    (stream,) = talk.submit(body=b"")
    assert talk.reader.requests[0].body == b""
    talk.feed(reply(stream))
    assert talk.finals() == {stream: 200}


def test_the_limit_is_obeyed_as_it_rises_and_falls(engine_name: str) -> None:
    talk = Talk(engine_name, settings({MAX_CONCURRENT: 1}))
    assert talk.engine.capacity(10) == 1
    (first,) = talk.submit()
    assert talk.engine.capacity(10) == 0
    with pytest.raises(Refused):
        talk.engine.submit(FIELDS, BODY)
    talk.feed(reply(first), settings({MAX_CONCURRENT: 3}))
    rest = talk.submit(3)
    talk.feed(settings({MAX_CONCURRENT: 1}))
    assert talk.engine.capacity(10) == 0
    talk.feed(reply(rest[0]), reply(rest[2]))
    assert talk.engine.capacity(10) == 0
    talk.feed(reply(rest[1]))
    assert talk.engine.capacity(10) == 1
    assert [limit.streams for limit in talk.of(Limit) if isinstance(limit, Limit)] == [1, 3, 1]
    assert set(talk.finals().values()) == {200}


def test_the_limit_is_cut_to_our_own(engine_name: str) -> None:
    assert Talk(engine_name, settings({MAX_CONCURRENT: 2**32 - 1}), most=7).engine.capacity(10) == 7


def test_a_limit_that_falls_between_submission_and_writing_loses_nothing(talk: Talk) -> None:
    numbers = [talk.engine.submit(FIELDS, BODY) for _ in range(3)]
    talk.feed(settings({MAX_CONCURRENT: 1}))
    for _ in numbers:
        for request in list(talk.reader.requests):
            if request.stream not in talk.finals():
                talk.feed(reply(request.stream))
    assert talk.finals() == dict.fromkeys(numbers, 200)


def test_partial_goaway_reads_the_answers_still_due(talk: Talk) -> None:
    one, three, five, seven = talk.submit(4)
    talk.feed(goaway(three, 0, b'{"reason":"Shutdown"}'))
    assert talk.finals() == {five: NOT_SENT, seven: NOT_SENT}
    assert talk.of(Draining) == [Draining(three, 0, b'{"reason":"Shutdown"}')]
    assert talk.engine.capacity(1) == 0
    with pytest.raises(Refused):
        talk.engine.submit(FIELDS, BODY)
    talk.feed(reply(three), reply(one))
    assert talk.finals() == {five: NOT_SENT, seven: NOT_SENT, three: 200, one: 200}


def test_graceful_goaway_twice(talk: Talk) -> None:
    one, three, five = talk.submit(3)
    talk.feed(goaway(2**31 - 1))
    assert talk.finals() == {}
    assert talk.engine.capacity(1) == 0
    talk.feed(reply(one), goaway(three))
    assert talk.finals() == {one: 200, five: NOT_SENT}
    talk.feed(reply(three))
    assert talk.finals() == {one: 200, five: NOT_SENT, three: 200}


def test_answers_around_a_goaway_in_one_read(talk: Talk) -> None:
    one, three, five = talk.submit(3)
    talk.feed(reply(one) + goaway(three) + reply(three))
    assert talk.finals() == {one: 200, three: 200, five: NOT_SENT}


def test_a_goaway_with_an_error_does_not_make_the_unprocessed_doubtful(talk: Talk) -> None:
    one, three = talk.submit(2)
    talk.feed(goaway(one, 11))
    talk.eof()
    assert talk.finals() == {three: NOT_SENT, one: UNKNOWN}


def test_goaway_without_streams_then_another(talk: Talk) -> None:
    talk.feed(goaway(0))
    talk.feed(goaway(0))
    assert talk.engine.capacity(1) == 0
    talk.eof()
    assert talk.finals() == {}


def test_a_goaway_with_a_higher_last_stream_takes_nothing_back(talk: Talk) -> None:
    one, three = talk.submit(2)
    talk.feed(goaway(one))
    talk.feed(goaway(three))
    talk.eof()
    assert talk.finals() == {three: NOT_SENT, one: UNKNOWN}


@pytest.mark.parametrize("payload", [b"", b"\0\0\0\1", b"\0" * 7])
def test_a_malformed_goaway_ends_the_connection(talk: Talk, payload: bytes) -> None:
    (stream,) = talk.submit()
    talk.feed(frame(GOAWAY, 0, 0, payload))
    assert talk.finals() == {stream: UNKNOWN}
    assert len(talk.of(Closed)) == 1


@pytest.mark.parametrize(
    ("code", "kind"), [(REFUSED_STREAM, NOT_SENT), (NO_ERROR, UNKNOWN), (CANCEL, UNKNOWN), (11, UNKNOWN)]
)
def test_a_reset_without_an_answer(talk: Talk, code: int, kind: FailureKind) -> None:
    one, three = talk.submit(2)
    talk.feed(reset(one, code), reply(three))
    assert talk.finals() == {one: kind, three: 200}
    assert next(event.code for event in talk.events if isinstance(event, Failed)) == code
    assert talk.engine.capacity(1) == 1000


def test_a_reset_in_the_middle_of_an_answer_is_unknown(talk: Talk) -> None:
    (stream,) = talk.submit()
    talk.feed(frame(HEADERS, END_HEADERS, stream, block(200)), frame(DATA, 0, stream, b"half"), reset(stream, NO_ERROR))
    assert talk.finals() == {stream: UNKNOWN}


def test_a_reset_behind_a_whole_answer_changes_nothing(talk: Talk) -> None:
    (stream,) = talk.submit()
    talk.feed(reply(stream, 400, body=b"x"), reset(stream, NO_ERROR))
    assert talk.finals() == {stream: 400}


@pytest.mark.parametrize("announced", [None, 300, 10**6])
def test_over_long_header_fields_are_permanent(engine_name: str, announced: int | None) -> None:
    talk = Talk(engine_name, settings({} if announced is None else {MAX_HEADER_LIST: announced}))
    with pytest.raises(InvalidRequest):
        talk.engine.submit([*FIELDS, (b"x", b"y" * 20_000)], BODY)
    assert talk.finals() == {}
    assert talk.engine.capacity(1) == 1000


@pytest.mark.parametrize("announced", [0, 1, 300])
def test_more_header_fields_than_this_peer_takes_can_go_elsewhere(engine_name: str, announced: int) -> None:
    talk = Talk(engine_name, settings({MAX_HEADER_LIST: announced}))
    with pytest.raises(HeadersRefused):
        talk.engine.submit([*FIELDS, (b"x", b"y" * 200)], BODY)
    talk.flush()
    assert talk.reader.requests == []
    talk.feed(settings({MAX_HEADER_LIST: 2**32 - 1}))
    assert talk.submit() == [1]


PSEUDO = FIELDS[:4]


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [*FIELDS, (b"apns-collapse-id", b"a\r\nx: y")],
        [*FIELDS, (b"apns-collapse-id", b"a\n")],
        [*FIELDS, (b"apns-collapse-id", b"\n")],
        [*FIELDS, (b"apns-collapse-id", b"a\0b")],
        [*FIELDS, (b"apns-collapse-id", b" a")],
        [*FIELDS, (b"apns-collapse-id", b"a ")],
        [(b":method", b" POST"), *FIELDS[1:]],
        [*FIELDS, (b"a", b"b\tc")],
        [*FIELDS, (b"", b"x")],
        [*FIELDS, (b"Upper", b"x")],
        [*FIELDS, (b"a b", b"x")],
        [*FIELDS, (b"connection", b"close")],
        [*FIELDS, (b":path", b"/late")],
        [*PSEUDO, (b":path", b"/twice")],
        [*PSEUDO, (b":status", b"200")],
        PSEUDO[1:],
    ],
)
def test_malformed_header_fields_never_leave(talk: Talk, fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        talk.engine.submit(fields, BODY)
    assert "bearer" not in str(caught.value)
    talk.flush()
    assert talk.reader.requests == []
    assert talk.submit() != []


@pytest.mark.parametrize(
    "malformed",
    [
        frame(HEADERS, END_HEADERS | END_STREAM, 1, block(0, [(b"a", b"b")])),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, block(200, [(b"Upper", b"b")])),
        frame(HEADERS, END_HEADERS, 1, block(200, [(b"content-length", b"5")])) + frame(DATA, END_STREAM, 1, b"four"),
    ],
)
def test_a_malformed_answer(talk: Talk, engine_name: str, malformed: bytes) -> None:
    one, three, five = talk.submit(3)
    talk.feed(reply(three), malformed, reply(five))
    talk.eof()
    finals = talk.finals()
    assert finals[three] == 200
    assert finals[one] is UNKNOWN
    # h2 cannot go on after it; ngh2 loses only that stream.
    assert finals[five] == (200 if engine_name == "ngh2" else UNKNOWN)


def test_an_answer_that_comes_before_the_body_has_left_frees_the_stream(talk: Talk) -> None:
    stream = talk.engine.submit(FIELDS, BODY)
    talk.feed(settings({INITIAL_WINDOW: 0}))
    talk.feed(reply(stream, 413, body=b"too large"))
    assert talk.finals() == {stream: 413}
    talk.feed(settings({INITIAL_WINDOW: 65535}))
    assert talk.engine.capacity(10) == 1000


def test_the_connection_window_bounds_what_is_submitted(talk: Talk) -> None:
    body = b"x" * 10_000
    assert talk.engine.capacity(len(body)) == 6
    numbers = [talk.engine.submit(FIELDS, body) for _ in range(6)]
    assert talk.engine.capacity(len(body)) == 0
    with pytest.raises(Refused):
        talk.engine.submit(FIELDS, body)
    assert talk.engine.capacity(5_535) == 1
    talk.flush()
    assert [request.body for request in talk.reader.requests] == [body] * 6
    assert talk.engine.capacity(len(body)) == 0
    talk.feed(window_update(0, 20_000))
    assert talk.engine.capacity(len(body)) == 2
    talk.feed(*(reply(stream) for stream in numbers))
    assert set(talk.finals().values()) == {200}


def test_the_stream_window_bounds_the_body(engine_name: str) -> None:
    talk = Talk(engine_name, settings({INITIAL_WINDOW: 9}))
    assert (talk.engine.capacity(9), talk.engine.capacity(10)) == (1000, 0)
    with pytest.raises(Refused):
        talk.engine.submit(FIELDS, BODY)
    talk.feed(settings({INITIAL_WINDOW: 10}))
    talk.submit()
    assert talk.reader.requests[0].body == BODY


def test_a_body_larger_than_a_frame(talk: Talk) -> None:
    body = bytes(range(256)) * 200
    talk.submit(body=body)
    assert talk.reader.requests[0].body == body
    assert len(talk.reader.of(DATA)) >= 4


def test_no_dynamic_header_table(engine_name: str) -> None:
    talk = Talk(engine_name, settings({HEADER_TABLE_SIZE: 0}))
    numbers = talk.submit(3)
    assert [request.headers for request in talk.reader.requests] == [dict(FIELDS)] * 3
    talk.feed(*(reply(stream) for stream in numbers))
    assert talk.finals() == dict.fromkeys(numbers, 200)


def test_an_over_long_body_is_cut(talk: Talk) -> None:
    one, three = talk.submit(2)
    chunk = b"x" * 16_000
    talk.feed(frame(HEADERS, END_HEADERS, one, block(502)))
    for _ in range(4):
        talk.feed(frame(DATA, 0, one, chunk))
    assert talk.finals() == {}
    talk.feed(frame(DATA, 0, one, chunk))
    assert talk.finals() == {one: 502}
    assert [len(event.body) for event in talk.events if isinstance(event, Reply)] == [LARGEST_REPLY]
    assert [seen.stream for seen in talk.reader.of(RST_STREAM)] == [one]
    talk.feed(frame(DATA, END_STREAM, one, chunk), reply(three))
    assert talk.finals() == {one: 502, three: 200}
    assert talk.engine.capacity(1) == 1000


def test_an_answer_in_every_legal_shape(talk: Talk) -> None:
    numbers = talk.submit(6)
    interim = frame(HEADERS, END_HEADERS, numbers[0], block(103))
    fields = block(200, [(b"a", b"b"), (b"c", b"d")])
    talk.feed(interim, reply(numbers[0]))
    talk.feed(frame(HEADERS, END_STREAM, numbers[1], fields[:7]), frame(CONTINUATION, 4, numbers[1], fields[7:]))
    head = frame(HEADERS, END_HEADERS, numbers[2], block(400))
    talk.feed(head, frame(DATA, 0, numbers[2], b"ab"), frame(DATA, 0, numbers[2], b"cd"), frame(DATA, 1, numbers[2]))
    head = frame(HEADERS, END_HEADERS, numbers[3], block(400))
    talk.feed(head, frame(DATA, PADDED | END_STREAM, numbers[3], b"\x02abcd\0\0"))
    head = frame(HEADERS, END_HEADERS, numbers[4], block(400))
    trailers = frame(HEADERS, END_HEADERS | END_STREAM, numbers[4], block(0, [(b"late", b"x")]))
    talk.feed(head, frame(DATA, 0, numbers[4], b"abcd"), trailers)
    talk.feed(frame(0xEE, 0, numbers[5], b"unknown"), settings({0xEEEE: 5}), reply(numbers[5], body=b"abcd"))
    answers = {event.stream: event for event in talk.events if isinstance(event, Reply)}
    assert [answers[stream].body for stream in numbers] == [b"", b"", b"abcd", b"abcd", b"abcd", b"abcd"]
    assert [answers[stream].status for stream in numbers] == [200, 200, 400, 400, 400, 200]
    assert answers[numbers[1]].headers[1] == (b"c", b"d")
    assert len(talk.finals()) == 6


def test_pings_both_ways(talk: Talk) -> None:
    talk.engine.ping(b"12345678")
    talk.feed(frame(PING, 0, 0, b"abcdefgh"))
    assert {(seen.flags, seen.payload) for seen in talk.reader.of(PING)} == {(0, b"12345678"), (1, b"abcdefgh")}
    talk.feed(frame(PING, ACK, 0, b"12345678"))
    assert talk.of(Pong) == [Pong(b"12345678")]
