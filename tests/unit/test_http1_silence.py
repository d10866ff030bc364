"""One connection of HTTP/1.1 whose peer is slow, silent or says too much: no PING helps, and nothing waits for ever."""

import asyncio
import contextlib
import threading

import pytest

from bellhop_server.providers.engine import LARGEST_REPLY, Reply
from bellhop_server.providers.reasons import Reason
from tests.raw_http2_server import Authority, Peer, RawServer
from tests.request_batch import RecordingBatch, World
from tests.unit.http1_peer import CREATED, answer_all, ask


@pytest.fixture(params=["asyncio", "uvloop"])
def world(request: pytest.FixtureRequest, authority: Authority) -> World:
    """Each event loop in turn; which engine HTTP/2 would have makes no difference."""
    return World("ngh2", request.param, authority)


def test_an_answer_may_take_its_time(world: World) -> None:
    """There is no PING to be answered meanwhile."""
    waited = threading.Event()

    def script(peer: Peer) -> None:
        assert ask(peer) is not None
        assert waited.wait(10)
        peer.send(CREATED)
        answer_all(peer)

    with RawServer(world.authority.server_context("http/1.1"), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True, ping_answer=0.01, ping_idle=0.01)
            batch = RecordingBatch(1)
            pool.send(batch)
            asyncio.get_running_loop().call_later(0.15, waited.set)
            await batch.finished()
            assert batch.counts() == {201: 1}
            await pool.aclose()

        world.run(main)
    assert len(server.peers) == 1


def test_a_connection_that_was_silent_for_long_is_closed_without_trouble(world: World) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        answer_all(peer)
        closed.set()

    with RawServer(world.authority.server_context("http/1.1"), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True, ping_idle=0.05)
            batch = RecordingBatch(1)
            pool.send(batch)
            await batch.finished()
            assert await asyncio.to_thread(closed.wait, 10)
            again = RecordingBatch(1)
            pool.send(again)
            await again.finished()
            assert again.counts() == {201: 1}
            assert pool.trouble is None
            await pool.aclose()

        world.run(main)
    assert len(server.peers) == 2


@pytest.mark.parametrize(
    ("seconds", "answer", "reason"), [(15, 0.1, Reason.ANSWER_TIMEOUT), (0.3, 15, Reason.HANDOVER_TIMEOUT)]
)
def test_no_answer_in_time_is_unknown(world: World, seconds: float, answer: float, reason: Reason) -> None:
    ended: list[bytes] = []

    def script(peer: Peer) -> None:
        if peer.number:
            answer_all(peer)
            return
        assert ask(peer) is not None
        with contextlib.suppress(ConnectionError):
            ended.append(peer.socket.recv(100))

    with RawServer(world.authority.server_context("http/1.1"), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True, answer=answer)
            batch = RecordingBatch(1, seconds=seconds)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {"unknown": 1}
            assert batch.reasons() == {reason}
            after = RecordingBatch(1, first=1)
            pool.send(after)
            await after.finished()
            assert after.counts() == {201: 1}
            await pool.aclose()

        world.run(main)
    # Nothing was asked behind it.
    assert ended in ([], [b""])
    assert len(server.peers) == 2


def test_an_endless_body_is_cut(world: World) -> None:
    def script(peer: Peer) -> None:
        assert ask(peer) is not None
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.send(b"x" * 10_000)

    with RawServer(world.authority.server_context("http/1.1"), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True)
            batch = RecordingBatch(1)
            pool.send(batch)
            await batch.finished()
            ((result,),) = batch.results
            assert isinstance(result, Reply)
            assert len(result.body) == LARGEST_REPLY
            await pool.aclose()

        world.run(main)


def test_a_request_timeout_that_comes_unasked_is_nobodys_answer(world: World) -> None:
    told = threading.Event()

    def script(peer: Peer) -> None:
        if peer.number == 0:
            assert ask(peer) is not None
            peer.send(CREATED + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            told.set()
        answer_all(peer)

    with RawServer(world.authority.server_context("http/1.1"), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True)
            batch = RecordingBatch(3)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {201: 3}
            await pool.aclose()

        world.run(main)
    assert told.is_set()
    assert len(server.peers) == 2
