"""When a request counts as handed over, and what becomes of one that cannot be known to be: over real sockets."""

import asyncio
import socket
import threading
import time

from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import REFUSED_STREAM, FailureKind
from bellhop_server.providers.reasons import Reason
from tests.raw_http2_server import (
    ACK,
    BOUNDLESS,
    MAX_CONCURRENT,
    PING,
    RST_STREAM,
    Arrived,
    Peer,
    RawServer,
    Request,
    frame,
    goaway,
    reply,
    reset,
    serve_all,
    settings,
)
from tests.request_batch import RecordingBatch, World


def requests(peer: Peer, count: int) -> list[Request]:
    """The next so many."""
    received = [peer.request() for _ in range(count)]
    return [request for request in received if request is not None]


def acknowledge(peer: Peer, number: int = 1) -> None:
    """Waits for the PING of that number, and answers it."""
    while len(peer.reader.of(PING)) < number:
        assert peer.receive()
    peer.send(frame(PING, ACK, 0, peer.reader.of(PING)[number - 1].payload))


def test_slow_answers_do_not_hold_up_what_was_received(world: World) -> None:
    told = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 1000}))
        received = requests(peer, 20)
        acknowledge(peer)
        # The answers stay out until the client knows.
        assert told.wait(10)
        peer.send(*(reply(request.stream) for request in received))
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(20)
            batch.on_handed_over = lambda _: told.set() if len(batch.handed) == 20 else None
            pool.send(batch)
            await batch.finished()
            assert batch.handed == list(range(20))
            assert batch.counts() == {200: 20}
            await pool.aclose()

        world.run(main)
    assert len(server.peers[0].reader.of(PING)) == 1


def test_quick_answers_cost_no_ping(world: World) -> None:
    with RawServer(world.authority.server_context(), serve_all) as server:

        async def main() -> None:
            pool = world.pool(server.port, confirm=2.0)
            for _ in range(3):
                batch = RecordingBatch(300)
                pool.send(batch)
                await batch.finished()
                assert batch.handed == []
            await pool.aclose()

        world.run(main)
    assert server.peers[0].reader.of(PING) == []


def test_what_comes_behind_a_ping_is_not_confirmed_by_it(world: World) -> None:
    pinged, later = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 1000}))
        first = peer.request()
        while not peer.reader.of(PING):
            assert peer.receive()
        pinged.set()
        second = peer.request()
        acknowledge(peer, 1)
        assert later.wait(10)
        acknowledge(peer, 2)
        assert first is not None
        assert second is not None
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            first, second = RecordingBatch(1), RecordingBatch(1, first=1)
            both = asyncio.Event()
            first.on_handed_over = lambda _: (later.set(), second.handed == [] or both.set())
            second.on_handed_over = lambda _: both.set()
            pool.send(first)
            assert await asyncio.to_thread(pinged.wait, 10)
            pool.send(second)
            async with asyncio.timeout(10):
                await both.wait()
            assert (first.handed, second.handed) == ([0], [0])
            await pool.aclose(timeout=0)

        world.run(main)


def test_without_acknowledgement_it_is_taken_back_at_the_deadline(world: World) -> None:
    """The peer has all bytes; only the reset tells it that the request no longer holds."""

    def script(peer: Peer) -> None:
        if peer.number:
            serve_all(peer)
            return
        peer.send(settings({MAX_CONCURRENT: 3}))
        received = requests(peer, 3)
        peer.send(reply(received[1].stream))
        while len(peer.reader.of(RST_STREAM)) < 2:
            assert peer.receive()
        peer.send(reply(received[0].stream))  # Too late to be heard.
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(3, seconds=0.5)
            pool.send(batch)
            await batch.finished()
            assert batch.handed == []
            assert batch.counts() == {200: 1, "unknown": 2}
            assert batch.reasons() == {Reason.HANDOVER_TIMEOUT}
            later = RecordingBatch(4)
            pool.send(later)
            await later.finished()
            assert later.counts() == {200: 4}
            await pool.aclose()

        world.run(main)
    first, second = server.peers
    assert {seen.stream for seen in first.reader.of(RST_STREAM)} == {1, 5}
    assert len(second.reader.requests) == 4


def test_a_confirmed_request_may_be_answered_after_its_deadline(world: World) -> None:
    late = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 1000}))
        first = peer.request()
        acknowledge(peer)
        assert late.wait(10)
        assert first is not None
        peer.send(reply(first.stream))
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(1, seconds=0.4)
            asyncio.get_running_loop().call_later(0.45, late.set)
            pool.send(batch)
            await batch.finished()
            assert batch.handed == [0]
            assert batch.counts() == {200: 1}
            assert time.monotonic() > batch.deadline
            await pool.aclose()

        world.run(main)
    assert server.peers[0].reader.of(RST_STREAM) == []


