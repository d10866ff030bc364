"""The engine over h2, pure Python: for platforms without a wheel of ngh2.

Two faults of h2 are worked around. It ends the whole connection at a GOAWAY, losing the answers that are still to come,
so that frame is kept from it. And an exception in the middle of its input throws away the events before, so it gets one
frame at a time. One difference from ngh2 remains: a malformed answer ends the connection instead of its stream.
"""

import logging
from collections.abc import Collection

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.events import Event as H2Event
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from bellhop_server.providers.engine import LARGEST_HEADER_LIST, Event, Headers, InvalidRequest, Refused
from bellhop_server.providers.fields import check
from bellhop_server.providers.reasons import Reason
from bellhop_server.providers.streams import PROTOCOL_ERROR, Streams

# At DEBUG it would log every header field, and with them the tokens of devices and of ours.
logging.getLogger("hpack").setLevel(logging.INFO)

_FRAME_HEADER = 9
_LARGEST_FRAME = 16384
_GOAWAY = 7
_RECEIVE_WINDOW = 1 << 20
_DEFAULT_WINDOW = 65535
# Bytes that a peer may have us answer (PING, SETTINGS) before it reads any: a few thousand frames.
_MOST_ECHOED = 64 * 1024


class H2Engine:
    """An `Engine` (see there); `most_streams` bounds the requests in flight whatever the peer allows."""

    weight = 7
    multiplexed = True

    def __init__(self, most_streams: int = 1000) -> None:
        self._streams = Streams(most_streams)
        self._connection = H2Connection(
            H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self._connection.local_settings = Settings(
            client=True,
            initial_values={SettingCodes.ENABLE_PUSH: 0, SettingCodes.MAX_HEADER_LIST_SIZE: LARGEST_HEADER_LIST},
        )
        self._input = bytearray()
        self._output = bytearray()
        self._echoed = 0
        self._largest_headers = LARGEST_HEADER_LIST

    def start(self) -> None:
        self._connection.initiate_connection()
        self._connection.increment_flow_control_window(_RECEIVE_WINDOW - _DEFAULT_WINDOW)

    def capacity(self, size: int) -> int:
        free = self._streams.free()
        if free <= 0 or size > self._connection.remote_settings.initial_window_size:
            return 0
        if size:
            free = min(free, self._connection.outbound_flow_control_window // size)
        return max(free, 0)

    def submit(self, headers: Headers, body: bytes) -> int:
        check(headers, self._largest_headers)
        if self.capacity(len(body)) == 0:
            raise Refused
        connection = self._connection
        stream = connection.get_next_available_stream_id()
        try:
            connection.send_headers(stream, headers, end_stream=not body)
            largest = connection.max_outbound_frame_size
            for start in range(0, len(body), largest):
                connection.send_data(stream, body[start : start + largest], end_stream=start + largest >= len(body))
        except ProtocolError as error:
            raise InvalidRequest(f"cannot be sent: {type(error).__name__}") from error
        self._streams.opened(stream)
        return stream

    def feed(self, data: bytes) -> list[Event]:
        buffer = self._input
        buffer += data
        position = 0
        while not self._streams.closed and len(buffer) - position >= _FRAME_HEADER:
            length = int.from_bytes(buffer[position : position + 3])
            if length > _LARGEST_FRAME:
                self._abandon(ErrorCodes.FRAME_SIZE_ERROR, Reason.PROTOCOL_ERROR, "frame too large")
                break
            end = position + _FRAME_HEADER + length
            if len(buffer) < end:
                break
            self._frame(bytes(buffer[position:end]))
            position = end
        del buffer[:position]
        return self.events()

    def take(self, most: int = 16384) -> bytes:
        output = self._output
        output += self._connection.data_to_send()
        data = bytes(output[:most])
        del output[:most]
        if data:
            self._streams.leave()
        else:
            self._echoed = 0
            self._streams.leaving.clear()
        return data

    def events(self) -> list[Event]:
        return self._streams.take_events()

    def cancel(self, stream: int) -> bool:
        self._reset(stream)
        self._streams.cancelled(stream)
        # What h2 has taken stands in its output, in front of the reset.
        return False

    def unsent(self) -> Collection[int]:
        return self._streams.unsent()

    def ping(self, data: bytes) -> None:
        if not self._streams.closed:
            self._connection.ping(data)

    def close(self) -> None:
        self._abandon(ErrorCodes.NO_ERROR, Reason.CONNECTION_RETIRED)

    def eof(self, reason: Reason) -> list[Event]:
        self._streams.close(None, reason)
        return self._streams.take_events()

    def _frame(self, frame: bytes) -> None:
        if frame[3] == _GOAWAY:
            self._goaway(frame)
            return
        self._output += self._connection.data_to_send()
        try:
            for event in self._connection.receive_data(frame):
                self._event(event)
        except Exception as error:
            # Not only H2Error: what h2 is made of stumbles over some input in ways of its own.
            code = int(getattr(error, "error_code", PROTOCOL_ERROR))
            self._streams.close(code, Reason.PROTOCOL_ERROR, f"{type(error).__name__}: {error}")
            return
        echo = self._connection.data_to_send()
        self._output += echo
        self._echoed += len(echo)
        if self._echoed > _MOST_ECHOED:
            self._abandon(ErrorCodes.ENHANCE_YOUR_CALM, Reason.PROTOCOL_ERROR, "wants answers that it does not read")

    def _goaway(self, frame: bytes) -> None:
        payload = frame[_FRAME_HEADER:]
        if len(payload) < 8 or any(frame[5:_FRAME_HEADER]):
            self._abandon(ErrorCodes.PROTOCOL_ERROR, Reason.PROTOCOL_ERROR, "malformed GOAWAY")
            return
        last = int.from_bytes(payload[:4]) & 0x7FFFFFFF
        self._streams.drain(last, int.from_bytes(payload[4:8]), payload[8:])

    def _event(self, event: H2Event) -> None:
        streams = self._streams
        match event:
            case ResponseReceived(stream_id=stream, headers=headers):
                if not streams.headers(stream, headers):
                    self._reset(stream, ErrorCodes.PROTOCOL_ERROR)
            case DataReceived(stream_id=stream, data=data, flow_controlled_length=size):
                if not streams.data(stream, data or b""):
                    self._reset(stream)
                if size and not streams.closed:
                    self._connection.acknowledge_received_data(size, stream)
            case StreamEnded(stream_id=stream):
                streams.ended(stream)
            case StreamReset(stream_id=stream, error_code=code):
                streams.reset(stream, int(code or 0))
            case RemoteSettingsChanged():
                settings = self._connection.remote_settings
                allowed = settings.max_header_list_size
                self._largest_headers = LARGEST_HEADER_LIST if allowed is None else min(allowed, LARGEST_HEADER_LIST)
                streams.set_limit(settings.max_concurrent_streams)
            case PingAckReceived(ping_data=data):
                streams.pong(data)

    def _abandon(self, code: ErrorCodes, reason: Reason, detail: str = "") -> None:
        if not self._streams.closed:
            self._connection.close_connection(code)
            self._streams.close(int(code), reason, detail)

    def _reset(self, stream: int, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        if not self._streams.closed:
            try:
                self._connection.reset_stream(stream, code)
            except ProtocolError:
                # The stream is closed on both sides already: there is nothing to reset.
                return
