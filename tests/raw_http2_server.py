"""The server's end of HTTP/2, frame by frame: also those that no library would send, at any moment."""

import contextlib
import fcntl
import os
import select
import socket
import ssl
import termios
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hpack import Decoder

from tests.certificates import localhost

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM = ACK = 1
END_HEADERS = 4
PADDED = 8
HEADER_TABLE_SIZE, MAX_CONCURRENT, INITIAL_WINDOW, MAX_HEADER_LIST = 1, 3, 4, 6

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


class Request(NamedTuple):
    stream: int
    headers: dict[bytes, bytes]
    body: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def settings(values: Mapping[int, int] | None = None) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(k.to_bytes(2) + v.to_bytes(4) for k, v in (values or {}).items()))


def block(status: int | bytes, fields: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """A header block of literals without indexing, so that no state is shared between blocks."""
    value = status if isinstance(status, bytes) else b"%d" % status
    literals = [b"\x08" + bytes([len(value)]) + value] if status else []
    for name, value in fields:
        literals.append(b"\x00" + _string(name) + _string(value))
    return b"".join(literals)


def _string(value: bytes) -> bytes:
    if len(value) < 127:
        return bytes([len(value)]) + value
    rest, out = len(value) - 127, bytearray(b"\x7f")
    while rest >= 128:
        out.append(rest % 128 | 128)
        rest //= 128
    out.append(rest)
    return bytes(out) + value


def reply(stream: int, status: int = 200, fields: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"") -> bytes:
    """A whole answer."""
    head = frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), stream, block(status, fields))
    return head + (frame(DATA, END_STREAM, stream, body) if body else b"")


def goaway(last: int, code: int = 0, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, last.to_bytes(4) + code.to_bytes(4) + debug)


def reset(stream: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4))


BOUNDLESS = settings({MAX_CONCURRENT: 1000, INITIAL_WINDOW: 2**31 - 1}), window_update(0, 2**31 - 65536)


class Reader:
    """What a client sends: frames, and the requests they make up."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.requests: list[Request] = []
        self._buffer = b""
        self._decoder = Decoder()
        self._begun = False
        self._open: dict[int, tuple[dict[bytes, bytes], bytearray]] = {}

    def feed(self, data: bytes) -> list[Frame]:
        self._buffer += data
        if not self._begun:
            if len(self._buffer) < len(_PREFACE):
                return []
            assert self._buffer.startswith(_PREFACE)
            self._buffer = self._buffer[len(_PREFACE) :]
            self._begun = True
        new = list(self._frames())
        self.frames += new
        return new

    def of(self, kind: int) -> list[Frame]:
        return [frame for frame in self.frames if frame.kind == kind]

    def _frames(self) -> Iterator[Frame]:
        while len(self._buffer) >= 9:
            size = int.from_bytes(self._buffer[:3])
            if len(self._buffer) < 9 + size:
                return
            kind, flags, stream = self._buffer[3], self._buffer[4], int.from_bytes(self._buffer[5:9])
            payload, self._buffer = self._buffer[9 : 9 + size], self._buffer[9 + size :]
            self._note(kind, flags, stream, payload)
            yield Frame(kind, flags, stream, payload)

    def _note(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS:
            assert flags & END_HEADERS
            fields = self._decoder.decode(payload[5:] if flags & 0x20 else payload, raw=True)
            self._open[stream] = (dict(fields), bytearray())
        elif kind == DATA and stream in self._open:
            self._open[stream][1].extend(payload)
        elif kind == RST_STREAM:
            self._open.pop(stream, None)
        if kind in (HEADERS, DATA) and flags & END_STREAM and stream in self._open:
            headers, body = self._open.pop(stream)
            self.requests.append(Request(stream, headers, bytes(body)))


class Authority:
    """A certificate for localhost, and what a client needs to trust it."""

    def __init__(self, folder: Path) -> None:
        self.ca_file, self._key_file = folder / "ca.pem", folder / "key.pem"
        for file, content in zip((self.ca_file, self._key_file), localhost(), strict=True):
            file.write_bytes(content)

    def server_context(self, alpn: str = "h2") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sslsocket_class = _ClosingSocket
        context.load_cert_chain(self.ca_file, self._key_file)
        context.set_alpn_protocols([alpn])
        return context


class _ClosingSocket(ssl.SSLSocket):
    """`wrap_socket` leaves its socket open when the client has reset the connection at that moment."""

    def __del__(self) -> None:
        self.close()


class Peer:
    """One connection of a client, with blocking calls."""

    def __init__(self, plain: ssl.SSLSocket, number: int) -> None:
        self.socket = plain
        self.number = number
        self.reader = Reader()
        self._taken = 0

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def delivered(self) -> None:
        """Waits until the client's kernel has all that was sent: a close with unread input throws the rest away."""
        unacknowledged = bytearray(4)
        while True:
            fcntl.ioctl(self.socket, termios.TIOCOUTQ, unacknowledged)
            if not any(unacknowledged):
                return
            select.select([], [], [], 0.0005)

    def receive(self) -> bool:
        """Reads once; False at the end."""
        data = self.socket.recv(65536)
        self.reader.feed(data)
        return bool(data)

    def request(self) -> Request | None:
        """The next whole request; None when the client has closed."""
        while self._taken == len(self.reader.requests):
            if not self.receive():
                return None
        self._taken += 1
        return self.reader.requests[self._taken - 1]

    def until(self, kind: int, flags: int = 0) -> Frame | None:
        """Reads until such a frame has come; None when the client has closed."""
        while True:
            for seen in self.reader.of(kind):
                if seen.flags & flags == flags:
                    return seen
            if not self.receive():
                return None

    def wait_end(self) -> None:
        """Reads until the client has closed."""
        while self.receive():
            pass


