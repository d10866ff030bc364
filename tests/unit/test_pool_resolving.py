"""A pool that is told where its host is: it connects there and nowhere else, and asks for the name all the same."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from bellhop_server.providers.addresses import Addresses, Blocked
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import FailureKind
from bellhop_server.providers.reasons import Reason
from tests.raw_http2_server import Authority, Peer, RawServer, serve_all
from tests.request_batch import RecordingBatch, World

BLOCKED = [Failure(FailureKind.NOT_SENT, Reason.ADDRESS_BLOCKED)]


@pytest.fixture(params=["asyncio", "uvloop"])
def world(request: pytest.FixtureRequest, authority: Authority) -> World:
    """Each event loop in turn; the engine makes no difference."""
    return World("ngh2", request.param, authority)


class Book:
    """What a name leads to, look-up by look-up; the last entry stays."""

    def __init__(self, *entries: Sequence[str] | Exception) -> None:
        self.entries = list(entries)
        self.asked: list[tuple[str, int]] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        entry = self.entries.pop(0) if len(self.entries) > 1 else self.entries[0]
        if isinstance(entry, Exception):
            raise entry
        return entry


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
        return port


def test_the_address_is_used_and_the_name_is_meant(world: World) -> None:
    """The name has no address of its own; the certificate, TLS and the request are for the name."""
    asked_for: list[str] = []
    context = world.authority.server_context()
    context.sni_callback = lambda _, name, __: asked_for.append(name)
    with RawServer(context, serve_all) as server:

        async def main() -> None:
            book = Book(["127.0.0.1"])
            pool = world.pool(server.port, resolve=book.resolve)
            batch = RecordingBatch(3)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 3}
            assert book.asked == [("localhost", server.port)]
            await pool.aclose()

        world.run(main)
    assert asked_for == ["localhost"]


def test_the_certificate_is_held_against_the_name_not_the_address(world: World) -> None:
    """The server's certificate is for localhost and 127.0.0.1."""
    with RawServer(world.authority.server_context(), serve_all) as server:

        async def main() -> None:
            pool = world.pool(server.port, host="push.example", resolve=Book(["127.0.0.1"]).resolve)
            batch = RecordingBatch(1, seconds=0.3)
            pool.send(batch)
            await batch.finished()
            assert batch.reasons() == {Reason.TLS_FAILED}
            await pool.aclose()

        world.run(main)
    assert server.requests == []


def test_the_next_address_is_tried(world: World) -> None:
    with RawServer(world.authority.server_context(), serve_all) as server:

        async def main() -> None:
            # Nobody listens at the first two.
            pool = world.pool(server.port, resolve=Book(["127.0.0.2", "::1", "127.0.0.1"]).resolve)
            batch = RecordingBatch(1)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 1}
            await pool.aclose()

        world.run(main)


def test_an_address_that_does_not_answer_has_its_share_of_the_time(world: World) -> None:
    with RawServer(world.authority.server_context(), serve_all) as server, silent_address(server.port) as silent:

        async def main() -> None:
            pool = world.pool(server.port, resolve=Book([silent, "127.0.0.1"]).resolve, setup=0.4)
            batch = RecordingBatch(1)
            pool.send(batch)
            await batch.finished()
            assert batch.counts() == {200: 1}
            await pool.aclose()

        world.run(main)


@contextmanager
def silent_address(port: int) -> Iterator[str]:
    """An address that answers no SYN, because the queue of who listens there is full."""
    address = "127.0.0.3"
    with socket.socket() as listener, socket.socket() as first:
        listener.bind((address, port))
        listener.listen(0)
        first.connect((address, port))
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex((address, port))
        try:
            yield address
        finally:
            for filler in fillers:
                filler.close()


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (["127.0.0.2", "127.0.0.1"], Reason.CONNECTION_REFUSED),
        ([], Reason.CONNECTION_FAILED),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Reason.CONNECTION_FAILED),
    ],
)
def test_no_way_in_is_told_at_the_deadline_and_known_before(
    world: World, entry: Sequence[str] | Exception, reason: Reason
) -> None:
    async def main() -> None:
        pool = world.pool(closed_port(), resolve=Book(entry).resolve)
        batch = RecordingBatch(2, seconds=0.2)
        assert pool.trouble is None
        pool.send(batch)
        await batch.finished()
        assert batch.counts() == {"not_sent": 2}
        assert batch.reasons() == {reason}
        assert pool.trouble is reason
        await pool.aclose()

    world.run(main)


