"""TLS over a plain transport, in a way that loses nothing the peer has sent.

The TLS of asyncio and uvloop drops what it has received when a write fails, and with it the answers of a server that
closes early. Here ciphertext stays in our hands until it is read, and when the transport is lost the kernel is asked
for the rest.

When a socket is closed or its process killed, the kernel would go on sending for minutes what it holds. Here only
`close`, behind the last answer, lets it.
"""

import asyncio
import fcntl
import socket
import ssl
import struct
import sys
import termios
from collections.abc import Callable
from typing import cast

from bellhop_server.providers.tls import TlsClient

_PAUSE_READING = 256 * 1024
_MOST_SALVAGED = 4 << 20
# At the end of the socket the kernel throws away what it has not sent (RST), or goes on in the background.
_THROW_AWAY = struct.pack("ii", 1, 0)
_SEND_ON = struct.pack("ii", 0, 0)


class Channel(asyncio.Protocol):
    """One TLS connection. `wake` is called when there is something to read, when all is written, and at the end."""

    def __init__(
        self, context: ssl.SSLContext, host: str, clock: Callable[[], float], wake: Callable[[], None]
    ) -> None:
        self.heard = clock()
        """When the last byte came."""
        self.connected = False
        """The transport has been there."""
        self.lost = False
        """The transport is gone; what came before can still be read."""
        self.blocked = False
        """Not all that was written has gone to the kernel."""
        self.written = 0
        """Bytes that `flush` has let go."""
        self.reason = ""
        """Why it is lost, as the transport tells it; for the log."""
        self._tls = TlsClient(context, host)
        self._clock = clock
        self._wake = wake
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._aborted = False
        self._reading = True

    @property
    def protocol(self) -> str | None:
        """What ALPN agreed on; None before the handshake is done."""
        return self._tls.protocol

    def handshake(self) -> bool:
        """Whether TLS is established, which this moves on. Raises ssl.SSLError."""
        return self._tls.established or self._tls.handshake()

    def read(self, most: int) -> bytes | None:
        """Up to `most` bytes; None when there are none yet, empty when there will be none. Raises ssl.SSLError."""
        tls = self._tls
        data = tls.read(most)
        if not self._reading and tls.unread <= _PAUSE_READING // 4 and not self.lost:
            self._reading = True
            self._live().resume_reading()
        return data

    def write(self, data: bytes) -> None:
        """Encrypts; `flush` writes. Raises ssl.SSLError."""
        self._tls.write(data)

    def flush(self) -> None:
        """Hands what was written, and what TLS has to say, to the kernel; `blocked` tells if it did not take all."""
        if self.connected and not (self.lost or self._aborted) and (output := self._tls.output()):
            self.written += len(output)
            self._live().write(output)

    def arrived(self) -> int:
        """How many of the bytes `written` the peer's machine has said to have; 0 where nobody tells."""
        if self._socket is None or self.lost:
            return 0
        try:
            answer = fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4))
        except OSError:
            # Only Linux tells it this way.
            return 0
        return self.written - self._live().get_write_buffer_size() - int.from_bytes(answer, sys.byteorder)

    def close(self) -> None:
        """Writes close_notify behind all else, then ends the transport."""
        if self.connected and not self.lost and not self._live().is_closing():
            self._tls.shutdown()
            self.flush()
            if self._socket is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _SEND_ON)
            self._live().close()

    def abort(self) -> None:
        """Drops the transport, and all that has not left this machine."""
        self._aborted = True
        if self.connected and not self.lost:
            self._live().abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        live = self._transport = cast(asyncio.Transport, transport)
        if self._aborted:
            live.abort()
            return
        # `blocked` is to mean: not everything is with the kernel.
        live.set_write_buffer_limits(high=0)
        # Our own handle: the transport closes its own before we have read the rest.
        plain = live.get_extra_info("socket")
        self._socket = socket.fromfd(plain.fileno(), plain.family, plain.type)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _THROW_AWAY)
        self.heard = self._clock()
        self.connected = True
        self._wake()

    def data_received(self, data: bytes) -> None:
        self.heard = self._clock()
        self._tls.receive(data)
        if self._reading and self._tls.unread > _PAUSE_READING:
            self._reading = False
            self._live().pause_reading()
        self._wake()

    def eof_received(self) -> None:
        # Without the peer's half an answer can never come, and what the transport still holds would be for nothing.
        self.reason = "connection closed by peer"
        self.abort()

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._socket is None:
            return
        self.reason = self.reason or (str(exc) if exc is not None else "connection closed")
        self._salvage(self._socket)
        self._tls.end()
        self.lost = True
        self._wake()

    def _live(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def _salvage(self, plain: socket.socket) -> None:
        """Takes what the kernel still holds: after a failed write the transport does not read it."""
        try:
            while self._tls.unread < _MOST_SALVAGED and (data := plain.recv(1 << 16)):
                self._tls.receive(data)
        except OSError:
            # No more, or the peer's reset behind the last byte.
            return
        finally:
            plain.close()
