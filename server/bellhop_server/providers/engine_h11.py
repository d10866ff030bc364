"""The engine of HTTP/1.1, over h11: for peers that do not choose HTTP/2.

One request at a time: one that was written behind another would be in doubt whenever that one's answer ended the
connection (RFC 9112 section 9.3.2). Nothing confirms a request before its answer, because there is no PING.
"""

from collections.abc import Collection

import h11

from bellhop_server.providers.engine import LARGEST_HEADER_LIST, Event, Headers, InvalidRequest, Refused
from bellhop_server.providers.fields import check
from bellhop_server.providers.reasons import Reason
from bellhop_server.providers.streams import Streams

# Interim answers (1xx) before the final one; nobody needs more than two.
_MOST_INTERIM = 100


class H11Engine:
    """An `Engine` (see there). Its streams are the requests of the connection, numbered from 1."""

    weight = 5
    multiplexed = False

    def __init__(self, most_streams: int = 1) -> None:
        self._streams = Streams(most_streams)
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEADER_LIST)
        self._output = bytearray()
        self._stream = 0
        self._interim = 0

    def start(self) -> None:
        self._streams.set_limit(1)

    def capacity(self, size: int) -> int:
        return max(self._streams.free(), 0)

    def submit(self, headers: Headers, body: bytes) -> int:
        check(headers)
        request = _request(headers, body)
        if self.capacity(len(body)) == 0:
            raise Refused
        connection = self._connection
        for event in request, h11.Data(data=body), h11.EndOfMessage():
            self._output += connection.send(event) or b""
        self._stream += 1
        self._interim = 0
        self._streams.opened(self._stream)
        return self._stream

    def feed(self, data: bytes) -> list[Event]:
        if self._awaited() or not self._streams.draining:
            try:
                self._connection.receive_data(data)
                self._collect()
            except h11.RemoteProtocolError as error:
                self._end(Reason.PROTOCOL_ERROR, str(error))
        return self.events()

    def take(self, most: int = 16384) -> bytes:
        data = bytes(self._output[:most])
        del self._output[:most]
        if data:
            self._streams.leave()
        else:
            self._streams.leaving.clear()
        return data

    def events(self) -> list[Event]:
        return self._streams.take_events()

    def cancel(self, stream: int) -> bool:
        # The answer may still come, and nothing may be asked in front of it.
        self._streams.draining = True
        self._output.clear()
        return self._streams.cancelled(stream)

    def unsent(self) -> Collection[int]:
        return self._streams.unsent()

    def ping(self, data: bytes) -> None:
        """Does nothing: HTTP/1.1 has no PING, so no `Pong` comes."""

    def close(self) -> None:
        self._end(Reason.CONNECTION_RETIRED)

    def eof(self, reason: Reason) -> list[Event]:
        # Where the peer has ended the connection, that may be the end of the answer (RFC 9112 section 6.3).
        if reason is Reason.CONNECTION_LOST and self._awaited():
            try:
                self._connection.receive_data(b"")
                self._collect()
            except h11.RemoteProtocolError as error:
                self._end(reason, str(error))
        self._end(reason)
        return self.events()

    def _collect(self) -> None:
        """Takes the answer apart as far as it is there."""
        streams, connection, stream = self._streams, self._connection, self._stream
        while not streams.closed:
            if not self._awaited():
                self._between()
                return
            event = connection.next_event()
            if isinstance(event, h11.InformationalResponse):
                self._interim += 1
                if self._interim > _MOST_INTERIM:
                    self._end(Reason.PROTOCOL_ERROR, "too many interim answers")
            elif isinstance(event, h11.Response):
                streams.headers(stream, [(b":status", b"%d" % event.status_code), *event.headers])
            elif isinstance(event, h11.Data):
                if not streams.data(stream, bytes(event.data)):
                    self._end(Reason.CONNECTION_RETIRED, "an answer was too long")
            elif isinstance(event, h11.EndOfMessage):
                streams.ended(stream)
            else:
                return

    def _awaited(self) -> bool:
        """Whether something of a request has left whose answer is not whole."""
        return bool(self._streams.open) and not self._streams.fresh

    def _between(self) -> None:
        """Goes on to the next request, if there may be one."""
        connection = self._connection
        if connection.trailing_data[0]:
            # Mostly the 408 of a server that will not wait for a request. It must not pass for the answer to the next.
            self._end(Reason.CONNECTION_LOST, "an answer to no request")
        elif connection.their_state is h11.DONE:
            connection.start_next_cycle()
        elif connection.their_state is h11.MUST_CLOSE:
            self._streams.drain(self._stream, 0, b"")

    def _end(self, reason: Reason, detail: str = "") -> None:
        self._output.clear()
        self._streams.close(None, reason, detail)


def _request(headers: Headers, body: bytes) -> h11.Request:
    """Pseudo-header fields become the request line and Host (RFC 9112 section 3). Raises InvalidRequest."""
    pseudo = {name: value for name, value in headers if name.startswith(b":")}
    fields = [(name, value) for name, value in headers if not name.startswith(b":")]
    target = pseudo[b":path"]
    if not target.startswith(b"/"):
        raise InvalidRequest("a path that does not begin with a slash")
    if b":authority" in pseudo:
        fields.insert(0, (b"host", pseudo[b":authority"]))
    fields.append((b"content-length", b"%d" % len(body)))
    try:
        return h11.Request(method=pseudo[b":method"], target=target, headers=fields)
    except h11.LocalProtocolError:
        # It quotes the field.
        raise InvalidRequest("HTTP/1.1 cannot carry these fields") from None
