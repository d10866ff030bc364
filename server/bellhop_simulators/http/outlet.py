"""The way out of a connection: what was queued in one turn leaves in one write."""

import asyncio
import socket
import struct
from collections.abc import Callable

_TRICKLE_STEPS = 10
_NO_LINGER = struct.pack("ii", 1, 0)


class Outlet:
    """Gathers octets for a transport; closes it in order, or with a reset."""

    def __init__(self, before_writing: Callable[[], None], trickled: Callable[[], None]) -> None:
        """`before_writing` is called before anything leaves (a journal writes then), `trickled` after a trickle."""
        self.alive = False
        self._transport: asyncio.Transport
        self._before_writing = before_writing
        self._trickled = trickled
        self._queue: list[bytes] = []
        self._held: list[bytes] | None = None

    def attach(self, transport: asyncio.Transport) -> None:
        """From now on it can write."""
        self._transport = transport
        self.alive = True

    @property
    def busy(self) -> bool:
        """Whether something is queued or trickles."""
        return bool(self._queue) or self._held is not None

    def put(self, data: bytes) -> None:
        """Queue `data`."""
        if self._held is None:
            self._queue.append(data)
        else:
            self._held.append(data)

    def trickle(self, data: bytes, seconds: float) -> None:
        """Send `data` in pieces over `seconds`.

        What is queued later waits. A second while the first is on its way goes whole.
        """
        if self._held is not None:
            self._held.append(data)
            return
        self.flush()
        self._held = []
        size = -(-len(data) // _TRICKLE_STEPS)
        self._trickle_on([data[start : start + size] for start in range(0, len(data), size)], seconds / _TRICKLE_STEPS)

    def _trickle_on(self, pieces: list[bytes], pause: float) -> None:
        if not self.alive or self._held is None:
            return
        if pieces:
            self._transport.write(pieces[0])
            asyncio.get_running_loop().call_later(pause, self._trickle_on, pieces[1:], pause)
        else:
            self._queue, self._held = self._held, None
            self._trickled()

    def flush(self) -> None:
        """Write what is queued."""
        self._before_writing()
        if self._queue and self.alive:
            data = b"".join(self._queue)
            self._queue.clear()
            self._transport.write(data)

    def close(self) -> None:
        """Write what is queued, then end TLS and TCP in order."""
        self.flush()
        if self.alive:
            self.alive = False
            self._transport.close()

    def reset(self) -> None:
        """Cut the connection with a TCP reset; what is queued is lost."""
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.abort()

    def abort(self) -> None:
        """Drop the connection; what is queued is lost."""
        self.alive = False
        self._transport.abort()
