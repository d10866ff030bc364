"""The pool: how many connections when, and what is tried again."""

import asyncio
import contextlib
import itertools
import socket
import threading
import time

import pytest

from bellhop_server.providers import backlog
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import REFUSED_STREAM, FailureKind
from bellhop_server.providers.reasons import Reason
from tests.raw_http2_server import (
    MAX_CONCURRENT,
    Peer,
    RawServer,
    goaway,
    reply,
    reset,
    serve_all,
    settings,
)
from tests.request_batch import RecordingBatch, World


def test_a_refused_connection_is_not_sent_at_the_deadline(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    async def main() -> None:
        pool = world.pool(port)
        batch = RecordingBatch(3, seconds=1.0)
        pool.send(batch)
        await batch.finished()
        assert time.monotonic() >= batch.deadline
        assert batch.counts() == {"not_sent": 3}
        assert batch.reasons() == {Reason.CONNECTION_REFUSED}
        await pool.aclose()

    world.run(main)


def test_pauses_between_attempts_double_up_to_the_longest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        attempts: list[float] = []

        class Refusing:
            """The running loop, without a network."""

            def __getattr__(self, name: str) -> object:
                return getattr(loop, name)

            async def create_connection(self, *_: object) -> None:
                attempts.append(time.monotonic())
                raise ConnectionRefusedError("refused")

        pool = world.pool(1, backoff_first=0.02, backoff_most=0.06)
        monkeypatch.setattr(pool, "_loop", Refusing())
        batch = RecordingBatch(1, seconds=0.35)
        pool.send(batch)
        await batch.finished()
        pauses = [after - before for before, after in itertools.pairwise(attempts)]
        assert len(pauses) >= 3
        for pause, least in zip(pauses, [0.02, 0.04, *[0.06] * 10], strict=False):
            assert pause >= least - 0.002
        await pool.aclose()

    world.run(main)


def test_one_connection_is_enough_while_it_has_room(world: World) -> None:
    with RawServer(world.authority.server_context(), serve_all) as server:

        async def main() -> None:
            pool = world.pool(server.port, connections=4)
            for _ in range(3):
                batch = RecordingBatch(20)
                pool.send(batch)
                await batch.finished()
                assert batch.counts() == {200: 20}
            await pool.aclose()

        world.run(main)
    assert len(server.peers) == 1


def test_more_connections_are_opened_for_more_work(world: World) -> None:
    together = threading.Barrier(3, timeout=10)

    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 5}))
        first = peer.request()
        assert first is not None
        peer.send(reply(first.stream))
        held = [peer.request() for _ in range(5)]
        # Nobody is answered until three connections are full.
        together.wait()
        peer.send(*(reply(request.stream) for request in held if request is not None))
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, connections=3)
            batch = RecordingBatch(18)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 18}
            assert len(pool.connections) == 3
            await pool.aclose()

        world.run(main)
    assert [len(peer.reader.requests) for peer in server.peers] == [6, 6, 6]


def test_a_higher_priority_overtakes_a_batch_that_is_half_sent(world: World) -> None:
    half_sent, overtaken = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 1}))
        for number in itertools.count():
            request = peer.request()
            if request is None:
                return
            if number == 2:
                half_sent.set()
                assert overtaken.wait(10)
            peer.send(reply(request.stream))

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            broadcast, urgent = RecordingBatch(6, priority=2), RecordingBatch(2, first=100, priority=3)
            pool.send(broadcast)
            await asyncio.to_thread(half_sent.wait, 10)
            pool.send(urgent)
            overtaken.set()
            await urgent.finished()
            await broadcast.finished()
            await pool.aclose()

        world.run(main)
    (peer,) = server.peers
    paths = [request.headers[b":path"] for request in peer.reader.requests]
    assert paths == [b"/0", b"/1", b"/2", b"/100", b"/101", b"/3", b"/4", b"/5"]


def test_one_stream_until_the_first_answer_as_apns_has_it(world: World) -> None:
    """No second stream before the limit rises, and no second connection before the first is proven."""
    counted: list[int] = []

    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 1}))
        first = peer.request()
        if first is None:
            return
        # Settle: a violation would be on its way already, and a second connection would have been accepted.
        peer.socket.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            peer.receive()
        peer.socket.settimeout(15)
        counted.append(len(peer.reader.requests))
        counted.append(len(server.peers))
        peer.send(reply(first.stream), settings({MAX_CONCURRENT: 1000}))
        while (request := peer.request()) is not None:
            peer.send(reply(request.stream))

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, connections=4)
            batch = RecordingBatch(100)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 100}
            await pool.aclose()

        world.run(main)
    assert counted[:2] == [1, 1]