def test_a_blocked_address_ends_all_that_waits_at_once(world: World) -> None:
    async def main() -> None:
        book = Book(Blocked("10.0.0.1 is not a public address"))
        pool = world.pool(1, resolve=book.resolve, backoff_first=60.0, backoff_most=60.0)
        first, second = RecordingBatch(3, seconds=600), RecordingBatch(2, seconds=600, priority=3)
        pool.send(first)
        pool.send(second)
        assert first.counts() == {}
        await first.finished()
        await second.finished()
        assert first.results == [BLOCKED] * 3
        assert second.results == [BLOCKED] * 2
        assert first.connections == [None] * 3
        assert len(book.asked) == 1
        assert not pool.busy
        await pool.aclose()

    world.run(main)


def test_a_later_batch_looks_the_name_up_anew(world: World) -> None:
    """And soon: the pauses do not grow."""
    with RawServer(world.authority.server_context(), serve_all) as server:

        async def main() -> None:
            book = Book(*[Blocked("no")] * 8, ["127.0.0.1"])
            pool = world.pool(server.port, resolve=book.resolve, backoff_first=0.02, backoff_most=60.0)
            for counts in [{"not_sent": 1}] * 8 + [{200: 1}]:
                batch = RecordingBatch(1, seconds=1)
                pool.send(batch)
                await batch.finished()
                assert batch.counts() == counts
                assert pool.trouble is None
            await pool.aclose()

        world.run(main)


def test_a_batch_sent_in_answer_to_a_blocked_one_is_not_ended_with_it(world: World) -> None:
    with RawServer(world.authority.server_context(), serve_all) as server:

        async def main() -> None:
            pool = world.pool(server.port, resolve=Book(Blocked("no"), ["127.0.0.1"]).resolve)
            first, second = RecordingBatch(1), RecordingBatch(1)
            first.on_done = lambda *_: pool.send(second)
            pool.send(first)
            await second.finished()
            assert (first.results, second.counts()) == ([BLOCKED], {200: 1})
            await pool.aclose()

        world.run(main)


def test_a_name_that_changes_between_two_connections_is_judged_each_time(world: World) -> None:
    """DNS rebinding: allowed at first, inside the second time. The judge is the real one, the names are not."""
    found = iter(["8.8.8.8", "127.0.0.1"])

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(found), port))]

    with RawServer(world.authority.server_context(), Peer.wait_end) as server:

        async def main() -> None:
            addresses = Addresses(getaddrinfo=getaddrinfo)
            connected: list[str] = []

            async def resolve(host: str, port: int) -> Sequence[str]:
                connected.extend(await addresses.resolve(host, port))
                # Where the public address would be.
                return ["127.0.0.2"]

            pool = world.pool(server.port, resolve=resolve)
            batch = RecordingBatch(1)
            pool.send(batch)
            await batch.finished()
            assert batch.results == [BLOCKED]
            assert connected == ["8.8.8.8"]
            await pool.aclose()
            addresses.close()

        world.run(main)
    assert server.peers == []


def test_closing_while_a_name_is_looked_up(world: World) -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def resolve(host: str, port: int) -> Sequence[str]:
            asked.set()
            await asyncio.Event().wait()
            return []

        pool = world.pool(1, resolve=resolve)
        batch = RecordingBatch(1)
        pool.send(batch)
        await asked.wait()
        await pool.aclose()
        assert batch.reasons() == {Reason.SHUTTING_DOWN}

    world.run(main)


@pytest.mark.parametrize("host", ["", ".a", "a..b", "a" * 64 + ".example", "a\0b"])
def test_a_host_that_is_none_is_refused_when_the_pool_is_made(world: World, host: str) -> None:
    async def main() -> None:
        with pytest.raises((ValueError, TypeError)):
            world.pool(443, host=host)

    world.run(main)
