"""TLS for a client, without I/O."""

import ssl
from pathlib import Path


def client_context(ca_file: Path | None = None, *, http1: bool = False) -> ssl.SSLContext:
    """TLS 1.2 or newer, offering HTTP/2 and, with `http1`, HTTP/1.1 behind it.

    The peer is verified against the authorities in `ca_file` (PEM), or the system's. Raises OSError or ssl.SSLError
    when `ca_file` cannot be read.
    """
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"] if http1 else ["h2"])
    # A write would have to wait for a read in the middle of a renegotiation.
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


class TlsClient:
    """The client's end of one TLS connection, without I/O: ciphertext in by `receive`, out by `output`."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.established = False

    @property
    def unread(self) -> int:
        """Bytes of ciphertext received and not yet read."""
        return self._incoming.pending

    @property
    def protocol(self) -> str | None:
        """What ALPN agreed on."""
        return self._object.selected_alpn_protocol()

    def receive(self, data: bytes) -> None:
        """Takes ciphertext from the peer."""
        self._incoming.write(data)

    def end(self) -> None:
        """The peer will send no more."""
        self._incoming.write_eof()

    def handshake(self) -> bool:
        """Goes on with the handshake; True when it is done. Raises ssl.SSLError."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True

    def read(self, most: int) -> bytes | None:
        """Up to `most` bytes; None when more ciphertext is needed, empty at the end. Raises ssl.SSLError."""
        try:
            return self._object.read(most)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def write(self, data: bytes) -> None:
        """Encrypts. Raises ssl.SSLError."""
        self._object.write(data)

    def output(self) -> bytes:
        """Ciphertext for the peer."""
        return self._outgoing.read()

    def shutdown(self) -> None:
        """Queues close_notify; the peer's is not waited for."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            # It waits for the peer's close_notify, or the handshake was never finished: either way all is said.
            return