def test_a_limit_lowered_in_flight_is_never_exceeded(world: World) -> None:
    """As APNs after a refusal: 20 open, the limit falls to 1, and rises again only when all are answered."""
    excess: list[int] = []

    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 20}))
        held = [peer.request() for _ in range(20)]
        peer.send(settings({MAX_CONCURRENT: 1}), *(reply(request.stream) for request in held if request is not None))
        for _ in range(5):
            request = peer.request()
            if request is None:
                return
            excess.append(len(peer.reader.requests) - 21 - len(excess))
            peer.send(reply(request.stream))
        peer.send(settings({MAX_CONCURRENT: 1000}))
        while (request := peer.request()) is not None:
            peer.send(reply(request.stream))

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(60)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 60}
            await pool.aclose()

        world.run(main)
    assert excess == [0] * 5


def test_refused_streams_are_tried_a_few_times(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "_FIRST_PAUSE", 0.001)

    def script(peer: Peer) -> None:
        peer.send(settings())
        while (request := peer.request()) is not None:
            peer.send(reset(request.stream, REFUSED_STREAM))

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(1, seconds=15)
            pool.send(batch)
            hurried = RecordingBatch(1, seconds=0.3, first=1)
            pool.send(hurried)
            await hurried.finished()
            assert hurried.counts() == {"not_sent": 1}
            await batch.finished()
            assert batch.results == [[Failure(FailureKind.NOT_SENT, Reason.STREAM_REFUSED, REFUSED_STREAM)]]
            assert pool.waiting == 0
            await pool.aclose()

        world.run(main)
    paths = [request.headers[b":path"] for request in server.requests]
    assert paths.count(b"/0") == 10
    assert 1 <= paths.count(b"/1") < 10


def test_a_server_that_only_goes_away_is_called_ever_more_rarely(world: World) -> None:
    def script(peer: Peer) -> None:
        peer.send(settings(), goaway(0, 0, b'{"reason":"BadCertificate"}'))
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, connections=4, backoff_first=0.02, backoff_most=10)
            batch = RecordingBatch(3, seconds=0.25)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {"not_sent": 3}
            assert batch.reasons() == {Reason.GO_AWAY}
            await pool.aclose()

        world.run(main)
    # After 0, 0.02, 0.06 and 0.14 seconds.
    assert 2 <= len(server.peers) <= 4


def test_closing_waits_for_answers_and_gives_the_rest_back(world: World) -> None:
    closing, in_flight = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 3}))
        held = [peer.request() for _ in range(3)]
        in_flight.set()
        assert closing.wait(10)
        peer.send(*(reply(request.stream) for request in held if request is not None))
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(8)
            batch.on_done = lambda *_: closing.set()
            pool.send(batch)
            assert await asyncio.to_thread(in_flight.wait, 10)
            await pool.aclose()
            await batch.finished()
            assert batch.counts() == {200: 3, "not_sent": 5}
            assert batch.reasons() == {Reason.SHUTTING_DOWN}
            later = RecordingBatch(2)
            pool.send(later)
            assert later.counts() == {}
            await later.finished()
            assert later.counts() == {"not_sent": 2}

        world.run(main)
    assert len(server.requests) == 3


def test_closing_does_not_wait_for_ever(world: World) -> None:
    in_flight = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 3}))
        for _ in range(3):
            peer.request()
        in_flight.set()
        peer.wait_end()

    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(3)
            pool.send(batch)
            assert await asyncio.to_thread(in_flight.wait, 10)
            await pool.aclose(timeout=0.05)
            await batch.finished()
            assert batch.counts() == {"unknown": 3}
            assert batch.reasons() == {Reason.SHUTTING_DOWN}
            assert pool.connections == ()

        world.run(main)


def test_closing_while_connecting(world: World) -> None:
    with RawServer(world.authority.server_context(), Peer.wait_end) as server:

        async def main() -> None:
            for turns in range(6):
                pool = world.pool(server.port)
                batch = RecordingBatch(1)
                pool.send(batch)
                for _ in range(turns):
                    await asyncio.sleep(0)
                await pool.aclose()
                await batch.finished()
                assert batch.counts() == {"not_sent": 1}

        world.run(main)
    assert server.requests == []


def test_retiring_all_connections_opens_new_ones(world: World) -> None:
    with RawServer(world.authority.server_context(), serve_all) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            for _ in range(3):
                batch = RecordingBatch(5)
                pool.send(batch)
                await batch.finished()
                assert batch.counts() == {200: 5}
                pool.retire("revoked key")
            await pool.aclose()

        world.run(main)
    assert [len(peer.reader.requests) for peer in server.peers] == [5, 5, 5]
