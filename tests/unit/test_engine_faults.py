"""Both engines against peers that misbehave, whatever they send and wherever the input is cut."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.providers import engine_ngh2
from bellhop_server.providers import fields as fields_module
from bellhop_server.providers import streams as streams_module
from bellhop_server.providers.engine import (
    Closed,
    Draining,
    Refused,
    choose,
)
from bellhop_server.providers.reasons import Reason
from tests.raw_http2_server import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_CONCURRENT,
    PUSH_PROMISE,
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
from tests.unit.engine_talk import BODY, CANCEL, FIELDS, NOT_SENT, PERMANENT, REFUSED_STREAM, UNKNOWN, Talk


def test_at_the_end_what_never_left_is_safe_and_the_rest_unknown(talk: Talk) -> None:
    left = talk.submit(2)
    never = [talk.engine.submit(FIELDS, BODY) for _ in range(2)]
    talk.eof()
    assert talk.finals() == dict.fromkeys(left, UNKNOWN) | dict.fromkeys(never, NOT_SENT)
    assert talk.of(Closed) == [Closed(None, Reason.CONNECTION_LOST)]
    assert talk.engine.eof(Reason.CONNECTION_LOST) == []
    assert talk.engine.feed(reply(left[0])) == []
    assert talk.engine.capacity(1) == 0


def test_after_the_peers_fault_nothing_raises(talk: Talk) -> None:
    (stream,) = talk.submit()
    talk.feed(frame(SETTINGS, 0, 0, b"odd"))
    assert talk.finals() == {stream: UNKNOWN}
    with pytest.raises(Refused):
        talk.engine.submit(FIELDS, BODY)
    talk.engine.ping(b"12345678")
    talk.engine.cancel(stream)
    talk.engine.close()
    talk.feed(reply(stream), goaway(0))
    talk.eof()
    assert talk.finals() == {stream: UNKNOWN}
    assert len(talk.of(Closed)) == 1


def test_close_says_goaway_and_fails_what_is_left(talk: Talk) -> None:
    (stream,) = talk.submit()
    talk.engine.close()
    talk.flush()
    talk.engine.close()
    talk.eof()
    assert talk.finals() == {stream: UNKNOWN}
    assert len(talk.reader.of(GOAWAY)) == 1


def test_a_cancelled_stream_has_no_end(talk: Talk) -> None:
    one, three = talk.submit(2)
    talk.engine.cancel(one)
    talk.flush()
    assert [(seen.stream, seen.payload) for seen in talk.reader.of(RST_STREAM)] == [(one, CANCEL.to_bytes(4))]
    talk.feed(reply(one), reply(three))
    talk.engine.cancel(three)
    talk.eof()
    assert talk.finals() == {three: 200}


def test_thousands_of_late_answers_are_no_offence() -> None:
    talk = Talk("ngh2", settings({MAX_CONCURRENT: 1000}) + window_update(0, 1 << 30))
    for _ in range(12):
        numbers = talk.submit(1000)
        for stream in numbers:
            talk.engine.cancel(stream)
        talk.flush()
        talk.feed(*(reply(stream) for stream in numbers))
    assert talk.of(Closed) == []
    assert talk.engine.capacity(1) == 1000


def test_the_last_stream_identifier_drains(engine_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "LAST_STREAM", 5)
    talk = Talk(engine_name, settings())
    numbers = talk.submit(3)
    assert numbers == [1, 3, 5]
    assert len(talk.of(Draining)) == 1
    assert talk.engine.capacity(1) == 0
    talk.feed(*(reply(stream) for stream in numbers))
    assert talk.finals() == dict.fromkeys(numbers, 200)


def test_a_push_is_an_offence(talk: Talk) -> None:
    (stream,) = talk.submit()
    talk.feed(frame(SETTINGS, ACK, 0))
    talk.feed(frame(PUSH_PROMISE, END_HEADERS, stream, (2).to_bytes(4) + block(0, FIELDS)))
    assert talk.finals() == {stream: UNKNOWN}
    assert len(talk.of(Closed)) == 1


@pytest.mark.parametrize(
    "flood",
    [
        frame(HEADERS, END_STREAM, 1, block(200)) + frame(CONTINUATION, 0, 1) * 200,
        frame(HEADERS, END_HEADERS | END_STREAM, 1, block(200, [(b"a", b"b" * 8000)] * 2)),
        frame(HEADERS, END_STREAM, 1, block(200, [(b"a", b"b" * 8000)] * 2))
        + frame(CONTINUATION, 0, 1, block(0, [(b"a", b"b" * 8000)] * 2)) * 3
        + frame(CONTINUATION, END_HEADERS, 1, block(0, [(b"a", b"b" * 8000)] * 2)),
        b"\xff\xff\xff" + frame(DATA, 0, 1, b"")[3:],
    ],
    ids=["continuations", "large field", "large block", "large frame"],
)
def test_a_flood_ends_in_one_final_event(talk: Talk, flood: bytes) -> None:
    (stream,) = talk.submit()
    talk.feed(flood)
    talk.eof()
    assert list(talk.finals()) == [stream]


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


_ANSWERS: dict[str, tuple[Callable[[int], bytes], object]] = {
    "ok": (lambda stream: reply(stream, 200, [(b"apns-id", b"x")]), 200),
    "gone": (lambda stream: reply(stream, 410, body=b'{"reason":"Unregistered"}'), 410),
    "refused": (lambda stream: reset(stream, REFUSED_STREAM), NOT_SENT),
    "reset": (lambda stream: reset(stream, CANCEL), UNKNOWN),
    "silent": (lambda stream: b"", UNKNOWN),
}


@pytest.mark.parametrize("engine_name", ["ngh2", "h2"])
@given(
    kinds=st.lists(st.sampled_from(sorted(_ANSWERS)), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
    last=st.integers(0, 13),
    before=st.integers(0, 12),
    cuts=st.lists(st.integers(0, 10_000), max_size=20),
)
def test_wherever_the_input_is_cut(
    engine_name: str, kinds: list[str], order: Random, last: int, before: int, cuts: list[int]
) -> None:
    talk = Talk(engine_name, settings({MAX_CONCURRENT: 100}))
    numbers = talk.submit(len(kinds))
    last_stream = 2 * last - 1 if last else 0
    expected: dict[int, object] = {}
    pieces = []
    for stream, kind in zip(numbers, kinds, strict=True):
        make, outcome = _ANSWERS[kind]
        expected[stream] = outcome if stream <= last_stream else NOT_SENT
        if stream <= last_stream:
            pieces.append(make(stream))
    order.shuffle(pieces)
    pieces.insert(min(before, len(pieces)), goaway(last_stream))
    for piece in _cut(b"".join(pieces), cuts):
        talk.feed(piece)
    talk.eof()
    assert talk.finals() == expected


@pytest.mark.parametrize("engine_name", ["ngh2", "h2"])
@given(
    frames=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(frame, st.integers(0, 10), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40)),
            st.builds(reply, st.sampled_from([1, 3, 5, 7]), st.sampled_from([200, 400]), body=st.binary(max_size=9)),
        ),
        max_size=12,
    ),
    cuts=st.lists(st.integers(0, 2_000), max_size=6),
)
def test_whatever_the_peer_sends(engine_name: str, frames: list[bytes], cuts: list[int]) -> None:
    talk = Talk(engine_name, settings())
    numbers = talk.submit(3)
    for piece in _cut(b"".join(frames), cuts):
        talk.feed(piece)
    talk.eof()
    assert sorted(talk.finals()) == numbers


def test_what_libnghttp2_itself_gives_up_is_permanent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so with the code of a stream that the peer refused, which would be tried for ever."""
    for module in engine_ngh2, fields_module:
        monkeypatch.setattr(module, "LARGEST_HEADER_LIST", 10**6)
    talk = Talk("ngh2", settings())
    stream = talk.engine.submit([*FIELDS, (b"x", b"y" * 80_000)], BODY)
    talk.flush()
    assert talk.finals() == {stream: PERMANENT}
    assert talk.reader.requests == []


def test_an_engine_by_name() -> None:
    assert choose("ngh2") is not choose("h2")
    assert choose() is choose("ngh2")
