"""A stream of a connection from its HEADERS until both sides are done."""

from bellhop_simulators.http.request import MAX_BODY, Request
from bellhop_simulators.http2.errors import ConnectionFailure, ErrorCode
from bellhop_simulators.http2.frame_reader import Frame
from bellhop_simulators.http2.frames import END_STREAM

_CREDIT_STEP = 16_384


class OpenStream:
    """Gathers the request; `answered` says whether an answer was begun."""

    __slots__ = ("_pieces", "_uncredited", "answered", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answered = False
        self._pieces: list[bytes] = []
        self._uncredited = 0

    def take(self, frame: Frame) -> int:
        """Take a DATA frame; returns by how much the stream's window may be opened again.

        Raises:
            ConnectionFailure: the request had ended.
        """
        if self.request.complete:
            raise ConnectionFailure(ErrorCode.STREAM_CLOSED, "data after the end of the request")
        if self.request.size < MAX_BODY:
            self._pieces.append(frame.payload)
        self.request.size += len(frame.payload)
        self._uncredited += frame.size
        if frame.flags & END_STREAM or self._uncredited < _CREDIT_STEP:
            return 0
        credit, self._uncredited = self._uncredited, 0
        return credit

    def end(self) -> None:
        """The request is complete."""
        self.request.body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self.request.complete = True
        self._pieces.clear()
