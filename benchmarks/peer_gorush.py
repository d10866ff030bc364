"""gorush against the sink: `python -m benchmarks.peer_gorush PROGRAM PORT CA KEY COUNT` prints one JSON line.

gorush knows only Apple's hosts, but takes a proxy: ours leads to the sink whatever host is asked for, and the sink's
certificate is for Apple's host as well. It is called as a back end calls it, by HTTP, and answers once all is sent
(`sync`). What is told is the CPU of its own process.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.processes import Meter

AT_ONCE = 1000
PATIENCE = 20.0


async def main(program: str, port: int, ca: str, key: str, count: int) -> None:
    """Sends `count` notifications and prints what they took."""
    proxy = await asyncio.start_server(partial(_tunnel, port), "127.0.0.1", 0)
    through = proxy.sockets[0].getsockname()[1]
    print(json.dumps(await asyncio.to_thread(_measure, program, through, ca, key, count)), flush=True)


async def _tunnel(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One CONNECT, RFC 9110 section 9.3.6."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    there, back = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 18):
            writer.write(data)
            await writer.drain()
    writer.close()


def _measure(program: str, proxy: int, ca: str, key: str, count: int) -> dict[str, float]:
    notification = {
        "platform": 1,
        "production": True,
        "tokens": [f"{number:064x}" for number in range(count)],
        "topic": "com.example.shop",
        "push_type": "alert",
        "priority": "high",
        "expiration": int(time.time()) + 86400,
        "title": "Hello",
        "message": "Your order is on its way.",
    }
    with _gorush(program, proxy, ca, key) as (port, meter):
        start, cpu = time.perf_counter(), meter.cpu()
        answer = _call(port, "POST", "/api/push", {"notifications": [notification]})
        told = {"seconds": time.perf_counter() - start, "cpu": meter.cpu() - cpu}
        sent = _call(port, "GET", "/api/stat/app")["ios"]["push_success"]
    if answer["logs"] or sent != count:
        raise RuntimeError(f"{sent} sent of {count}: {answer['logs'][:3]}")
    return told


@contextmanager
def _gorush(program: str, proxy: int, ca: str, key: str) -> Iterator[tuple[int, Meter]]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    settings = {
        "core": {
            "address": "127.0.0.1",
            "port": str(port),
            "sync": True,
            "mode": "release",
            "http_proxy": f"http://127.0.0.1:{proxy}",
        },
        "ios": {
            "enabled": True,
            "production": True,
            "key_path": key,
            "key_type": "p8",
            "key_id": "KEY1234567",
            "team_id": "TEAM123456",
            "max_concurrent_pushes": AT_ONCE,
        },
        "android": {"enabled": False},
        "log": {"access_level": "error", "error_level": "error"},
    }
    with tempfile.TemporaryDirectory(prefix="bellhop-bench-") as folder:
        file = Path(folder) / "gorush.yml"
        file.write_text(json.dumps(settings))  # JSON is YAML.
        process = subprocess.Popen(
            [program, "-c", str(file)], env={**os.environ, "SSL_CERT_FILE": ca}, stdout=subprocess.DEVNULL
        )
        try:
            _wait(port)
            yield port, Meter(process.pid)
        finally:
            process.terminate()
            process.wait(30)


def _wait(port: int) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            _ask(port, "GET", "/healthz")
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def _call(port: int, method: str, path: str, body: Any = None) -> Any:
    return json.loads(_ask(port, method, path, body))


def _ask(port: int, method: str, path: str, body: Any = None) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"content-type": "application/json"})
        return connection.getresponse().read()
    finally:
        connection.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:5], int(sys.argv[5])))
