"""Decoding of the Huffman code of HPACK (RFC 7541 section 5.2 and appendix B), a byte at a time.

A state is a node of the code tree. What a byte does to a state is worked out when it is first met and then remembered,
which makes a token of 64 hex digits about ten times cheaper than walking the bits.
"""

from functools import lru_cache

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

_END = 256  # EOS: must not occur in a string.


class HuffmanError(ValueError):
    """The string holds EOS or is not padded with less than eight bits of ones."""


class _Node:
    """An inner node: `branches` of 0 and 1, each another node or a symbol."""

    __slots__ = ("branches", "ends")

    def __init__(self) -> None:
        self.branches: list[_Node | int | None] = [None, None]
        self.ends = False  # A string may end here: the path to it is the beginning of EOS, shorter than a byte.


def _tree() -> list[_Node]:
    nodes = [_Node()]
    for symbol, (code, length) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)):
        node = nodes[0]
        for bit in range(length - 1, 0, -1):
            branch = node.branches[code >> bit & 1]
            if branch is None:
                branch = _Node()
                nodes.append(branch)
                node.branches[code >> bit & 1] = branch
            assert isinstance(branch, _Node)
            node = branch
        node.branches[code & 1] = symbol
    padding: _Node | int | None = nodes[0]
    for _ in range(8):
        assert isinstance(padding, _Node)
        padding.ends = True
        padding = padding.branches[1]
    return nodes


class _Steps(dict[int, tuple[int, bytes]]):
    """(state << 8 | byte) → (next state << 8, symbols met on the way)."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes = _tree()
        self._numbers = {id(node): number for number, node in enumerate(self.nodes)}

    def __missing__(self, key: int) -> tuple[int, bytes]:
        node = self.nodes[key >> 8]
        symbols = bytearray()
        for bit in range(7, -1, -1):
            branch = node.branches[key >> bit & 1]
            if isinstance(branch, _Node):
                node = branch
            elif branch is None or branch == _END:
                raise HuffmanError("EOS inside a string")
            else:
                symbols.append(branch)
                node = self.nodes[0]
        step = self[key] = self._numbers[id(node)] << 8, bytes(symbols)
        return step


_STEPS = _Steps()


@lru_cache(maxsize=1024)
def decode_huffman(data: bytes) -> bytes:
    """Decode one string.

    The last thousand strings are kept, because a provider token comes again with every request.

    Raises:
        HuffmanError: EOS inside, or wrong padding.
    """
    steps = _STEPS
    state = 0
    symbols = []
    for byte in data:
        state, met = steps[state | byte]
        symbols.append(met)
    if not steps.nodes[state >> 8].ends:
        raise HuffmanError("wrong padding")
    return b"".join(symbols)
