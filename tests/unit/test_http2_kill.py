"""A process that is killed takes with it what the peer has not got yet."""

import asyncio
import socket
import sys
import threading

import pytest

from tests.raw_http2_server import BOUNDLESS, Arrived, Authority, Peer, RawServer, reply


@pytest.mark.promise("P3")
async def test_what_the_kernel_holds_dies_with_the_process(authority: Authority, engine_name: str) -> None:
    """Nobody is left then to tell a logout that it has to wait."""
    killed = threading.Event()
    found: list[tuple[int, int]] = []

    def script(peer: Peer) -> None:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.send(*BOUNDLESS)
        while not peer.reader.requests:
            assert peer.receive()
        arrived = Arrived(peer)
        peer.send(reply(1))
        assert killed.wait(20)
        found.append((arrived.here(), arrived.rest()))

    with RawServer(authority.server_context(), script) as server:
        arguments = ("-m", "tests.unit.http2_victim", str(server.port), str(authority.ca_file), engine_name)
        victim = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        assert victim.stdout is not None
        try:
            # All is with the kernel.
            assert await victim.stdout.readline() == b"False\n"
        finally:
            victim.kill()
            await victim.wait()
            killed.set()

    ((here, rest),) = found
    assert rest <= here < 50_000
