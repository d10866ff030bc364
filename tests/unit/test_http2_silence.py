"""One connection whose peer is silent, strange or slow: nothing waits for ever, nothing is written late."""

import asyncio
import itertools
import socket
import threading
from pathlib import Path

from bellhop_server.providers.reasons import Reason
from tests.raw_http2_server import (
    ACK,
    INITIAL_WINDOW,
    MAX_CONCURRENT,
    PING,
    Authority,
    Peer,
    RawServer,
    frame,
    reply,
    serve_all,
    settings,
    window_update,
)
from tests.request_batch import RecordingBatch, World


def test_no_answer_in_time_is_unknown_and_the_connection_is_replaced(world: World) -> None:
    def script(peer: Peer) -> None:
        if peer.number:
            serve_all(peer)
        else:
            peer.send(settings({MAX_CONCURRENT: 1}))
            peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, answer=0.1)
            batch = RecordingBatch(3)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 2, "unknown": 1}
            assert batch.reasons() == {Reason.ANSWER_TIMEOUT}
            await pool.aclose()

        world.run(main)
    assert [len(peer.reader.requests) for peer in server.peers] == [1, 2]


def test_a_silent_peer_is_found_by_a_ping_and_replaced(world: World) -> None:
    def script(peer: Peer) -> None:
        if peer.number:
            serve_all(peer)
        else:
            peer.send(settings({MAX_CONCURRENT: 2}))
            peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, ping_answer=0.05, confirm=5.0)
            batch = RecordingBatch(4)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 2, "unknown": 2}
            assert batch.reasons() == {Reason.PING_TIMEOUT}
            await pool.aclose()

        world.run(main)
    assert len(server.peers[0].reader.of(PING)) == 1


def test_pings_keep_an_idle_connection(world: World) -> None:
    pinged = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(settings())
        request = peer.request()
        assert request is not None
        peer.send(reply(request.stream))
        for count in itertools.count(1):
            while len(peer.reader.of(PING)) < count:
                if len(peer.reader.requests) == 2:
                    peer.send(reply(peer.reader.requests[1].stream))
                    peer.wait_end()
                    return
                peer.receive()
            peer.send(frame(PING, ACK, 0, peer.reader.of(PING)[count - 1].payload))
            if count == 3:
                pinged.set()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, ping_idle=0.02, ping_answer=5.0)
            for _ in range(2):
                batch = RecordingBatch(1)
                pool.send(batch)
                await batch.finished()
                assert batch.counts() == {200: 1}
                assert await asyncio.to_thread(pinged.wait, 10)
            await pool.aclose()

        world.run(main)
    assert len(server.peers) == 1


def test_without_settings_nothing_is_sent(world: World) -> None:
    with RawServer(world.authority.server_context(), Peer.wait_end) as server:

        async def main() -> None:
            pool = world.pool(server.port, setup=0.1)
            batch = RecordingBatch(2, seconds=0.3)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {"not_sent": 2}
            assert batch.reasons() == {Reason.CONNECT_TIMEOUT}
            await pool.aclose()

        world.run(main)
    assert len(server.peers) >= 2
    assert server.requests == []


def test_a_peer_without_http2_is_not_used(world: World) -> None:
    with RawServer(world.authority.server_context("http/1.1"), Peer.wait_end) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(2, seconds=0.2)
            pool.send(batch)
            await batch.finished()
            assert batch.reasons() == {Reason.NO_HTTP2}
            assert batch.counts() == {"not_sent": 2}
            await pool.aclose()

        world.run(main)


def test_a_stranger_is_not_used(world: World, tmp_path: Path) -> None:
    with RawServer(Authority(tmp_path).server_context(), serve_all) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(2, seconds=0.2)
            pool.send(batch)
            await batch.finished()
            assert batch.reasons() == {Reason.TLS_FAILED}
            assert batch.counts() == {"not_sent": 2}
            await pool.aclose()

        world.run(main)


def test_what_no_stream_was_free_for_is_never_written_later(world: World) -> None:
    late = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 1}))
        request = peer.request()
        ping = peer.until(PING)
        assert request is not None
        assert ping is not None
        peer.send(frame(PING, ACK, 0, ping.payload))
        assert late.wait(10)
        peer.send(reply(request.stream), settings({MAX_CONCURRENT: 100}))
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(5, seconds=0.4)
            batch.on_done = lambda *_: late.set()
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 1, "not_sent": 4}
            await pool.aclose()

        world.run(main)
    assert len(server.requests) == 1


def test_what_the_kernel_does_not_take_by_the_deadline_is_dropped(world: World) -> None:
    stalled = threading.Event()

    def script(peer: Peer) -> None:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.send(settings({MAX_CONCURRENT: 1000, INITIAL_WINDOW: 2**31 - 1}), window_update(0, 2**31 - 65536))
        assert stalled.wait(10)
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(20, seconds=0.4, body=b"x" * 2_000_000)
            pool.send(batch)
            await batch.finished()
            assert set(batch.counts()) == {"unknown", "not_sent"}
            assert Reason.WRITE_TIMEOUT in batch.reasons()
            stalled.set()
            await pool.aclose()

        world.run(main)
    (peer,) = server.peers
    # A tail in the kernel of either side is all that may still arrive, and the reset cuts it off.
    assert len(peer.reader.requests) < 5
