"""A push provider that accepts everything: TLS, HTTP/2 by ngh2, one process of its own.

`python -m benchmarks.sink CERT KEY` prints its port and answers until its standard input is closed. Every request gets
200 and its own apns-id, so that a client that matches answers to requests finds what it looks for. Of a request whose
collapse id begins with `watched` it prints that id and when it came: nanoseconds of the machine's monotonic clock.
"""

import asyncio
import ssl
import sys
import time
from typing import cast

import uvloop
from ngh2 import Configuration, Connection, DataReceived, NGH2Error, RequestReceived, Role

_SETTINGS = {3: 1000, 4: 1 << 20}
_CONFIGURATION = Configuration(
    stream_reset_rate_limit=(10**9, 10**9), glitch_rate_limit=(10**9, 10**9), max_inbound_header_list_size=16384
)


class Sink(asyncio.Protocol):
    """One client's connection."""

    def __init__(self) -> None:
        self._engine = Connection(Role.SERVER, _CONFIGURATION)
        self._ids: dict[int, bytes] = {}
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
                    self._ids[event.stream_id] = _identity(event.headers)
                    if event.end_stream:
                        self._answer(event.stream_id)
                elif type(event) is DataReceived and event.end_stream:
                    self._answer(event.stream_id)
        except NGH2Error:
            self._transport.abort()
            return
        self._flush()

    def _answer(self, stream: int) -> None:
        headers = [(b":status", b"200"), (b"apns-id", self._ids.pop(stream))]
        self._engine.send_response(stream, headers, end_stream=True)

    def _flush(self) -> None:
        while data := self._engine.data_to_send(65536):
            self._transport.write(data)


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
    context.set_alpn_protocols(["h2"])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
