"""A client that speaks HTTP/1.1 to a simulator over TLS, written on the standard library alone."""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

TIMEOUT = 10.0


@dataclass
class Http1Reply:
    """One answer; `chunks` are the sizes of its chunks, empty if it came with its length."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: list[int] = field(default_factory=list)


class Http1Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, url: str, ca_file: Path, *, alpn: str | None = "http/1.1") -> Self:
        client = cls()
        host, port = url.removeprefix("https://").rsplit(":", 1)
        context = ssl.create_default_context(cafile=str(ca_file))
        if alpn is not None:
            context.set_alpn_protocols([alpn])
        client.reader, client.writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    def send(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        lines = {"host": "localhost", "content-length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
        self.writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)

    async def call(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Http1Reply:
        self.send(method, path, headers, body)
        return await self.answer()

    async def answer(self, *, bodyless: bool = False) -> Http1Reply:
        """Read one answer; EOFError or ConnectionResetError when the connection ends instead."""
        async with asyncio.timeout(TIMEOUT):
            version, status, *_ = (await self._line()).split(" ")
            assert version == "HTTP/1.1"
            reply = Http1Reply(int(status))
            while line := await self._line():
                name, _, value = line.partition(":")
                reply.headers[name.lower()] = value.strip()
            if reply.headers.get("transfer-encoding") == "chunked":
                while size := int(await self._line(), 16):
                    reply.chunks.append(size)
                    reply.body += await self.reader.readexactly(size)
                    assert await self._line() == ""
                assert await self._line() == ""
            elif not bodyless:
                reply.body = await self.reader.readexactly(int(reply.headers.get("content-length", 0)))
            return reply

    async def ended(self) -> str:
        """Read to the end of the connection: `closed` in order or `reset`."""
        async with asyncio.timeout(TIMEOUT):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionResetError:
                return "reset"
            return "closed"

    async def _line(self) -> str:
        line = await self.reader.readuntil(b"\r\n")
        return line.decode().removesuffix("\r\n")
