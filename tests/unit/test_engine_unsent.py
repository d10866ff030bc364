"""Both engines know what has left whole: only that is in front of a PING."""

import pytest

from tests.raw_http2_server import (
    INITIAL_WINDOW,
    MAX_CONCURRENT,
    PING,
    reply,
    settings,
)
from tests.unit.engine_talk import BODY, FIELDS, Talk


def test_a_ping_follows_what_was_sent(talk: Talk) -> None:
    numbers = [talk.engine.submit(FIELDS, BODY) for _ in range(3)]
    assert list(talk.engine.unsent()) == numbers
    talk.flush()
    assert not talk.engine.unsent()
    talk.engine.ping(b"12345678")
    talk.flush()
    assert talk.reader.frames[-1].kind == PING


def whole(talk: Talk) -> list[int]:
    return [request.stream for request in talk.reader.requests]


def test_what_waits_for_a_window_is_not_sent(talk: Talk) -> None:
    (before,) = talk.submit()
    stream = talk.engine.submit(FIELDS, BODY)
    talk.feed(settings({INITIAL_WINDOW: 0}))
    assert {before, stream}.difference(talk.engine.unsent()) == {*whole(talk)}
    talk.feed(settings({INITIAL_WINDOW: 65535}))
    assert not talk.engine.unsent()
    assert whole(talk) == [before, stream]


@pytest.mark.parametrize("body", [BODY, b""])
def test_what_the_limit_may_hold_back_is_not_sent(talk: Talk, body: bytes) -> None:
    numbers = [talk.engine.submit(FIELDS, body) for _ in range(3)]
    talk.feed(settings({MAX_CONCURRENT: 1}))
    assert set(numbers).difference(talk.engine.unsent()) <= {*whole(talk)}
    talk.feed(settings({MAX_CONCURRENT: 3}))
    assert not talk.engine.unsent()
    assert whole(talk) == numbers


@pytest.mark.parametrize("held_back", [{INITIAL_WINDOW: 0}, {MAX_CONCURRENT: 0}, {}])
def test_what_is_cancelled_before_it_has_left_never_does(talk: Talk, held_back: dict[int, int]) -> None:
    one, three = (talk.engine.submit(FIELDS, BODY) for _ in range(2))
    if held_back:
        talk.feed(settings(held_back))
    there = whole(talk)
    unsent = talk.engine.cancel(one)
    talk.feed(settings({INITIAL_WINDOW: 65535, MAX_CONCURRENT: 1000}))
    if one not in there and held_back:
        assert whole(talk) == [three]
    assert not unsent or not [seen for seen in talk.reader.frames if seen.stream == one]
    assert not talk.engine.unsent()
    talk.feed(reply(three))
    assert talk.finals() == {three: 200}
