"""The server's end of HTTP/1.1, with blocking calls: also what no library would send, at any moment."""

from typing import NamedTuple

from tests.raw_http2_server import Peer

CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
CREATED_AND_CLOSE = b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Asked(NamedTuple):
    """A request, with field names in lower case."""

    line: bytes
    fields: dict[bytes, bytes]
    body: bytes


def ask(peer: Peer) -> Asked | None:
    """The next whole request; None when the client has closed. Asserts that nothing follows it unanswered."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = peer.socket.recv(65536)
        if not piece:
            assert not data
            return None
        data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    line, *lines = head.split(b"\r\n")
    fields = dict(field.lower().split(b": ", 1) for field in lines)
    length = int(fields[b"content-length"])
    while len(body) < length:
        piece = peer.socket.recv(65536)
        assert piece
        body += piece
    assert len(body) == length
    return Asked(line, fields, body)


def answer_all(peer: Peer) -> None:
    """Says 201 to every request."""
    while ask(peer) is not None:
        peer.send(CREATED)
