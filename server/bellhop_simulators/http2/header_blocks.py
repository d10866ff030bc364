"""Header blocks (RFC 7541) of the server's side."""

from collections.abc import Iterable

import hpack

from bellhop_simulators.http.request import Header
from bellhop_simulators.http2.errors import ConnectionFailure, ErrorCode

TABLE_SIZE = 4096
"""Octets of the dynamic table, as announced in SETTINGS_HEADER_TABLE_SIZE (its default)."""
MAX_LIST_SIZE = 8000
"""Octets of a decoded list, counted as in RFC 9113 section 6.5.2 and announced; beyond them the connection ends."""


class HeaderDecoder:
    """Decodes the blocks of one connection in the order in which they came."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(MAX_LIST_SIZE)

    def decode(self, block: bytes) -> list[Header]:
        """Names and values in their order; bytes that are not UTF-8 come out as backslash escapes.

        Raises:
            ConnectionFailure: COMPRESSION_ERROR; the block breaks RFC 7541 or is too large.
        """
        try:
            # Raw, because a text that is not UTF-8 spoils its request alone, not the connection.
            headers = self._decoder.decode(block, raw=True)
        except hpack.HPACKError as error:
            raise ConnectionFailure(ErrorCode.COMPRESSION_ERROR, str(error)) from error
        return [(_text(name), _text(value)) for name, value in headers]


class HeaderEncoder:
    """Encodes the answers of one connection, adding nothing to the table, though another encoder would.

    That keeps an answer free of state: it can be cut, held back or thrown away by a fault without spoiling those
    behind it.
    """

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()

    def resize(self, size: int) -> None:
        """Take the peer's SETTINGS_HEADER_TABLE_SIZE; it is confirmed in the next block (RFC 7541 section 4.2)."""
        size = min(size, TABLE_SIZE)
        if size != self._encoder.header_table_size:  # The same once more would make it forget to confirm.
            self._encoder.header_table_size = size

    def encode(self, status: int, headers: Iterable[Header]) -> bytes:
        """The block of an answer."""
        never_indexed = [(name, value, True) for name, value in ((":status", str(status)), *headers)]
        return self._encoder.encode(never_indexed, huffman=False)


def _text(raw: bytes | str) -> str:
    assert isinstance(raw, bytes)
    return raw.decode("utf-8", "backslashreplace")
