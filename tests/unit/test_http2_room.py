"""A connection that has no room for what waits, though nothing is in flight on it, is not kept for ever."""

import time

import pytest

from bellhop_server.providers.reasons import Reason
from tests.raw_http2_server import (
    INITIAL_WINDOW,
    MAX_CONCURRENT,
    MAX_HEADER_LIST,
    Peer,
    RawServer,
    reply,
    serve_all,
    settings,
)
from tests.request_batch import RecordingBatch, World

TIGHT = {
    "no streams": settings({MAX_CONCURRENT: 0}),
    "no streams any more": settings({MAX_CONCURRENT: 100}) + settings({MAX_CONCURRENT: 0}),
    "no window": settings({MAX_CONCURRENT: 100, INITIAL_WINDOW: 1}),
    "few header fields": settings({MAX_CONCURRENT: 100, MAX_HEADER_LIST: 100}),
    "no header fields": settings({MAX_CONCURRENT: 100, MAX_HEADER_LIST: 0}),
}


@pytest.mark.parametrize("greeting", TIGHT.values(), ids=TIGHT)
def test_another_connection_is_tried(world: World, greeting: bytes) -> None:
    def script(peer: Peer) -> None:
        if peer.number:
            serve_all(peer)
        else:
            peer.send(greeting)
            peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, stall=0.05)
            batch = RecordingBatch(30)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 30}
            await pool.aclose()

        world.run(main)
    assert [len(peer.reader.requests) for peer in server.peers] == [0, 30]


def test_a_limit_that_falls_to_nothing_between_two_requests(world: World) -> None:
    def script(peer: Peer) -> None:
        if peer.number:
            serve_all(peer)
            return
        peer.send(settings({MAX_CONCURRENT: 10}))
        request = peer.request()
        assert request is not None
        peer.send(settings({MAX_CONCURRENT: 0}), reply(request.stream))
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, stall=0.05)
            for _ in range(2):
                batch = RecordingBatch(1)
                pool.send(batch)
                await batch.finished()
                assert batch.counts() == {200: 1}
            await pool.aclose()

        world.run(main)
    assert [len(peer.reader.requests) for peer in server.peers] == [1, 1]


@pytest.mark.parametrize("tight", ["no streams", "no header fields"])
def test_a_peer_that_never_has_room_is_called_ever_more_rarely(world: World, tight: str) -> None:
    def script(peer: Peer) -> None:
        peer.send(TIGHT[tight])
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, stall=0.005, backoff_first=0.02, backoff_most=10)
            batch = RecordingBatch(2, seconds=0.3)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {"not_sent": 2}
            assert batch.reasons() <= {Reason.NO_CAPACITY, Reason.HEADERS_REFUSED}
            await pool.aclose()

        world.run(main)
    # After 0, 0.02, 0.06, 0.14 and perhaps 0.3 seconds.
    assert 2 <= len(server.peers) <= 5


def test_room_in_time_keeps_the_connection(world: World) -> None:
    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 0}))
        peer.until(4, 1)  # Our SETTINGS are acknowledged: it knows.
        peer.send(settings({MAX_CONCURRENT: 1}))
        while (request := peer.request()) is not None:
            peer.send(reply(request.stream))

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, stall=0.2)
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                batch = RecordingBatch(20)
                pool.send(batch)
                await batch.finished()
                assert batch.counts() == {200: 20}
            await pool.aclose()

        world.run(main)
    assert len(server.peers) == 1