def test_a_confirmed_request_without_an_answer_is_forgotten(world: World) -> None:
    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 1000}))
        peer.request()
        acknowledge(peer)
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, answer=0.3)
            batch = RecordingBatch(1)
            pool.send(batch)
            await batch.finished()
            assert batch.handed == [0]
            assert batch.reasons() == {Reason.ANSWER_TIMEOUT}
            assert batch.counts() == {"unknown": 1}
            await pool.aclose()

        world.run(main)
    assert server.peers[0].reader.of(RST_STREAM) == []


def test_what_was_told_to_be_handed_over_is_not_handed_over_again(world: World) -> None:
    """Each of the refusals says that nothing was processed, so the pool would be free to try elsewhere."""
    told = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 1000}))
        received = requests(peer, 2)
        acknowledge(peer)
        assert told.wait(10)
        peer.send(reset(received[0].stream, REFUSED_STREAM), goaway(0))
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(2)
            batch.on_handed_over = lambda _: told.set() if len(batch.handed) == 2 else None
            pool.send(batch)
            await batch.finished()
            assert batch.results == [
                [Failure(FailureKind.NOT_SENT, Reason.STREAM_REFUSED, REFUSED_STREAM)],
                [Failure(FailureKind.NOT_SENT, Reason.GO_AWAY, 0)],
            ]
            await pool.aclose()

        world.run(main)
    assert len(server.requests) == 2


def test_too_shortly_before_its_deadline_it_is_not_sent(world: World) -> None:
    with RawServer(world.authority.server_context(), serve_all) as server:

        async def main() -> None:
            pool = world.pool(server.port, confirm=5.0)
            batch, hurried = RecordingBatch(1), RecordingBatch(1, seconds=9.0, first=1)
            pool.send(hurried)
            pool.send(batch)
            for each in batch, hurried:
                await each.finished()
            assert (batch.counts(), hurried.counts()) == ({200: 1}, {"not_sent": 1})
            await pool.aclose()

        world.run(main)
    assert [request.headers[b":path"] for request in server.requests] == [b"/0"]


def stalled(world: World, body: bytes, count: int) -> tuple[RecordingBatch, bool]:
    """Sends to a peer that does not read; once all is reported the peer reads on, and must find nothing new."""
    reported, deaf = threading.Event(), threading.Event()
    found: list[tuple[int, int]] = []

    def script(peer: Peer) -> None:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.send(*BOUNDLESS)
        while not peer.reader.requests:
            assert peer.receive()
        peer.send(reply(1))
        arrived = Arrived(peer)
        deaf.set()
        assert reported.wait(10)
        found.append((arrived.here(), arrived.rest()))

    with RawServer(world.authority.server_context(), script) as server:
        blocked = False
        batch: RecordingBatch

        async def main() -> None:
            nonlocal blocked, batch
            pool = world.pool(server.port)
            first = RecordingBatch(1, first=10_000)
            pool.send(first)
            assert await asyncio.to_thread(deaf.wait, 10)
            await first.finished()
            batch = RecordingBatch(count, seconds=0.3, body=body)
            taken = asyncio.Event()
            batch.on_request = lambda _: taken.set()
            pool.send(batch)
            await taken.wait()
            await asyncio.sleep(0)
            (connection,) = pool.connections
            blocked = connection.channel.blocked
            await batch.finished()
            await pool.aclose(timeout=0)
            reported.set()

        world.run(main)
    ((here, rest),) = found
    assert rest <= here
    return batch, blocked


def test_what_a_deaf_peer_has_not_got_by_the_deadline_it_never_gets(world: World) -> None:
    batch, _ = stalled(world, b"x" * 2_000_000, 10)
    assert batch.handed == []
    assert set(batch.counts()) <= {"unknown", "not_sent"}
    assert Reason.WRITE_TIMEOUT in batch.reasons()


def test_what_the_kernel_holds_for_a_deaf_peer_is_thrown_away(world: World) -> None:
    """All of it is with the kernel, which would go on sending for minutes; no buffer of ours tells of it."""
    batch, blocked = stalled(world, b"x" * 1000, 100)
    assert not blocked
    assert batch.handed == []
    assert batch.counts() == {"unknown": 100}
    assert batch.reasons() == {Reason.WRITE_TIMEOUT}
