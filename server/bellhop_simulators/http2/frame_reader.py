"""What came over a connection, cut into frames (RFC 9113 sections 4 to 6).

Header lists come out whole, padding is taken off, sizes are checked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bellhop_simulators.http.request import Header
from bellhop_simulators.http2 import frames
from bellhop_simulators.http2.errors import ConnectionFailure, ErrorCode
from bellhop_simulators.http2.header_blocks import HeaderDecoder

_MAX_BLOCK = 32_768
_FIXED_SIZES = {frames.RST_STREAM: 4, frames.PING: 8, frames.WINDOW_UPDATE: 4, frames.PRIORITY: 5}
_ON_STREAM = frozenset({frames.DATA, frames.HEADERS, frames.PRIORITY, frames.RST_STREAM, frames.CONTINUATION})
_ON_CONNECTION = frozenset({frames.SETTINGS, frames.PING, frames.GOAWAY})


@dataclass(slots=True)
class Frame:
    """One frame; `headers` of HEADERS with all its CONTINUATION, else `payload`. `size` counts for flow control."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes
    size: int
    headers: list[Header] | None = None


class FrameReader:
    """Turns octets into frames, for one connection of a server."""

    def __init__(self) -> None:
        self._decoder = HeaderDecoder()
        self._buffer = b""
        self._greeted = False
        self._block: Frame | None = None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes.

        Raises:
            ConnectionFailure: after the frames before the fault.
        """
        data = self._buffer + data if self._buffer else data
        self._buffer = b""
        position, end = 0, len(data)
        if not self._greeted:
            if not frames.PREFACE.startswith(data[: len(frames.PREFACE)]):
                raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 preface")
            if end < len(frames.PREFACE):
                self._buffer = data
                return
            self._greeted = True
            position = len(frames.PREFACE)
        while end - position >= frames.HEADER_SIZE:
            size = int.from_bytes(data[position : position + 3], "big")
            if size > frames.MAX_FRAME_SIZE:
                raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "frame larger than announced")
            start = position + frames.HEADER_SIZE
            if end - start < size:
                break
            stream_id = int.from_bytes(data[position + 5 : start], "big") & frames.MAX_STREAM_ID
            frame = Frame(data[position + 3], data[position + 4], stream_id, data[start : start + size], size)
            position = start + size
            whole = self._whole(frame)
            if whole is not None:
                yield whole
        self._buffer = data[position:]

    def _whole(self, frame: Frame) -> Frame | None:
        kind = frame.kind
        if self._block is not None:
            return self._continue(self._block, frame)
        if kind in (frames.PUSH_PROMISE, frames.CONTINUATION):
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "frame that a client must not send here")
        if (kind in _ON_STREAM and frame.stream_id == 0) or (kind in _ON_CONNECTION and frame.stream_id != 0):
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "frame on the wrong stream")
        if frame.size != _FIXED_SIZES.get(kind, frame.size) or (kind == frames.GOAWAY and frame.size < 8):
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "frame of the wrong size")
        if kind in (frames.DATA, frames.HEADERS):
            _strip(frame)
        if kind == frames.HEADERS:
            if not frame.flags & frames.END_HEADERS:
                self._block = frame
                return None
            frame.headers = self._decoder.decode(frame.payload)
        return frame

    def _continue(self, block: Frame, frame: Frame) -> Frame | None:
        if frame.kind != frames.CONTINUATION or frame.stream_id != block.stream_id:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "header block interrupted")
        block.payload += frame.payload
        if len(block.payload) > _MAX_BLOCK:
            raise ConnectionFailure(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if not frame.flags & frames.END_HEADERS:
            return None
        self._block = None
        block.headers = self._decoder.decode(block.payload)
        return block


def _strip(frame: Frame) -> None:
    """Take padding and priority off the payload."""
    start, end = 0, len(frame.payload)
    if frame.flags & frames.PADDED:
        if not end:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "padding without its length")
        start, end = 1, end - frame.payload[0]
    if frame.kind == frames.HEADERS and frame.flags & frames.PRIORITISED:
        start += 5
    if start > end:
        raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "padding longer than the frame")
    if start or end != len(frame.payload):
        frame.payload = frame.payload[start:end]
