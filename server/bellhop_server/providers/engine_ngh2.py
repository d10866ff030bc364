"""The engine over ngh2, a binding of libnghttp2: about 5 microseconds of CPU a request."""

from collections.abc import Collection

from ngh2 import (
    Configuration,
    Connection,
    ConnectionClosed,
    DataReceived,
    GoAwayReceived,
    PingAcknowledged,
    ResponseReceived,
    Role,
    SettingsReceived,
    StreamClosed,
    TrailersReceived,
)
from ngh2.exceptions import ConnectionClosingError, ConnectionStateError, NGH2Error

from bellhop_server.providers.engine import (
    LARGEST_HEADER_LIST,
    Event,
    FailureKind,
    Headers,
    Refused,
)
from bellhop_server.providers.fields import check
from bellhop_server.providers.reasons import Reason
from bellhop_server.providers.streams import PROTOCOL_ERROR, Streams

_ENABLE_PUSH = 2
_MAX_CONCURRENT_STREAMS = 3
_INITIAL_WINDOW_SIZE = 4
_MAX_HEADER_LIST_SIZE = 6
_INTERNAL_ERROR = 2
_CANCEL = 8
_DEFAULT_WINDOW = 65535
_RECEIVE_WINDOW = 1 << 20


class Ngh2Engine:
    """An `Engine` (see there); `most_streams` bounds the requests in flight whatever the peer allows."""

    weight = 1
    multiplexed = True

    def __init__(self, most_streams: int = 1000) -> None:
        self._streams = Streams(most_streams)
        self._connection = Connection(
            Role.CLIENT,
            Configuration(
                # Late answers to streams that were reset count as glitches; the default would end the connection.
                glitch_rate_limit=(10**6, 10**5),
                max_inbound_header_list_size=LARGEST_HEADER_LIST,
            ),
        )
        self._closing = False
        self._remote = {
            _MAX_CONCURRENT_STREAMS: 2**32 - 1,
            _INITIAL_WINDOW_SIZE: _DEFAULT_WINDOW,
            _MAX_HEADER_LIST_SIZE: LARGEST_HEADER_LIST,
        }

    def start(self) -> None:
        self._connection.initiate_connection({_ENABLE_PUSH: 0, _MAX_HEADER_LIST_SIZE: LARGEST_HEADER_LIST})
        self._connection.set_local_window_size(_RECEIVE_WINDOW)

    def capacity(self, size: int) -> int:
        free = self._streams.free()
        if free <= 0 or size > self._remote[_INITIAL_WINDOW_SIZE]:
            return 0
        if size:
            connection = self._connection
            # The window shrinks only when libnghttp2 makes DATA frames, so what is queued is already spoken for.
            free = min(free, (connection.remote_window_size - connection.queued_body_size()) // size)
        return max(free, 0)

    def submit(self, headers: Headers, body: bytes) -> int:
        check(headers, self._remote[_MAX_HEADER_LIST_SIZE])
        # libnghttp2 would queue what the peer does not allow yet, and nobody could tell afterwards whether it was sent.
        if self.capacity(len(body)) == 0:
            raise Refused
        connection = self._connection
        try:
            stream = connection.send_request(headers, end_stream=not body)
            if body:
                connection.send_data(stream, body, end_stream=True)
        except NGH2Error as error:
            raise Refused from error
        self._streams.opened(stream)
        return stream

    def feed(self, data: bytes) -> list[Event]:
        if self._streams.closed:
            return []
        try:
            self._connection.receive_data(data)
        except NGH2Error as error:
            self._collect()
            self._streams.close(PROTOCOL_ERROR, Reason.PROTOCOL_ERROR, str(error))
        return self.events()

    def take(self, most: int = 16384) -> bytes:
        streams = self._streams
        try:
            data = self._connection.data_to_send(most)
        except NGH2Error as error:
            self._collect()
            streams.close(_INTERNAL_ERROR, Reason.PROTOCOL_ERROR, str(error))
            return b""
        if data:
            streams.leave()
        elif streams.leaving and not self._over():
            self._note_left()
        return data

    def events(self) -> list[Event]:
        self._collect()
        return self._streams.take_events()

    def cancel(self, stream: int) -> bool:
        self._reset(stream)
        return self._streams.cancelled(stream)

    def unsent(self) -> Collection[int]:
        return self._streams.unsent()

    def ping(self, data: bytes) -> None:
        if not self._over():
            self._connection.ping(data)

    def close(self) -> None:
        self._streams.draining = True
        if not self._over():
            self._closing = True
            self._connection.terminate_connection()

    def eof(self, reason: Reason) -> list[Event]:
        self._collect()
        self._streams.close(None, reason)
        return self._streams.take_events()

    def _collect(self) -> None:
        streams = self._streams
        for event in self._connection.events():
            if isinstance(event, StreamClosed):
                if event.stream_id in streams.open:
                    self._stream_closed(event)
            elif isinstance(event, ResponseReceived):
                if event.end_stream:
                    self._answered(event.stream_id)
                    streams.reply(event.stream_id, event.headers)
                else:
                    streams.headers(event.stream_id, event.headers)
            elif isinstance(event, DataReceived):
                if not streams.data(event.stream_id, event.data):
                    self._reset(event.stream_id)
                elif event.end_stream:
                    self._answered(event.stream_id)
                    streams.ended(event.stream_id)
            elif isinstance(event, TrailersReceived):
                self._answered(event.stream_id)
                streams.ended(event.stream_id)
            elif isinstance(event, SettingsReceived):
                # Not `remote_settings`, which raises when the connection has ended behind this frame.
                remote = self._remote
                remote |= event.settings
                streams.set_limit(remote[_MAX_CONCURRENT_STREAMS])
            elif isinstance(event, GoAwayReceived):
                streams.drain(event.last_stream_id, event.error_code, event.debug_data)
            elif isinstance(event, PingAcknowledged):
                streams.pong(event.opaque_data)
            elif isinstance(event, ConnectionClosed):
                self._connection_closed(event)

    def _stream_closed(self, event: StreamClosed) -> None:
        streams, stream, code = self._streams, event.stream_id, event.error_code
        if isinstance(event.local_error, ConnectionClosingError):
            streams.fail(stream, FailureKind.NOT_SENT, Reason.GO_AWAY, code)
        elif event.local_error is not None:
            # libnghttp2 itself gave the request up, with the same code 7 as a refusal by the peer: an endless retry.
            streams.fail(stream, FailureKind.PERMANENT, Reason.INVALID_REQUEST, code, str(event.local_error))
        else:
            streams.reset(stream, code)

    def _connection_closed(self, event: ConnectionClosed) -> None:
        if self._closing:
            reason = Reason.CONNECTION_RETIRED
        else:
            reason = Reason.PROTOCOL_ERROR if event.error_code else Reason.GO_AWAY
        self._streams.close(event.error_code, reason, event.debug_data.decode("ascii", "replace"))

    def _answered(self, stream: int) -> None:
        """An answer may be whole while our body still waits: without a reset the stream would never be free."""
        if (stream in self._streams.fresh or stream in self._streams.leaving) and stream in self._streams.open:
            self._reset(stream)

    def _over(self) -> bool:
        """Whether libnghttp2 takes no more calls."""
        return self._closing or self._streams.closed

    def _reset(self, stream: int) -> None:
        if not self._over():
            try:
                self._connection.reset_stream(stream, _CANCEL)
            except ConnectionStateError:
                # The connection has ended, as an event that is still to come will say.
                return

    def _note_left(self) -> None:
        """Everything has left that the peer allows. A body that it does not allow can be asked for, a header cannot."""
        streams = self._streams
        queued = self._connection.queued_body_size
        if len(streams.open) > self._remote[_MAX_CONCURRENT_STREAMS]:
            return
        if queued() == 0:
            streams.leaving.clear()
        else:
            streams.leaving = [stream for stream in streams.leaving if queued(stream)]
