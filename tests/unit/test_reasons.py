"""What is told of a request without an answer: our words to its sender, quotations to the log, tokens to nobody."""

import json
import logging
import re

import pytest

from bellhop_server.providers.reasons import Reason, farewell, quote
from tests.raw_http2_server import MAX_CONCURRENT, Peer, RawServer, frame, goaway, settings
from tests.request_batch import RecordingBatch, World

DEVICE = "0123456789abcdef" * 4
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJURUFNIn0.c2lnbmF0dXJl"


def test_ours_are_short_and_plain() -> None:
    assert all(re.fullmatch(r"[A-Z][A-Za-z0-9]{5,24}", reason) for reason in Reason)


@pytest.mark.parametrize(
    ("debug", "told"),
    [
        (b'{"reason":"BadCertificate","timestamp":1}', "BadCertificate"),
        (json.dumps({"reason": f"{DEVICE} {JWT}\n\x1b[31m"}).encode(), "… …  [31m"),
        (f"/3/device/{DEVICE} bearer {JWT}".encode(), ""),
        (json.dumps({"path": DEVICE}).encode(), ""),
        (b'{"reason":7}', ""),
        (b'"reason"', ""),
        (b"[" * 100_000, ""),
        (b"\xff", ""),
        (b"", ""),
    ],
)
def test_of_a_goaway_only_its_reason_is_kept(debug: bytes, told: str) -> None:
    assert farewell(debug) == told


def test_a_quotation_has_one_short_line() -> None:
    assert quote("a\nb\0" + "x" * 60_000) == "a b " + "x" * 252


@pytest.mark.parametrize("debug", ["{path} {secret}", '{{"reason":"no {path} {secret}"}}', '{{"reason":"Shutdown"}}'])
def test_a_peer_that_repeats_what_it_was_sent(world: World, caplog: pytest.LogCaptureFixture, debug: str) -> None:
    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 9}))
        request = peer.request()
        assert request is not None
        peer.send(goaway(2**31 - 1, 0, debug.format(path=request.headers[b":path"].decode(), secret=JWT).encode()))
        peer.delivered()

    caplog.set_level(logging.DEBUG, "bellhop_server")
    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(1, first=int("12345678" * 8))
            pool.send(batch)
            await batch.finished()
            await pool.aclose()
            assert batch.reasons() == {Reason.GO_AWAY}
            ((result,),) = batch.results
            assert "12345678" not in repr(result)
            assert "eyJ" not in repr(result)

        world.run(main)
    assert "GoAway" in caplog.text
    assert "12345678" not in caplog.text
    assert "eyJ" not in caplog.text
    assert ("Shutdown" in caplog.text) == ("Shutdown" in debug)


def test_what_a_library_says_goes_to_the_log_alone(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def script(peer: Peer) -> None:
        peer.send(settings({MAX_CONCURRENT: 9}))
        request = peer.request()
        assert request is not None
        peer.send(frame(0, 0, 0, b"data of no stream"))
        peer.wait_end()

    caplog.set_level(logging.INFO, "bellhop_server")
    with RawServer(world.authority.server_context(), script) as server:

        async def main() -> None:
            pool = world.pool(server.port)
            batch = RecordingBatch(1)
            pool.send(batch)
            await batch.finished()
            await pool.aclose()
            assert batch.reasons() == {Reason.PROTOCOL_ERROR}

        world.run(main)
    assert re.search(r"over: ProtocolError \w+", caplog.text)