class Arrived:
    """What the client's machine has sent, below TLS, once the script no longer reads."""

    def __init__(self, peer: Peer) -> None:
        self._socket = socket.socket(fileno=os.dup(peer.socket.fileno()))
        self._socket.setblocking(True)

    def here(self) -> int:
        """Bytes that this machine has and nobody has read."""
        return int.from_bytes(fcntl.ioctl(self._socket, termios.FIONREAD, bytes(4)), "little")

    def rest(self) -> int:
        """Reads to the end, and returns how many bytes there were."""
        count = 0
        with self._socket, contextlib.suppress(ConnectionError):
            while data := self._socket.recv(1 << 16):
                count += len(data)
        return count


def serve_all(peer: Peer) -> None:
    """Answers every request with its path."""
    peer.send(settings({MAX_CONCURRENT: 1000}))
    while (request := peer.request()) is not None:
        peer.send(reply(request.stream, 200, [(b"path", request.headers[b":path"])]), window_update(0, 1000))


class RawServer:
    """Listens on a free port of 127.0.0.1; each connection is a call of `script` in a thread of its own."""

    def __init__(self, context: ssl.SSLContext, script: Callable[[Peer], None]) -> None:
        self.peers: list[Peer] = []
        self.errors: list[BaseException] = []
        self._context = context
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def __enter__(self) -> "RawServer":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        # A thread in accept() keeps the socket listening through close(); shutdown() wakes it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(20)
        if kind is None:
            assert not any(thread.is_alive() for thread in self._threads)
            if self.errors:
                raise BaseExceptionGroup("scripts failed", self.errors)

    @property
    def requests(self) -> list[Request]:
        """All whole requests of all connections, for when the scripts are done."""
        return [request for peer in self.peers for request in peer.reader.requests]

    def _run(self, call: Callable[[], None]) -> None:
        thread = threading.Thread(target=call, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            plain.settimeout(15)
            self._run(lambda plain=plain: self._serve(plain))

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as wrapped:
                peer = Peer(wrapped, len(self.peers))
                self.peers.append(peer)
                self._script(peer)
        except (ConnectionError, ssl.SSLError):
            # The client ended it, as many tests want.
            return
        except BaseException as error:
            self.errors.append(error)
