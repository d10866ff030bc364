"""The server's side of one HTTP/1.1 connection (RFC 9112), one request after the other."""

import asyncio
from http import HTTPStatus
from typing import cast

import h11

from bellhop_simulators.http.connection import WHOLE, HttpVersion
from bellhop_simulators.http.handler import Handler
from bellhop_simulators.http.outlet import Outlet
from bellhop_simulators.http.request import MAX_BODY, Header, Request

_MAX_HEAD = 32_768
_VERSIONS = (b"1.0", b"1.1")
_NEVER_BELOW = 2**31
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
_WITHOUT_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Http1Connection(asyncio.Protocol):
    """One connection. Every method may be called at any time; those about a request that is gone do nothing.

    What is no HTTP/1.1 closes it. A pipelined request is read when the one before it was answered.
    """

    version: HttpVersion = "HTTP/1.1"

    def __init__(self, handler: Handler, limit: int) -> None:
        """`limit` is what HTTP/2 would announce at the start; another one ends the connection."""
        self.highest = 0
        self._handler = handler
        self._limit = limit
        self._peer = h11.Connection(h11.SERVER, _MAX_HEAD)
        self._request: Request | None = None
        self._pieces: list[bytes] = []
        self._last_allowed = _NEVER_BELOW
        self._closing_when_idle = False
        self._reading = False
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
        """Answer; the head in pieces over `trickle` seconds.

        A body longer than `chunk` goes in chunks (RFC 9112 section 7.1), a write each, if `chunk` is less than usual,
        any other at once with its Content-Length. Framing is not for `headers` to tell.
        """
        request = self._request
        if request is None or request.stream_id != stream_id or not request.complete or not self._outlet.alive:
            return
        if request.header(":method") == "HEAD" or status in _WITHOUT_BODY:
            body = b""
        lines = [(name.encode(), value.encode()) for name, value in headers if name not in _FRAMING]
        in_chunks = chunk < min(WHOLE, len(body))
        if not in_chunks and status != HTTPStatus.NO_CONTENT:
            lines.append((b"content-length", str(len(body)).encode()))
        if self._closing_when_idle:
            lines.append((b"connection", b"close"))
        head = self._send(h11.Response(status_code=status, headers=lines, reason=_PHRASES.get(status, b"")))
        if trickle > 0:
            self._outlet.trickle(head, trickle)
        else:
            self._outlet.put(head)
        size = chunk if in_chunks else max(1, len(body))
        for start in range(0, len(body), size):
            self._outlet.put(self._send(h11.Data(data=body[start : start + size])))
            self._outlet.flush()
        self._outlet.put(self._send(h11.EndOfMessage()))
        self._request = None
        if self._peer.our_state is h11.DONE and self._peer.their_state is h11.DONE:
            self._peer.start_next_cycle()
        else:
            self._closing_when_idle = True
        self._read()

    def reset_stream(self, stream_id: int, code: int) -> None:
        """Close without an answer."""
        if self._request is not None and self._request.stream_id == stream_id:
            self.close()

    def set_limit(self, limit: int) -> None:
        """Close behind the next answer if `limit` is not what it was."""
        if limit != self._limit:
            self._limit = limit
            self.close_when_idle()

    def set_initial_window(self, size: int) -> None:
        """Close behind the next answer."""
        self.close_when_idle()

    def goaway(self, last_stream_id: int, code: int = 0, debug: bytes = b"") -> None:
        """Take no request above `last_stream_id`: the connection is closed instead, at once if one is there."""
        self._last_allowed = min(self._last_allowed, last_stream_id)
        if self._request is not None and self._request.stream_id > self._last_allowed:
            self.close()

    def close_when_idle(self) -> None:
        """Close as soon as no request waits for its answer, which says so."""
        self._closing_when_idle = True
        self._settle()

    def close(self) -> None:
        """Send what is queued, then end TLS and TCP in order."""
        self._outlet.close()

    def reset(self) -> None:
        """Cut the connection with a TCP reset; what is queued is lost."""
        self._outlet.reset()

    def abort(self) -> None:
        """Drop the connection; what is queued is lost."""
        self._outlet.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's TLS transport does not derive from it.
        self._outlet.attach(self._transport)
        self._handler.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take requests."""
        if self._outlet.alive:
            self._peer.receive_data(data)
            self._read()

    def pause_writing(self) -> None:
        """Take no more requests while the client does not read its answers."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything."""
        self._outlet.alive = False
        self._request = None
        self._handler.closed(self)

    def _read(self) -> None:
        if self._reading:
            return
        self._reading = True
        try:
            while self._outlet.alive and self._take(self._peer.next_event()):
                pass
        except h11.RemoteProtocolError:
            self._handler.turned_away(self, self._request or Request(self.highest + 1, []), "MALFORMED")
            self.close()
        finally:
            self._reading = False
            self._settle()

    def _take(self, event: h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]) -> bool:
        """Take one event; returns whether there may be more."""
        if isinstance(event, h11.Request):
            self._begin(event)
        elif isinstance(event, h11.Data):
            self._gather(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            self._end()
        else:
            if event is h11.NEED_DATA and self._peer.they_are_waiting_for_100_continue:
                self._outlet.put(self._send(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[])))
            return False
        return True

    def _begin(self, head: h11.Request) -> None:
        headers = [(_text(name), _text(value)) for name, value in head.headers]
        host = next((value for name, value in headers if name == "host"), "")
        pseudo = [(":method", _text(head.method)), (":scheme", "https"), (":authority", host)]
        self.highest += 1
        request = Request(self.highest, [*pseudo, (":path", _text(head.target)), *headers])
        if head.http_version not in _VERSIONS or self.highest > self._last_allowed:
            self._handler.turned_away(self, request, "GOAWAY" if head.http_version in _VERSIONS else "MALFORMED")
            self.close()
        else:
            self._request = request

    def _gather(self, data: bytes) -> None:
        assert self._request is not None
        if self._request.size < MAX_BODY:
            self._pieces.append(data)
        self._request.size += len(data)

    def _end(self) -> None:
        request = self._request
        assert request is not None
        request.body = b"".join(self._pieces)[:MAX_BODY]
        request.complete = True
        self._pieces.clear()
        self._handler.received(self, request)

    def _send(self, event: h11.Event) -> bytes:
        return self._peer.send(event) or b""

    def _settle(self) -> None:
        """At the end of a turn: write; close if that was asked for."""
        if self._reading:
            return
        self._outlet.flush()
        if self._closing_when_idle and self._request is None and not self._outlet.busy and self._outlet.alive:
            self._outlet.close()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
