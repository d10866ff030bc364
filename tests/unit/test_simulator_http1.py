"""The HTTP/1.1 side of the simulators, tried with a provider that says yes to everything."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from bellhop_simulators import Faults, Journal, ManualClock
from bellhop_simulators.faults.actions import Then
from bellhop_simulators.faults.conditions import Facts
from bellhop_simulators.faults.playback import Answer
from bellhop_simulators.http.request import Request
from bellhop_simulators.serving.endpoint import Endpoint
from bellhop_simulators.serving.simulator import Simulator
from bellhop_simulators.serving.world import World
from tests.unit.http1_wire import Http1Client


@dataclass
class EchoCase:
    request: Request
    facts: Facts
    message_id: str = "m"
    taken: bool | None = True

    def deliver(self) -> None:
        pass

    def answer(self, then: Then) -> Answer:
        status = then.status or 200
        if status == 200 and self.request.header(":method") == "POST":
            return Answer(200, [("x-path", self.request.header(":path") or "")], self.request.body)
        return Answer(status, [], b"no", "no")


class Echo:
    limit = 100

    def facts(self, request: Request) -> Facts:
        return Facts("fcm", host=request.header(":authority"))

    def judge(self, request: Request) -> EchoCase:
        return EchoCase(request, self.facts(request))

    def answered(self, status: int) -> None:
        pass


class EchoSimulator(Simulator[World]):
    def __init__(self) -> None:
        super().__init__(World(ManualClock(), Journal(), Faults()), "127.0.0.1", None)
        self._endpoint = self._listen(Endpoint(self._world, Echo), 0)

    @property
    def url(self) -> str:
        return self._address(self._endpoint)


@pytest.fixture
async def echo() -> AsyncIterator[EchoSimulator]:
    async with EchoSimulator() as simulator:
        yield simulator
        async with await Http1Client.connect(simulator.url, simulator.ca_file) as client:
            assert (await client.call("POST", "/")).status == 200, "whatever happened, others are served"


@pytest.fixture
async def client(echo: EchoSimulator) -> AsyncIterator[Http1Client]:
    async with await Http1Client.connect(echo.url, echo.ca_file) as connected:
        yield connected


async def test_a_connection_is_kept_for_the_next_request(echo: EchoSimulator, client: Http1Client) -> None:
    for number in range(1, 4):
        reply = await client.call("POST", f"/{number}", body=b"x" * number)
        assert (reply.status, reply.headers["x-path"], reply.body) == (200, f"/{number}", b"x" * number)

    entries = echo.journal.entries
    assert [(entry.connection, entry.stream, entry.path) for entry in entries] == [
        (1, 1, "/1"),
        (1, 2, "/2"),
        (1, 3, "/3"),
    ]
    assert {entry.http for entry in entries} == {"HTTP/1.1"}
    assert (entries[0].method, entries[0].headers) == ("POST", {"host": "localhost", "content-length": "1"})


@pytest.mark.parametrize(("alpn", "agreed"), [("http/1.1", "http/1.1"), (None, None), ("spdy/1", None)])
async def test_who_does_not_ask_for_http2_gets_http1(echo: EchoSimulator, alpn: str | None, agreed: str | None) -> None:
    async with await Http1Client.connect(echo.url, echo.ca_file, alpn=alpn) as client:
        assert (await client.call("POST", "/")).status == 200
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == agreed
    assert echo.journal.entries[-1].http == "HTTP/1.1"


async def test_a_chunked_body_is_put_together(client: Http1Client) -> None:
    client.writer.write(
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )

    assert (await client.answer()).body == b"abcde"


async def test_requests_may_be_pipelined_and_arrive_in_pieces(client: Http1Client) -> None:
    client.send("POST", "/1", body=b"one")
    client.send("POST", "/2", body=b"two")
    client.writer.write(b"POST /3 HTTP/1.1\r\nho")
    assert [(await client.answer()).body for _ in range(2)] == [b"one", b"two"]
    client.writer.write(b"st: a\r\ncontent-length: 5\r\n\r\nth")
    client.writer.write(b"ree")

    assert (await client.answer()).body == b"three"


async def test_a_body_that_is_too_large_to_keep_is_counted(client: Http1Client) -> None:
    assert len((await client.call("POST", "/", body=b"x" * 1_000_000)).body) == 65_536


async def test_who_asks_whether_to_go_on_is_told_to(client: Http1Client) -> None:
    client.writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
    assert (await client.answer()).status == 100
    client.writer.write(b"ok")
    assert (await client.answer()).body == b"ok"


@pytest.mark.parametrize("head", ["GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"])
async def test_who_wants_no_second_request_is_let_go(client: Http1Client, head: str) -> None:
    client.writer.write(head.encode())

    reply = await client.answer()

    assert (reply.status, reply.headers["connection"], reply.body) == (200, "close", b"no")
    assert await client.ended() == "closed"


async def test_an_answer_to_head_has_no_body(client: Http1Client) -> None:
    client.send("HEAD", "/")
    assert (await client.answer(bodyless=True)).status == 200
    assert (await client.call("POST", "/", body=b"next")).body == b"next"


@pytest.mark.parametrize(
    "octets",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01 nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\n" + b"x: " + b"y" * 40_000,
    ],
)
async def test_what_is_no_request_closes_the_connection(
    echo: EchoSimulator, client: Http1Client, octets: bytes
) -> None:
    client.writer.write(octets)

    assert await client.ended() == "closed"
    (entry,) = echo.journal.entries
    assert (entry.status, entry.reason, entry.accepted, entry.stream) == (None, "MALFORMED", False, 1)


async def test_a_client_may_go_in_the_middle_of_a_request(echo: EchoSimulator, client: Http1Client) -> None:
    client.writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc")
    await client.writer.drain()
    client.writer.transport.abort()

    async with await Http1Client.connect(echo.url, echo.ca_file) as other:
        await other.call("POST", "/")
    assert [entry.path for entry in echo.journal.entries] == ["/"]


# Faults


async def test_answers_as_a_script_wants_them(echo: EchoSimulator, client: Http1Client) -> None:
    html = {"status": 502, "body": "<html>", "headers": {"Content-Type": "text/html", "content-length": "1"}}
    echo.faults.add(html, times=1)
    echo.faults.add({"status": 200, "body": ""}, times=1)
    echo.faults.add({"status": 429, "retry_after": 7}, times=1)
    echo.faults.add({"status": 302, "headers": {"location": "https://169.254.169.254/"}}, times=1)
    echo.faults.add({"status": 204}, times=1)
    echo.faults.add({"delay": 0.01}, times=1)

    reply = await client.call("POST", "/")
    assert (reply.status, reply.body, reply.headers["content-type"]) == (502, b"<html>", "text/html")
    assert (await client.call("POST", "/", body=b"x")).body == b""
    assert (await client.call("POST", "/")).headers["retry-after"] == "7"
    assert (await client.call("POST", "/")).headers["location"] == "https://169.254.169.254/"
    reply = await client.call("POST", "/")
    assert (reply.status, "content-length" in reply.headers) == (204, False)
    assert (await client.call("POST", "/", body=b"late")).body == b"late"


async def test_a_body_falls_into_chunks(echo: EchoSimulator, client: Http1Client) -> None:
    echo.faults.add({"fragment": 2}, times=1)

    reply = await client.call("POST", "/", body=b"abcde")

    assert (reply.body, reply.chunks) == (b"abcde", [2, 2, 1])
    assert (await client.call("POST", "/", body=b"abcde")).chunks == []


async def test_an_oversized_body(echo: EchoSimulator, client: Http1Client) -> None:
    echo.faults.add({"body_size": 3_000_000}, times=1)

    assert len((await client.call("POST", "/")).body) == 3_000_000


async def test_a_head_trickles(echo: EchoSimulator, client: Http1Client) -> None:
    echo.faults.add({"slow_headers": 0.05, "fragment": 3}, times=1)

    client.send("POST", "/", body=b"slowly")
    client.send("POST", "/", body=b"then")

    assert [(await client.answer()).body for _ in range(2)] == [b"slowly", b"then"]


@pytest.mark.parametrize(
    ("then", "end", "reason"),
    [
        ({"connection": "reset"}, "reset", "CONNECTION_RESET"),
        ({"connection": "close"}, "closed", "CONNECTION_CLOSED"),
        ({"reset_stream": "REFUSED_STREAM"}, "closed", "RST_STREAM"),
        ({"goaway": {"last_stream": "before"}}, "closed", "GOAWAY"),
    ],
)
async def test_a_connection_ends_without_an_answer(
    echo: EchoSimulator, client: Http1Client, then: dict[str, Any], end: str, reason: str
) -> None:
    echo.faults.add(then, times=1)
    client.send("POST", "/")

    assert await client.ended() == end
    (entry,) = echo.journal.entries
    assert (entry.status, entry.reason) == (None, reason)
    assert entry.accepted == (reason in ("CONNECTION_RESET", "CONNECTION_CLOSED"))


@pytest.mark.parametrize(
    "then",
    [
        {"goaway": {}},
        {"max_concurrent_streams": 1},
        {"max_concurrent_streams": 1, "restore_after": 0},
        {"initial_window": 1},
    ],
)
async def test_a_connection_ends_behind_the_answer(
    echo: EchoSimulator, client: Http1Client, then: dict[str, Any]
) -> None:
    echo.faults.add(then, times=1)

    reply = await client.call("POST", "/", body=b"x")

    assert (reply.status, reply.headers["connection"], reply.body) == (200, "close", b"x")
    assert await client.ended() == "closed"


async def test_a_graceful_end_comes_a_moment_later(echo: EchoSimulator, client: Http1Client) -> None:
    echo.faults.add({"goaway": {"last_stream": "all"}}, times=1)

    assert "connection" not in (await client.call("POST", "/")).headers
    assert (await client.call("POST", "/")).status == 200
    assert await client.ended() == "closed"


async def test_a_request_behind_a_lingering_goaway_is_not_taken(echo: EchoSimulator, client: Http1Client) -> None:
    echo.faults.add({"goaway": {"then": "linger"}}, times=1)

    assert (await client.call("POST", "/")).status == 200
    client.send("POST", "/")
    assert await client.ended() == "closed"
    assert [(entry.status, entry.reason) for entry in echo.journal.entries] == [(200, ""), (None, "GOAWAY")]


async def test_no_answer_holds_up_the_requests_behind_it(echo: EchoSimulator, client: Http1Client) -> None:
    echo.faults.add({"no_answer": True}, {"request": 1})
    client.send("POST", "/")
    await echo.journal.wait_for(1, reason="NO_ANSWER")
    client.send("POST", "/")

    async with await Http1Client.connect(echo.url, echo.ca_file) as other:
        assert (await other.call("POST", "/")).status == 200
    assert [entry.connection for entry in echo.journal.entries] == [1, 2]


async def test_every_connection_can_be_ended_from_outside(echo: EchoSimulator) -> None:
    for end, seen in (
        (lambda: echo.goaway(), "closed"),
        (lambda: echo.goaway(graceful=True), "closed"),
        (lambda: echo.disconnect(), "closed"),
        (lambda: echo.disconnect(reset=True), "reset"),
    ):
        async with await Http1Client.connect(echo.url, echo.ca_file) as client:
            await client.call("POST", "/")
            end()
            assert await client.ended() == seen


def test_uvloop_serves_as_well() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with EchoSimulator() as echo, await Http1Client.connect(echo.url, echo.ca_file) as client:
            assert (await client.call("POST", "/", body=b"x")).body == b"x"
            echo.faults.add({"connection": "reset"}, times=1)
            client.send("POST", "/")
            assert await client.ended() == "reset"

    uvloop.run(main())
