"""A pool whose peer speaks HTTP/1.1: one request at a time on each connection, and the same honesty about its end."""

import asyncio
import contextlib
import itertools
import socket
import ssl
import struct
import threading

import pytest

from bellhop_server.providers.engine import Reply
from bellhop_server.providers.reasons import Reason
from bellhop_server.providers.tls import client_context
from tests.raw_http2_server import Authority, Peer, RawServer, serve_all
from tests.request_batch import RecordingBatch, World
from tests.unit.http1_peer import CREATED, CREATED_AND_CLOSE, Asked, answer_all, ask

# What a client hears that asks a server without ALPN.
UNKNOWN_PROTOCOL = "spdy/3"


@pytest.fixture(params=["asyncio", "uvloop"])
def world(request: pytest.FixtureRequest, authority: Authority) -> World:
    """Each event loop in turn; which engine HTTP/2 would have makes no difference."""
    return World("ngh2", request.param, authority)


@pytest.mark.parametrize("alpn", ["http/1.1", UNKNOWN_PROTOCOL])
def test_a_peer_without_http2_is_served_one_request_after_the_other(world: World, alpn: str) -> None:
    seen: list[Asked] = []

    def script(peer: Peer) -> None:
        while (asked := ask(peer)) is not None:
            seen.append(asked)
            peer.send(b"HTTP/1.1 201 Created\r\nX-Path: " + asked.line.split()[1] + b"\r\ncontent-length: 2\r\n\r\nok")

    with RawServer(world.authority.server_context(alpn), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True)
            batch = RecordingBatch(30, body=b"x" * 3000)
            pool.send(batch)
            await batch.finished()
            for index, (result,) in enumerate(batch.results):
                assert isinstance(result, Reply)
                assert (result.header(b"x-path"), result.body) == (b"/%d" % index, b"ok")
            assert batch.handed == []
            await pool.aclose()

        world.run(main)
    assert len(server.peers) == 1
    assert [asked.line for asked in seen] == [b"POST /%d HTTP/1.1" % index for index in range(30)]
    assert {asked.fields[b"host"] for asked in seen} == {b"localhost"}
    assert {asked.body for asked in seen} == {b"x" * 3000}


def test_the_first_request_waits_for_no_further_word_of_the_peer(world: World) -> None:
    """By TLS 1.2 nothing comes behind the handshake, and HTTP/1.1 has no SETTINGS."""
    context = world.authority.server_context("http/1.1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with RawServer(context, answer_all) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True)
            batch = RecordingBatch(2, seconds=3)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {201: 2}
            await pool.aclose()

        world.run(main)


def test_http2_is_preferred(world: World) -> None:
    context = world.authority.server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with RawServer(context, serve_all) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True)
            batch = RecordingBatch(10)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 10}
            await pool.aclose()

        world.run(main)
    assert len(server.requests) == 10


@pytest.mark.parametrize(("http1", "spoken"), [(False, None), (True, "http/1.1")])
def test_http1_is_offered_only_when_asked_for(authority: Authority, http1: bool, spoken: str | None) -> None:
    ends = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(authority.ca_file, http1=http1).wrap_bio(*ends, server_hostname="localhost")
    peer = authority.server_context("http/1.1").wrap_bio(*reversed(ends), server_side=True)
    for end in client, peer, client, peer:
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    assert (client.selected_alpn_protocol(), peer.selected_alpn_protocol()) == (spoken, spoken)


def test_http1_is_not_spoken_unless_asked_for(world: World) -> None:
    with RawServer(world.authority.server_context(UNKNOWN_PROTOCOL), answer_all) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(2, seconds=0.2)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {"not_sent": 2}
            assert batch.reasons() == {Reason.NO_HTTP2}
            assert pool.trouble is Reason.NO_HTTP2
            await pool.aclose()

        world.run(main)


def test_more_connections_are_opened_while_each_is_busy(world: World) -> None:
    together = threading.Barrier(4, timeout=10)

    def script(peer: Peer) -> None:
        assert ask(peer) is not None
        peer.send(CREATED)
        assert ask(peer) is not None
        # Nobody is answered until four connections have a second request.
        together.wait()
        peer.send(CREATED)
        answer_all(peer)

    with RawServer(world.authority.server_context("http/1.1"), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True, connections=4)
            batch = RecordingBatch(8)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {201: 8}
            assert len(pool.connections) == 4
            await pool.aclose()

        world.run(main)


