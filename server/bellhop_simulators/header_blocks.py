"""Header blocks (RFC 7541) of the server's side.

The decoder is whole. The encoder never indexes anything, which every client must understand and which keeps an answer
free of state: it can be cut, held back or thrown away by a fault without spoiling those behind it.
"""

from collections import deque
from collections.abc import Iterable

from hpack.table import HeaderTable

from bellhop_simulators.huffman import HuffmanError, decode_huffman

Header = tuple[str, str]

TABLE_SIZE = 4096
"""Octets of the dynamic table, as announced in SETTINGS_HEADER_TABLE_SIZE (its default)."""
MAX_LIST_SIZE = 8000
"""Octets of a decoded list, counted as in RFC 9113 section 6.5.2 and announced; beyond them the connection ends."""
NO_TABLE = b"\x20"
"""A dynamic table size update to 0, owed at the next block when the peer made its table smaller (RFC 7541 4.2)."""

_ENTRY_OVERHEAD = 32
_STATIC = tuple((name.decode(), value.decode()) for name, value in HeaderTable.STATIC_TABLE)
_STATIC_COUNT = len(_STATIC)
_STATUS_INDEX = {value: index for index, (name, value) in enumerate(_STATIC, 1) if name == ":status"}


class HeaderBlockError(ValueError):
    """The block breaks RFC 7541 or is too large; the connection cannot go on (COMPRESSION_ERROR)."""


class HeaderDecoder:
    """Decodes the blocks of one connection in the order in which they came."""

    def __init__(self) -> None:
        self._entries: deque[tuple[Header, int]] = deque()
        self._size = 0
        self._capacity = TABLE_SIZE

    def decode(self, block: bytes) -> list[Header]:
        """Names and values in their order; bytes that are not UTF-8 come out as backslash escapes.

        Raises:
            HeaderBlockError: see there.
        """
        try:
            return self._decode(block)
        except IndexError:
            raise HeaderBlockError("truncated header block") from None
        except HuffmanError as error:
            raise HeaderBlockError(str(error)) from None

    def _decode(self, block: bytes) -> list[Header]:
        headers: list[Header] = []
        position, end, total = 0, len(block), 0
        while position < end:
            octet = block[position]
            if octet & 0x80:
                index, position = _integer(block, position, 0x7F)
                header, size = self._entry(index)
            elif octet & 0xE0 == 0x20:
                capacity, position = _integer(block, position, 0x1F)
                self._resize(capacity, allowed=not headers)
                continue
            else:
                indexed = octet & 0x40
                index, position = _integer(block, position, 0x3F if indexed else 0x0F)
                if index:
                    name = self._entry(index)[0][0]
                    name_size = len(name)
                else:
                    raw, position = _string(block, position)
                    name, name_size = raw.decode("utf-8", "backslashreplace"), len(raw)
                raw, position = _string(block, position)
                header = (name, raw.decode("utf-8", "backslashreplace"))
                size = name_size + len(raw) + _ENTRY_OVERHEAD
                if indexed:
                    self._add(header, size)
            total += size
            if total > MAX_LIST_SIZE:
                raise HeaderBlockError("header list too large")
            headers.append(header)
        return headers

    def _entry(self, index: int) -> tuple[Header, int]:
        if 0 < index <= _STATIC_COUNT:
            header = _STATIC[index - 1]
            return header, len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD
        if _STATIC_COUNT < index <= _STATIC_COUNT + len(self._entries):
            return self._entries[index - _STATIC_COUNT - 1]
        raise HeaderBlockError(f"no entry {index} in the header table")

    def _add(self, header: Header, size: int) -> None:
        self._entries.appendleft((header, size))
        self._size += size
        self._evict()

    def _resize(self, capacity: int, *, allowed: bool) -> None:
        if not allowed or capacity > TABLE_SIZE:
            raise HeaderBlockError("table size update in the wrong place or too large")
        self._capacity = capacity
        self._evict()

    def _evict(self) -> None:
        while self._size > self._capacity:
            self._size -= self._entries.pop()[1]


def encode(status: int, headers: Iterable[Header]) -> bytes:
    """The block of an answer."""
    text = str(status)
    index = _STATUS_INDEX.get(text)
    # Index 8 is `:status` 200; of a literal only its name is taken.
    parts = [bytes((0x80 | index,)) if index else b"\x08\x03" + text.encode()]
    for name, value in headers:
        parts += (b"\x00", _sized(name.encode()), _sized(value.encode()))
    return b"".join(parts)


def _sized(raw: bytes) -> bytes:
    length = len(raw)
    if length < 0x7F:
        return bytes((length,)) + raw
    octets = bytearray((0x7F,))
    length -= 0x7F
    while length >= 0x80:
        octets.append(length & 0x7F | 0x80)
        length >>= 7
    octets.append(length)
    return bytes(octets) + raw


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    value = block[position] & prefix
    position += 1
    if value < prefix:
        return value, position
    for shift in range(0, 28, 7):
        octet = block[position]
        position += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
    raise HeaderBlockError("integer too large")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    huffman = block[position] & 0x80
    length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise HeaderBlockError("truncated header block")
    raw = block[position:end]
    return (decode_huffman(raw) if huffman else raw), end
