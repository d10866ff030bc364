"""The server's side of one HTTP/2 connection, written on frames.

A library would keep a client from seeing what a simulator is for: limits that change in flight, streams refused, GOAWAY
with any number in it, answers that never come. Beside what it is told to do wrong it keeps to RFC 9113, flow control
included.
"""

import asyncio
from typing import cast

from bellhop_simulators.http.connection import WHOLE, HttpVersion
from bellhop_simulators.http.handler import Enforcement, Handler
from bellhop_simulators.http.outlet import Outlet
from bellhop_simulators.http.request import Header, Request
from bellhop_simulators.http2 import frames
from bellhop_simulators.http2.errors import ConnectionFailure, ErrorCode
from bellhop_simulators.http2.frame_reader import Frame, FrameReader
from bellhop_simulators.http2.header_blocks import MAX_LIST_SIZE, TABLE_SIZE, HeaderEncoder
from bellhop_simulators.http2.malformation import malformation
from bellhop_simulators.http2.open_stream import OpenStream
from bellhop_simulators.http2.receive_window import FIRST_CREDIT, ReceiveWindow
from bellhop_simulators.http2.send_queue import SendQueue
from bellhop_simulators.http2.stream_limit import StreamLimit


class ServerConnection(asyncio.Protocol):
    """One connection. Every method may be called at any time; those about a stream that is gone do nothing."""

    def __init__(self, handler: Handler, limit: int, enforcement: Enforcement) -> None:
        """`limit` streams may be open at once to begin with."""
        self.version: HttpVersion = "HTTP/2"
        self.highest = 0
        self._handler = handler
        self._enforcement = enforcement
        self._limit = StreamLimit(limit)
        self._streams: dict[int, OpenStream] = {}
        self._last_allowed = frames.MAX_STREAM_ID
        self._closing_when_idle = False
        self._reader = FrameReader()
        self._sender = SendQueue()
        self._encoder = HeaderEncoder()
        self._window = ReceiveWindow()
        self._reading = False
        self._left_in_read = 0
        self._greeted = False
        self._transport: asyncio.Transport
        self._outlet = Outlet(handler.before_writing, self._settle)

    def respond(
        self,
        stream_id: int,
        status: int,
        headers: list[Header],
        body: bytes = b"",
        *,
        chunk: int = WHOLE,
        trickle: float = 0.0,
    ) -> None:
        """Answer; the body in DATA frames of at most `chunk` octets, the header block in pieces over `trickle` seconds.

        Nothing else can be sent while a header block trickles, because frames do not interleave.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.answered:
            return
        stream.answered = True
        block = self._encoder.encode(status, headers)
        frame = frames.header_frames(stream_id, block, end_stream=not body)
        if trickle > 0:
            self._outlet.trickle(frame, trickle)
        else:
            self._outlet.put(frame)
        if body:
            self._sender.put(stream_id, body, chunk)
            self._pump()
        else:
            self._finish(stream_id)
        self._settle()

    def reset_stream(self, stream_id: int, code: int) -> None:
        """RST_STREAM."""
        if stream_id in self._streams:
            self._outlet.put(frames.reset(stream_id, code))
            self._finish(stream_id)
            self._settle()

    def set_limit(self, limit: int) -> None:
        """Announce MAX_CONCURRENT_STREAMS."""
        if limit != self._limit.announced:
            self._limit.announce(limit)
            self._outlet.put(frames.settings({frames.MAX_CONCURRENT_STREAMS: limit}))
            self._settle()

    def set_initial_window(self, size: int) -> None:
        """Announce INITIAL_WINDOW_SIZE, for bodies of later requests. A client that sends more is not refused."""
        self._limit.unchanged()
        self._outlet.put(frames.settings({frames.INITIAL_WINDOW_SIZE: size}))
        self._settle()

    def goaway(self, last_stream_id: int, code: int = 0, debug: bytes = b"") -> None:
        """GOAWAY; streams above `last_stream_id` are neither taken nor answered from now on."""
        self._last_allowed = min(self._last_allowed, last_stream_id)
        self._outlet.put(frames.goaway(last_stream_id, code, debug))
        for stream_id in [stream_id for stream_id in self._streams if stream_id > last_stream_id]:
            self._finish(stream_id)
        self._settle()

    def close_when_idle(self) -> None:
        """Close as soon as no stream is open."""
        self._closing_when_idle = True
        self._settle()

    def close(self) -> None:
        """Send what is queued, then end TLS and TCP in order, without GOAWAY."""
        self._outlet.close()

    def reset(self) -> None:
        """Cut the connection with a TCP reset; what is queued is lost."""
        self._outlet.reset()

    def abort(self) -> None:
        """Drop the connection; what is queued is lost."""
        self._outlet.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, unless the client did not ask for `h2`."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's TLS transport does not derive from it.
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            self._transport.abort()
            return
        self._outlet.attach(self._transport)
        self._greeted = True
        announced = {
            frames.HEADER_TABLE_SIZE: TABLE_SIZE,
            frames.MAX_CONCURRENT_STREAMS: self._limit.announced,
            frames.INITIAL_WINDOW_SIZE: frames.DEFAULT_WINDOW,
            frames.MAX_FRAME_SIZE_SETTING: frames.MAX_FRAME_SIZE,
            frames.MAX_HEADER_LIST_SIZE: MAX_LIST_SIZE,
        }
        self._outlet.put(frames.settings(announced))
        self._outlet.put(frames.window_update(0, FIRST_CREDIT))
        self._handler.opened(self)
        self._settle()

    def data_received(self, data: bytes) -> None:
        """Take frames; a connection error is answered with GOAWAY and the end."""
        if not self._outlet.alive:
            return
        self._reading = True
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
                if not self._outlet.alive:
                    break
        except ConnectionFailure as failure:
            self.goaway(self.highest, failure.code, str(failure).encode())
            self.close()
        finally:
            self._reading = False
            self._left_in_read = 0
            self._settle()

    def pause_writing(self) -> None:
        """Take no more requests while the client does not read its answers."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything."""
        self._outlet.alive = False
        self._streams.clear()
        if self._greeted:
            self._handler.closed(self)

    def _take(self, frame: Frame) -> None:
        kind = frame.kind
        if kind == frames.HEADERS:
            self._take_headers(frame)
        elif kind == frames.DATA:
            self._take_data(frame)
        elif kind == frames.SETTINGS:
            self._take_settings(frame)
        elif kind == frames.WINDOW_UPDATE:
            self._take_window_update(frame)
        elif kind == frames.PING and not frame.flags & frames.ACK:
            self._outlet.put(frames.frame(frames.PING, frames.ACK, 0, frame.payload))
        elif kind == frames.RST_STREAM:
            if frame.stream_id > self.highest:
                raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "reset of a stream that never was")
            self._drop(frame.stream_id)
        elif kind == frames.GOAWAY:
            self.close_when_idle()

    def _take_headers(self, frame: Frame) -> None:
        stream_id, headers = frame.stream_id, frame.headers
        assert headers is not None
        end_stream = bool(frame.flags & frames.END_STREAM)
        stream = self._streams.get(stream_id)
        if stream is not None:
            if not end_stream or stream.request.complete:
                raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "headers in the middle of a request")
            self._end(stream)
            return
        if stream_id <= self.highest:
            return  # Trailers of a stream that we closed first.
        if stream_id % 2 == 0:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "even stream")
        self.highest = stream_id
        request = Request(stream_id, headers)
        if stream_id > self._last_allowed:
            self._handler.turned_away(self, request, "GOAWAY")
        elif len(self._streams) + self._left_in_read >= self._limit.enforced:
            self._handler.turned_away(self, request, "REFUSED_STREAM")
            if self._enforcement == "refuse":
                self._outlet.put(frames.reset(stream_id, ErrorCode.REFUSED_STREAM))
            else:
                self.goaway(stream_id - 2, ErrorCode.REFUSED_STREAM, b"Maximum active streams violated")
                self.close_when_idle()
        elif malformation(headers):
            self._handler.turned_away(self, request, "MALFORMED")
            self._outlet.put(frames.reset(stream_id, ErrorCode.PROTOCOL_ERROR))
        else:
            stream = self._streams[stream_id] = OpenStream(request)
            if end_stream:
                self._end(stream)

    def _take_data(self, frame: Frame) -> None:
        if frame.stream_id > self.highest:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "data on a stream that never was")
        credit = self._window.take(frame.size)
        if credit:
            self._outlet.put(frames.window_update(0, credit))
        stream = self._streams.get(frame.stream_id)
        if stream is not None:
            credit = stream.take(frame)
            if credit:
                self._outlet.put(frames.window_update(frame.stream_id, credit))
            if frame.flags & frames.END_STREAM:
                self._end(stream)

    def _take_settings(self, frame: Frame) -> None:
        if frame.flags & frames.ACK:
            self._limit.acknowledged()
            return
        if frame.size % 6:
            raise ConnectionFailure(ErrorCode.FRAME_SIZE_ERROR, "settings of the wrong size")
        for key, value in frames.settings_in(frame.payload):
            if key == frames.INITIAL_WINDOW_SIZE:
                self._sender.set_initial(value)
            elif key == frames.HEADER_TABLE_SIZE:
                self._encoder.resize(value)
        self._outlet.put(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._pump()

    def _take_window_update(self, frame: Frame) -> None:
        increment = int.from_bytes(frame.payload, "big") & frames.MAX_STREAM_ID
        if increment == 0 or frame.stream_id > self.highest:
            raise ConnectionFailure(ErrorCode.PROTOCOL_ERROR, "window update of nothing")
        if frame.stream_id == 0 or frame.stream_id in self._streams:
            self._sender.widen(frame.stream_id, increment)
            self._pump()

    def _end(self, stream: OpenStream) -> None:
        stream.end()
        request = stream.request
        length = request.header("content-length")
        if length is not None and length != str(request.size):
            self._handler.turned_away(self, request, "MALFORMED")
            self.reset_stream(request.stream_id, ErrorCode.PROTOCOL_ERROR)
        else:
            self._handler.received(self, request)

    def _pump(self) -> None:
        out, ended = self._sender.take()
        for data in out:
            self._outlet.put(data)
        for stream_id in ended:
            self._finish(stream_id)

    def _finish(self, stream_id: int) -> None:
        if self._drop(stream_id) and self._reading:
            # The client cannot have seen that when it sent the rest of what is being read.
            self._left_in_read += 1

    def _drop(self, stream_id: int) -> bool:
        if self._streams.pop(stream_id, None) is None:
            return False
        self._sender.drop(stream_id)
        return True

    def _settle(self) -> None:
        """At the end of a turn: write; close if that was asked for."""
        if self._reading:
            return
        self._outlet.flush()
        if self._closing_when_idle and not self._streams and not self._outlet.busy and self._outlet.alive:
            self._outlet.close()
