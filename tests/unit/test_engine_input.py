"""Whatever the peer sends, both engines tell it by events: neither raises, and no request is forgotten."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bellhop_server.providers.engine import Closed, Failed, Refused
from bellhop_server.providers.reasons import Reason
from tests import raw_http2_server as wire
from tests.raw_http2_server import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_CONCURRENT,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    goaway,
    reply,
    reset,
)
from tests.unit.engine_talk import BODY, FIELDS, UNKNOWN, Talk

STATUSES = (b"", b"2", b"20", b"2000", b"abc", b"-20", b"+20", b"2_0", b"\xff\xfe\xfd", "２００".encode())


@pytest.mark.parametrize("end_stream", [END_STREAM, 0], ids=["whole", "with a body"])
@pytest.mark.parametrize("status", STATUSES)
def test_a_status_that_is_no_number_fails_its_request_alone(talk: Talk, status: bytes, end_stream: int) -> None:
    one, three, five = talk.submit(3)
    # Not `block`: an empty status is to be there, too.
    head = b"\x08" + bytes([len(status)]) + status
    answer = frame(HEADERS, END_HEADERS | end_stream, three, head)
    answer += b"" if end_stream else frame(DATA, END_STREAM, three, b"{}")
    talk.feed(reply(one), answer, reply(five))

    assert talk.finals() == {one: 200, three: UNKNOWN, five: 200}
    assert talk.of(Closed) == []
    assert talk.engine.capacity(1) == 1000


def test_goaway_and_settings_in_one_read_with_nothing_open(talk: Talk) -> None:
    """libnghttp2 has ended the connection by then and tells its settings no more."""
    (one,) = talk.submit()
    events = talk.engine.feed(reply(one) + goaway(one) + wire.settings({MAX_CONCURRENT: 1}))

    assert [type(event).__name__ for event in events][:2] == ["Reply", "Draining"]
    talk.flush()
    assert talk.engine.capacity(1) == 0


def test_a_library_that_stumbles_ends_its_connection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk("h2", wire.settings())
    (one,) = talk.submit()

    def stumble(data: bytes) -> None:
        raise KeyError("secret of the peer")

    monkeypatch.setattr(talk.engine._connection, "receive_data", stumble)
    talk.feed(reply(one))

    assert talk.of(Failed) == [Failed(one, UNKNOWN, Reason.PROTOCOL_ERROR, 1)]
    assert [event.reason for event in talk.of(Closed) if isinstance(event, Closed)] == [Reason.PROTOCOL_ERROR]


@pytest.mark.parametrize("ask", [frame(PING, 0, 0, b"12345678"), wire.settings({MAX_CONCURRENT: 9})])
def test_a_peer_that_asks_and_does_not_read_is_given_up(talk: Talk, ask: bytes) -> None:
    (stream,) = talk.submit()
    for _ in range(200):
        talk.events += talk.engine.feed(ask * 100)
    talk.events += talk.engine.events()

    # No more than the answers to a few thousand are kept.
    kept = b"".join(iter(talk.engine.take, b""))
    assert len(kept) < 150_000
    talk.events += talk.engine.events()
    assert talk.finals() == {stream: UNKNOWN}
    assert len(talk.of(Closed)) == 1


def test_a_peer_that_asks_and_reads_is_answered_for_ever(talk: Talk) -> None:
    for _ in range(100):
        talk.feed(frame(PING, 0, 0, b"12345678") * 100)
    assert len([pong for pong in talk.reader.of(PING) if pong.flags == ACK]) == 10_000
    assert talk.engine.capacity(1) == 1000


_fields = st.lists(
    st.tuples(
        st.sampled_from([b":status", b":path", b"content-length", b"connection", b"X", b"", b"a\xff", b"x"]),
        st.sampled_from([*STATUSES, b" 20", b"200", b"100", b"101", b"1xx", b"204", b"999", b"000", b"5", b"9" * 30]),
    ),
    max_size=3,
)
_block = st.one_of(
    st.builds(lambda status, fields: block(status) + block(0, fields), st.sampled_from([b"200", *STATUSES]), _fields),
    st.builds(lambda fields: block(0, fields), _fields),
    st.binary(max_size=20),
)
_stream = st.sampled_from([0, 1, 2, 3, 5, 7, 9, 11])
_number = st.sampled_from([0, 1, 2, 3, 7, 100, 16_384, 65_535, 2**24, 2**31 - 1, 2**31, 2**32 - 1])
_settings = st.dictionaries(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 9]), _number, max_size=3).map(wire.settings)
_frame = st.one_of(
    st.builds(frame, st.just(HEADERS), st.sampled_from([1, 4, 5, 0x0C, 0x25]), _stream, _block),
    st.builds(frame, st.sampled_from([5, 9]), st.just(END_HEADERS), _stream, _block),
    st.builds(frame, st.just(DATA), st.sampled_from([0, 1, 8, 9]), _stream, st.binary(max_size=20)),
    st.builds(
        lambda stream, last, code, debug: frame(GOAWAY, 0, stream, last.to_bytes(4) + code.to_bytes(4) + debug),
        st.sampled_from([0, 0, 1]),
        _number,
        _number,
        st.binary(max_size=9),
    ),
    st.builds(
        lambda kind, stream, number: frame(kind, 0, stream, number.to_bytes(4)),
        st.sampled_from([RST_STREAM, WINDOW_UPDATE]),
        _stream,
        _number,
    ),
    st.builds(frame, st.sampled_from([SETTINGS, PING]), st.sampled_from([0, 1]), _stream, st.binary(max_size=12)),
    _settings,
)
# Most of what is above ends the connection at once; these go on, right or nearly.
_open = st.sampled_from([1, 3, 5, 7])
_bearable = st.one_of(
    _open.map(reply),
    st.builds(
        lambda flags, stream, status: frame(HEADERS, flags, stream, b"\x08" + bytes([len(status)]) + status),
        st.sampled_from([END_HEADERS, END_HEADERS | END_STREAM]),
        _open,
        st.sampled_from([*STATUSES, b"100", b"101", b"200"]),
    ),
    st.builds(reset, _open, _number),
    st.builds(goaway, st.sampled_from([0, 3, 7, 2**31 - 1]), st.sampled_from([0, 2])),
    st.sampled_from([0, 1, 100]).map(lambda most: wire.settings({MAX_CONCURRENT: most})),
    st.just(frame(PING, 0, 0, b"12345678")),
)
_mostly_bearable = st.integers(0, 5).flatmap(lambda die: _bearable if die else _frame)


@pytest.mark.parametrize("engine_name", ["ngh2", "h2"])
@settings(max_examples=200)
@given(frames=st.lists(_mostly_bearable, max_size=8), cuts=st.lists(st.integers(0, 400), max_size=5), data=st.data())
def test_every_frame_in_every_order(
    engine_name: str, frames: list[bytes], cuts: list[int], data: st.DataObject
) -> None:
    talk = Talk(engine_name, wire.settings({MAX_CONCURRENT: 100}))
    submitted, cancelled = talk.submit(4), set()
    whole = b"".join(frames)
    places = sorted({0, *(min(cut, len(whole)) for cut in cuts), len(whole)})
    for start, end in pairwise(places):
        talk.events += talk.engine.feed(whole[start:end])
        match data.draw(st.integers(0, 12)):
            case 0:
                talk.engine.ping(b"12345678")
            case 1:
                talk.engine.cancel(submitted[0])
                cancelled.add(submitted[0])
            case 2:
                talk.engine.close()
            case 3 | 4:
                if talk.engine.capacity(len(BODY)):
                    with suppress(Refused):
                        submitted.append(talk.engine.submit(FIELDS, BODY))
            case _:
                talk.flush()
    talk.flush()
    talk.eof()

    assert set(submitted) - cancelled <= talk.finals().keys() <= set(submitted)
