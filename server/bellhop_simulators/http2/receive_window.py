"""How much a client may send on a connection before it is told to go on (RFC 9113 section 5.2)."""

from bellhop_simulators.http2.errors import ConnectionFailure, ErrorCode
from bellhop_simulators.http2.frames import DEFAULT_WINDOW

_SIZE = 1 << 20
FIRST_CREDIT = _SIZE - DEFAULT_WINDOW
"""What to add to the default window at the start."""


class ReceiveWindow:
    """The window of a connection; opened again when half of it is used."""

    def __init__(self) -> None:
        self._used = 0

    def take(self, size: int) -> int:
        """Count a DATA frame of `size` octets; returns by how much the window is to be opened.

        Raises:
            ConnectionFailure: the client sent more than it may.
        """
        self._used += size
        if self._used > _SIZE:
            raise ConnectionFailure(ErrorCode.FLOW_CONTROL_ERROR, "more than the connection's window")
        if self._used < _SIZE // 2:
            return 0
        credit, self._used = self._used, 0
        return credit
