"""A client of the simulated APNs, written on frames with `hyperframe` and `hpack`, apart from the code under test."""

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TOKEN = "ab" * 32
TIMEOUT = 10.0


@dataclass
class Reply:
    """What came back on one stream."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    data_frames: int = 0
    ended: bool = False
    reset: int | None = None

    @property
    def error(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded

    @property
    def reason(self) -> str:
        return str(self.error["reason"]) if self.body else ""


class WireClient:
    """One connection to `apns`, a simulator or what stands for one. Frames are read only while something is awaited."""

    def __init__(self, apns: Any, url: str) -> None:
        self.apns = apns
        self.url = url
        self.frames: list[Frame] = []
        self.limit: int | None = None
        self.replies: dict[int, Reply] = {}
        self.goaways: list[GoAwayFrame] = []
        self.eof: str = ""
        self.auto_acknowledge = True
        self.next_stream = 1
        self.encoder, self.decoder = Encoder(), Decoder()
        self._buffer = b""

    @classmethod
    async def connect(cls, apns: Any, *, sandbox: bool = False, greet: bool = True) -> Self:
        client = cls(apns, apns.sandbox_url if sandbox else apns.url)
        host, port = client.url.removeprefix("https://").rsplit(":", 1)
        host = host.strip("[]")
        context = ssl.create_default_context(cafile=str(apns.ca_file))
        context.set_alpn_protocols(["h2"])
        client.reader, client.writer = await asyncio.open_connection(host, int(port), ssl=context)
        if greet:
            client.write(PREFACE + SettingsFrame(0, settings={2: 0}).serialize())
            await client.until(lambda: client.limit is not None)
        return client

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def head(self, **changes: str | None) -> list[tuple[str, str]]:
        """The header list of a good push; `changes` by name with `_` for `-`, None leaves one out."""
        headers = {
            ":method": "POST",
            ":scheme": "https",
            ":authority": "localhost",
            ":path": f"/3/device/{changes.pop('token', TOKEN)}",
            "authorization": f"bearer {changes.pop('jwt', None) or self.provider_token}",
            "apns-topic": "com.example.app",
            "apns-push-type": "alert",
        }
        for name, value in changes.items():
            key = f":{name}" if name in ("method", "path", "scheme", "authority") else name.replace("_", "-")
            if value is None:
                headers.pop(key, None)
            else:
                headers[key] = value
        return list(headers.items())

    @property
    def provider_token(self) -> str:
        """The same token all along, as a client should have it."""
        if not hasattr(self, "_provider_token"):
            self._provider_token = self.apns.key.provider_token()
        return self._provider_token

    def send(
        self, body: bytes = b'{"aps":{"alert":"hi"}}', *, extra: list[tuple[str, str]] | None = None, **head: str | None
    ) -> int:
        return self.send_raw(self.head(**head) + (extra or []), body)

    def send_raw(self, headers: list[tuple[str, str]], body: bytes) -> int:
        stream_id = self.open()
        frame = HeadersFrame(stream_id, self.encoder.encode(headers), flags=["END_HEADERS"])
        if not body:
            frame.flags.add("END_STREAM")
        out = frame.serialize()
        for start in range(0, len(body), 16_384):
            data = DataFrame(stream_id, body[start : start + 16_384])
            if start + 16_384 >= len(body):
                data.flags.add("END_STREAM")
            out += data.serialize()
        self.write(out)
        return stream_id

    def open(self) -> int:
        """The id of the next stream."""
        stream_id = self.next_stream
        self.next_stream += 2
        self.replies[stream_id] = Reply()
        return stream_id

    async def answer(self, stream_id: int) -> Reply:
        reply = self.replies[stream_id]
        await self.until(lambda: reply.ended or reply.reset is not None)
        return reply

    async def push(self, body: bytes = b'{"aps":{"alert":"hi"}}', **head: Any) -> Reply:
        return await self.answer(self.send(body, **head))

    async def until(self, done: Callable[[], object]) -> None:
        """Read frames until `done`; EOFError when the connection ends before."""
        async with asyncio.timeout(TIMEOUT):
            while not done():
                if self.eof:
                    raise EOFError(self.eof)
                await self._read()

    async def round_trip(self) -> None:
        """Until everything sent so far was seen by the server."""
        frame = PingFrame(0, b"a" * 8)
        before = self._pongs()
        self.write(frame.serialize())
        await self.until(lambda: self._pongs() > before)

    async def ended(self) -> str:
        """Read to the end of the connection: `closed` in order or `reset`."""
        async with asyncio.timeout(TIMEOUT):
            while not self.eof:
                await self._read()
        return self.eof

    def acknowledge(self) -> None:
        self.write(SettingsFrame(0, flags=["ACK"]).serialize())

    def _pongs(self) -> int:
        return sum(isinstance(frame, PingFrame) for frame in self.frames)

    async def _read(self) -> None:
        try:
            data = await self.reader.read(65_536)
        except ConnectionResetError:
            self.eof = "reset"
            return
        if not data:
            self.eof = "closed"
        self._buffer += data
        while len(self._buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
            if len(self._buffer) < 9 + length:
                break
            frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
            self.frames.append(frame)
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.limit = frame.settings.get(3, self.limit)
            if self.auto_acknowledge:
                self.acknowledge()
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append(frame)
        elif isinstance(frame, WindowUpdateFrame | PingFrame | SettingsFrame):
            pass
        else:
            reply = self.replies.setdefault(frame.stream_id, Reply())
            if isinstance(frame, HeadersFrame):
                reply.headers = {str(name): str(value) for name, value in self.decoder.decode(frame.data)}
                reply.status = int(reply.headers.pop(":status"))
            elif isinstance(frame, DataFrame):
                reply.body += frame.data
                reply.data_frames += 1
            elif isinstance(frame, RstStreamFrame):
                reply.reset = frame.error_code
            reply.ended = reply.ended or "END_STREAM" in frame.flags
