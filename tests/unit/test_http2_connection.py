"""One connection over real sockets and TLS, on both event loops: no answer is lost, however it ends."""

import asyncio
import socket
import struct
import threading

import pytest

from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import Headers, Reply
from bellhop_server.providers.http2 import Connection
from bellhop_server.providers.reasons import Reason
from tests.raw_http2_server import (
    ACK,
    GOAWAY,
    MAX_CONCURRENT,
    SETTINGS,
    Peer,
    RawServer,
    goaway,
    reply,
    serve_all,
    settings,
    window_update,
)
from tests.request_batch import RecordingBatch, World


def test_each_request_gets_its_own_answer(world: World) -> None:
    with RawServer(world.authority.server_context(), serve_all) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(300, body=b"x" * 700)
            pool.send(batch)
            assert batch.counts() == {}
            await batch.finished()
            for index, (result,) in enumerate(batch.results):
                assert isinstance(result, Reply)
                assert result.header(b"path") == b"/%d" % index
            assert (pool.in_flight, pool.waiting) == (0, 0)
            assert {id(connection) for connection in batch.connections} == {id(pool.connections[0])}
            await pool.aclose()
            assert pool.connections == ()

        world.run(main)
    assert len(server.peers) == 1
    assert server.peers[0].reader.frames[-1].kind == GOAWAY


def test_a_server_that_closes_with_unread_input_costs_no_answer(world: World) -> None:
    """The kernel drops the connection at the first write; answers and GOAWAY are already on this side."""

    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 1000}), window_update(0, 1 << 20))
        answers = []
        for _ in range(40):
            request = peer.request()
            if request is None:
                return
            answers.append(reply(request.stream, 200, [(b"filler", b"x" * 500)]))
        peer.send(*answers, goaway(request.stream))
        peer.delivered()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(400, body=b"x" * 900)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 400}
            await pool.aclose()

        world.run(main)
    answered = [request.headers[b":path"] for peer in server.peers for request in peer.reader.requests[:40]]
    assert len(answered) == len(set(answered)) == 400


def test_answers_in_the_kernel_outlive_a_failed_write(world: World) -> None:
    """The server answers, goes away and is gone, while the client is about to write and has read none of it."""
    received, writing, closed = threading.Event(), threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        if peer.number:
            serve_all(peer)
            return
        peer.send(settings({MAX_CONCURRENT: 1000}))
        requests = [peer.request() for _ in range(20)]
        received.set()
        assert writing.wait(10)
        peer.send(*(reply(request.stream, 202) for request in requests if request is not None), goaway(39))
        peer.delivered()
        # With input unread this resets the connection.
        peer.socket.close()
        closed.set()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            first, unread, last = RecordingBatch(20), RecordingBatch(20), RecordingBatch(1)
            pool.send(first)
            assert await asyncio.to_thread(received.wait, 10)
            written = asyncio.Event()
            unread.on_request = lambda _: written.set()
            pool.send(unread)
            await written.wait()
            last.on_request = lambda _: (writing.set(), closed.wait(10))
            pool.send(last)
            for batch in first, unread, last:
                await batch.finished()
            assert (first.counts(), unread.counts(), last.counts()) == ({202: 20}, {200: 20}, {200: 1})
            await pool.aclose()

        world.run(main)


@pytest.mark.parametrize("goodbye", [True, False], ids=["close_notify", "bare FIN"])
def test_a_close_without_goaway_keeps_what_was_answered(world: World, goodbye: bool) -> None:
    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 1000}))
        requests = [peer.request() for _ in range(20)]
        peer.send(*(reply(request.stream) for request in requests[:12] if request is not None))
        if goodbye:
            peer.socket.unwrap()
        else:
            peer.socket.shutdown(socket.SHUT_WR)
            peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(20)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 12, "unknown": 8}
            assert batch.reasons() == {Reason.CONNECTION_LOST}
            await pool.aclose()

        world.run(main)
    assert len(server.requests) == 20


def test_a_reset_with_requests_in_flight_is_unknown(world: World) -> None:
    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 5}))
        for _ in range(5):
            peer.request()
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(5)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {"unknown": 5}
            await pool.aclose()

        world.run(main)
    assert len(server.requests) == 5


def test_a_going_away_connection_finishes_while_the_next_takes_over(world: World) -> None:
    others = threading.Event()

    def script(peer: Peer) -> None:
        if peer.number:
            serve_all(peer)
            return
        peer.send(settings({MAX_CONCURRENT: 2}))
        requests = [peer.request(), peer.request()]
        peer.send(goaway(2**31 - 1, 0, b'{"reason":"Shutdown"}'))
        assert others.wait(10)
        peer.send(*(reply(request.stream, 202) for request in requests if request is not None))
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(10)
            batch.on_done = lambda *_: others.set() if batch.counts()[200] == 8 else None
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 8, 202: 2}
            await pool.aclose()

        world.run(main)
    assert [len(peer.reader.requests) for peer in server.peers] == [2, 8]


def test_a_retired_connection_takes_no_more_and_reads_what_is_due(world: World) -> None:
    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 3}))
        if peer.number:
            serve_all(peer)
            return
        requests = [peer.request() for _ in range(3)]
        for request in requests:
            assert request is not None
            peer.send(reply(request.stream, 403, body=b'{"reason":"ExpiredProviderToken"}'))
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(10)

            def retire(index: int, result: Reply | Failure, connection: Connection | None) -> None:
                assert isinstance(result, Reply)
                if result.status == 403:
                    assert connection is not None
                    connection.retire("expired token")

            batch.on_done = retire
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {403: 3, 200: 7}
            assert len({id(connection) for connection in batch.connections}) == 2
            await pool.aclose()

        world.run(main)
    assert [len(peer.reader.requests) for peer in server.peers] == [3, 7]


def test_a_batch_that_raises_harms_no_other(world: World) -> None:
    class Broken(RecordingBatch):
        def request(self, index: int) -> tuple[Headers, bytes]:
            if index == 1:
                raise RuntimeError("no request")
            if index == 2:
                return [*super().request(index)[0], (b"apns-collapse-id", b"a\r\nb")], b""
            return super().request(index)

    with RawServer(world.authority.server_context(), serve_all) as server:

        async def main() -> None:
            seen: list[object] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context["exception"]))
            pool = world.pool(server.port)
            batch = Broken(4)
            batch.on_done = lambda *_: 1 / 0
            other = RecordingBatch(4)
            pool.send(batch)
            pool.send(other)
            await batch.finished()
            await other.finished()
            assert batch.counts() == {200: 2, "permanent": 2}
            assert other.counts() == {200: 4}
            assert sorted(type(error).__name__ for error in seen) == ["RuntimeError"] + ["ZeroDivisionError"] * 4
            await pool.aclose()

        world.run(main)


def test_settings_are_acknowledged_and_pushes_refused(world: World) -> None:
    with RawServer(world.authority.server_context(), serve_all) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(1)
            pool.send(batch)
            await batch.finished()
            await pool.aclose()

        world.run(main)
    first, *others = server.peers[0].reader.of(SETTINGS)
    assert b"\x00\x02\x00\x00\x00\x00" in first.payload
    assert [other.flags for other in others] == [ACK]
