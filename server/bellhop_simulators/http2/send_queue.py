"""Bodies on their way out, as far as the client's flow-control windows let them (RFC 9113 section 5.2)."""

from dataclasses import dataclass

from bellhop_simulators.http2 import frames
from bellhop_simulators.http2.errors import ConnectionFailure, ErrorCode

_MAX_WINDOW = 2**31 - 1


@dataclass(slots=True)
class _Body:
    data: bytes
    chunk: int
    sent: int = 0


class SendQueue:
    """The bodies of one connection. A stream's window is the initial one and what the stream gained or used."""

    def __init__(self) -> None:
        self._connection = frames.DEFAULT_WINDOW
        self._initial = frames.DEFAULT_WINDOW
        self._gained: dict[int, int] = {}
        self._bodies: dict[int, _Body] = {}

    def put(self, stream_id: int, data: bytes, chunk: int) -> None:
        """Queue the body of a stream, to go in DATA frames of at most `chunk` octets."""
        self._bodies[stream_id] = _Body(data, min(chunk, frames.MAX_FRAME_SIZE))

    def drop(self, stream_id: int) -> None:
        """Forget a stream."""
        self._bodies.pop(stream_id, None)
        self._gained.pop(stream_id, None)

    def widen(self, stream_id: int, increment: int) -> None:
        """Take a WINDOW_UPDATE; stream 0 is the connection.

        Raises:
            ConnectionFailure: FLOW_CONTROL_ERROR; the window grew beyond 2^31 - 1.
        """
        if stream_id == 0:
            self._connection += increment
            grown = self._connection
        else:
            self._gained[stream_id] = self._gained.get(stream_id, 0) + increment
            grown = self._initial + self._gained[stream_id]
        if grown > _MAX_WINDOW:
            raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, "window above 2^31 - 1")

    def set_initial(self, window: int) -> None:
        """Take SETTINGS_INITIAL_WINDOW_SIZE; it counts for streams that are open too.

        Raises:
            ConnectionFailure: FLOW_CONTROL_ERROR; it is above 2^31 - 1.
        """
        if window > _MAX_WINDOW:
            raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, "initial window above 2^31 - 1")
        self._initial = window

    def take(self) -> tuple[list[bytes], list[int]]:
        """The DATA frames that may go now, and the streams that end with them."""
        out: list[bytes] = []
        ended: list[int] = []
        for stream_id, body in self._bodies.items():
            total = len(body.data)
            while body.sent < total:
                window = min(self._connection, self._initial + self._gained.get(stream_id, 0))
                size = min(body.chunk, window, total - body.sent)
                if size <= 0:
                    break
                last = body.sent + size == total
                piece = body.data[body.sent : body.sent + size]
                out.append(frames.frame(frames.DATA, frames.END_STREAM if last else 0, stream_id, piece))
                body.sent += size
                self._connection -= size
                self._gained[stream_id] = self._gained.get(stream_id, 0) - size
                if last:
                    ended.append(stream_id)
        for stream_id in ended:
            self.drop(stream_id)
        return out, ended
