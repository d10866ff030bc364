"""A push provider that accepts everything: TLS, HTTP/2 by ngh2 and HTTP/1.1, one process of its own.

`python -m benchmarks.sink CERT KEY` prints its port and answers until its standard input is closed. Every request gets
200 and its own apns-id, so that a client that matches answers to requests finds what it looks for; FCM's paths get the
name of a message or an access token, those that begin with /push a 201 with its Location. Of a request whose
collapse id begins with `watched` it prints that id and when it came: nanoseconds of the machine's monotonic clock.
"""

import asyncio
import re
import ssl
import sys
import time
from typing import Any, cast

import uvloop
from ngh2 import Configuration, Connection, DataReceived, NGH2Error, RequestReceived, Role

_OTHERS = (b"/v1/", b"/token", b"/push")
_LENGTH = re.compile(rb"(?i)content-length: *([0-9]+)")
_SETTINGS = {3: 1000, 4: 1 << 20}
_CONFIGURATION = Configuration(
    stream_reset_rate_limit=(10**9, 10**9), glitch_rate_limit=(10**9, 10**9), max_inbound_header_list_size=16384
)


class Sink(asyncio.Protocol):
    """One client's connection."""

    def __init__(self) -> None:
        self._engine = Connection(Role.SERVER, _CONFIGURATION)
        self._heads: dict[int, list[tuple[bytes, bytes]]] = {}
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._engine.initiate_connection(_SETTINGS)
        self._engine.set_local_window_size(1 << 24)
        self._flush()

    def data_received(self, data: bytes) -> None:
        engine = self._engine
        try:
            engine.receive_data(data)
            for event in engine.events():
                if type(event) is RequestReceived:
                    self._heads[event.stream_id] = event.headers
                    if event.end_stream:
                        self._answer(event.stream_id)
                elif type(event) is DataReceived and event.end_stream:
                    self._answer(event.stream_id)
        except NGH2Error:
            self._transport.abort()
            return
        self._flush()

    def _answer(self, stream: int) -> None:
        head = self._heads.pop(stream)
        path = next(value for name, value in head if name == b":path")
        status, fields, body = _answer(path)
        if not path.startswith(_OTHERS):
            fields = [(b"apns-id", _identity(head))]
        self._engine.send_response(stream, [(b":status", status), *fields], end_stream=not body)
        if body:
            self._engine.send_data(stream, body, end_stream=True)

    def _flush(self) -> None:
        while data := self._engine.data_to_send(65536):
            self._transport.write(data)


class Http1Sink(asyncio.Protocol):
    """One client's connection that knows no HTTP/2."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, rest = self._received.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            size = int(length[1]) if length else 0
            if len(rest) < size:
                return
            self._received = rest[size:]
            status, fields, body = _answer(head.split(b" ", 2)[1])
            lines = [b"HTTP/1.1 %s OK" % status, *(b"%s: %s" % field for field in fields)]
            self._transport.write(b"\r\n".join((*lines, b"content-length: %d" % len(body), b"", body)))


class Listener(asyncio.Protocol):
    """A new connection, which is of the kind that TLS has agreed on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        chosen = cast(Any, transport).get_extra_info("ssl_object").selected_alpn_protocol()
        protocol = Sink() if chosen == "h2" else Http1Sink()
        cast(asyncio.Transport, transport).set_protocol(protocol)
        protocol.connection_made(transport)


def _answer(path: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    if path.startswith(b"/v1/"):
        return b"200", [(b"content-type", b"application/json")], b'{"name":"projects/p/messages/1"}'
    if path == b"/token":
        token = b'{"access_token":"t","expires_in":3599,"token_type":"Bearer"}'
        return b"200", [(b"content-type", b"application/json")], token
    if path.startswith(b"/push"):
        return b"201", [(b"location", b"https://localhost/message/1"), (b"ttl", b"3600")], b""
    return b"200", [], b""


def _identity(headers: list[tuple[bytes, bytes]]) -> bytes:
    found = b""
    for name, value in headers:
        if name == b"apns-id":
            found = value
        elif name == b"apns-collapse-id" and value.startswith(b"watched"):
            print(value.decode(), time.monotonic_ns(), flush=True)
    return found


async def main(certificate: str, key: str) -> None:
    """Serves until standard input ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Listener, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