def test_a_peer_that_closes_after_each_answer_is_called_again_at_once(world: World) -> None:
    def script(peer: Peer) -> None:
        assert ask(peer) is not None
        peer.send(CREATED_AND_CLOSE)
        assert ask(peer) is None

    with RawServer(world.authority.server_context("http/1.1"), script) as server:

        async def main() -> None:
            # A pause would outlast the batch.
            pool = world.pool(server.port, http1=True, backoff_first=60.0, backoff_most=60.0)
            batch = RecordingBatch(5, seconds=15)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {201: 5}
            assert pool.trouble is None
            await pool.aclose()

        world.run(main)
    assert len(server.peers) == 5


def test_a_stale_connection_is_replaced_and_costs_no_request(world: World) -> None:
    def script(peer: Peer) -> None:
        assert ask(peer) is not None
        peer.send(CREATED)
        # Nobody has to say that a connection will be closed.

    with RawServer(world.authority.server_context("http/1.1"), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True, backoff_first=60.0, backoff_most=60.0)
            for _ in range(3):
                batch = RecordingBatch(1, seconds=15)
                pool.send(batch)
                await batch.finished()
                assert batch.counts() == {201: 1}
                await pool._empty.wait()
            await pool.aclose()

        world.run(main)
    assert len(server.peers) == 3


def test_an_unused_connection_that_the_peer_closes_is_no_trouble(world: World) -> None:
    """The second one is opened for work that the first one does in the meantime."""
    wanted, gone = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        if peer.number:
            gone.set()
            return
        assert ask(peer) is not None
        peer.send(CREATED)
        for _ in range(2):
            assert ask(peer) is not None
            assert wanted.wait(10)
            peer.send(CREATED)
        assert gone.wait(10)

    with RawServer(world.authority.server_context("http/1.1"), script) as server:

        async def main() -> None:
            done = asyncio.Event()
            looked_up = itertools.count()

            async def resolve(host: str, port: int) -> list[str]:
                if next(looked_up):
                    wanted.set()
                    await done.wait()
                return ["127.0.0.1"]

            pool = world.pool(
                server.port, http1=True, resolve=resolve, connections=2, backoff_first=60.0, backoff_most=60.0
            )
            batch = RecordingBatch(3)
            pool.send(batch)
            await batch.finished()
            done.set()
            await pool._empty.wait()
            assert batch.counts() == {201: 3}
            assert pool.trouble is None
            await pool.aclose()

        world.run(main)
    assert len(server.peers) == 2


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 201 Cre"])
def test_a_connection_that_ends_in_the_middle_is_unknown(world: World, part: bytes) -> None:
    def script(peer: Peer) -> None:
        if peer.number:
            answer_all(peer)
            return
        assert ask(peer) is not None
        if part:
            peer.send(part)
            peer.delivered()
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with RawServer(world.authority.server_context("http/1.1"), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True)
            batch = RecordingBatch(3)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {201: 2, "unknown": 1}
            assert batch.reasons() == {Reason.CONNECTION_LOST}
            await pool.aclose()

        world.run(main)


def test_closing_waits_for_the_answer_in_flight(world: World) -> None:
    asked, closing = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        assert ask(peer) is not None
        asked.set()
        assert closing.wait(10)
        peer.send(CREATED)
        assert ask(peer) is None

    with RawServer(world.authority.server_context("http/1.1"), script) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True)
            batch = RecordingBatch(3)
            batch.on_done = lambda *_: closing.set()
            pool.send(batch)
            assert await asyncio.to_thread(asked.wait, 10)
            assert pool.busy
            await pool.aclose()
            assert batch.counts() == {201: 1, "not_sent": 2}
            assert not pool.busy

        world.run(main)


def test_a_pool_says_when_it_was_used_last(world: World) -> None:
    with RawServer(world.authority.server_context("http/1.1"), answer_all) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True)
            made = pool.used
            assert not pool.busy
            batch = RecordingBatch(1)
            pool.send(batch)
            assert pool.busy
            assert pool.used > made
            await batch.finished()
            assert not pool.busy
            await pool.aclose()

        world.run(main)


def test_no_proxy_of_the_environment_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:1")

    with RawServer(world.authority.server_context("http/1.1"), answer_all) as server:

        async def main() -> None:
            pool = world.pool(server.port, http1=True)
            batch = RecordingBatch(1)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {201: 1}
            await pool.aclose()

        world.run(main)
