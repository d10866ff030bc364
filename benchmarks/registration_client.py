"""Registers devices from 64 callers at once: `python -m benchmarks.registration_client ADDRESS SECRET SECONDS`.

gRPC by hand over ngh2, since a gRPC library takes as much CPU for a call as the server it is to load. Each caller
registers a new device of a new person as soon as it has been answered, and fails unless `grpc-status` is 0.

Prints one JSON line: registrations acknowledged, seconds, latencies in milliseconds, this client's own CPU seconds.
"""

import asyncio
import json
import struct
import sys
import time
from typing import cast

import uvloop
from ngh2 import Configuration, Connection, ResponseReceived, Role, StreamClosed, TrailersReceived

from bellhop.v1.device_pb2 import ApnsTarget
from bellhop.v1.push_registry_pb2 import RegisterDeviceRequest
from benchmarks.percentiles import percentile
from benchmarks.seed import APP

CONNECTIONS = 4
CALLERS = 16
"""On each connection."""

_MAX_CONCURRENT_STREAMS = 3
_INITIAL_WINDOW_SIZE = 4


class Callers(asyncio.Protocol):
    """The callers of one connection. `ended` is set when all of them have their last answer."""

    def __init__(self, name: str, headers: list[tuple[bytes, bytes]], until: float) -> None:
        self.latencies: list[float] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._name = name
        self._headers = headers
        self._until = until
        self._engine = Connection(Role.CLIENT, Configuration(glitch_rate_limit=(10**9, 10**9)))
        self._began: dict[int, float] = {}
        self._acknowledged: set[int] = set()
        self._count = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._engine.initiate_connection({_MAX_CONCURRENT_STREAMS: 0, _INITIAL_WINDOW_SIZE: 1 << 20})
        self._engine.set_local_window_size(1 << 24)
        for _ in range(CALLERS):
            self._call()
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        try:
            self._engine.receive_data(data)
            for event in self._engine.events():
                if type(event) is TrailersReceived or (type(event) is ResponseReceived and event.end_stream):
                    self._judge(event.stream_id, dict(event.headers))
                elif type(event) is StreamClosed:
                    self._closed(event.stream_id)
        except Exception as error:
            if not self.ended.done():
                self.ended.set_exception(error)
            self._transport.abort()
            return
        self._flush()

    def _judge(self, stream: int, trailers: dict[bytes, bytes]) -> None:
        if trailers.get(b"grpc-status") != b"0":
            raise RuntimeError(f"refused: {trailers}")
        self.latencies.append(time.perf_counter() - self._began[stream])
        self._acknowledged.add(stream)

    def _closed(self, stream: int) -> None:
        del self._began[stream]
        if stream not in self._acknowledged:
            raise RuntimeError("a call ended without a status")
        self._acknowledged.remove(stream)
        if time.perf_counter() < self._until:
            self._call()
        elif not self._began:
            self.ended.set_result(None)

    def _call(self) -> None:
        self._count += 1
        name = f"{self._name}-{self._count}"
        token = f"{self._name}{self._count:08x}".rjust(64, "0")
        request = RegisterDeviceRequest(
            device_id=f"device-{name}",
            user_id=f"person-{name}",
            apns=ApnsTarget(token=token),
            locale="de-AT",
            time_zone="Europe/Vienna",
            app_version="1.0",
        ).SerializeToString()
        stream = self._engine.send_request(self._headers)
        self._engine.send_data(stream, struct.pack("!BI", 0, len(request)) + request, end_stream=True)
        self._began[stream] = time.perf_counter()

    def _flush(self) -> None:
        while data := self._engine.data_to_send(65536):
            self._transport.write(data)


async def main(address: str, client_secret: str, seconds: float) -> None:
    """New devices, each of a person of its own, for so many seconds."""
    host, _, port = address.rpartition(":")
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", address.encode()),
        (b":path", b"/bellhop.v1.PushRegistry/RegisterDevice"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"app-id", APP.encode()),
        (b"client-secret", client_secret.encode()),
    ]
    loop = asyncio.get_running_loop()
    start, cpu = time.perf_counter(), time.process_time()
    everyone = []
    for number in range(CONNECTIONS):
        callers = Callers(f"{number:x}", headers, start + seconds)
        await loop.create_connection(lambda callers=callers: callers, host, int(port))
        everyone.append(callers)
    await asyncio.gather(*(callers.ended for callers in everyone))
    spent, cpu = time.perf_counter() - start, time.process_time() - cpu
    latencies = sorted(1000 * latency for callers in everyone for latency in callers.latencies)
    print(
        json.dumps(
            {
                "count": len(latencies),
                "seconds": spent,
                "p50": percentile(latencies, 50),
                "p99": percentile(latencies, 99),
                "cpu": cpu,
            }
        )
    )


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
