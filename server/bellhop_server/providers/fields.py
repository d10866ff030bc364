"""The rules of RFC 9113 sections 8.2 and 8.3 for a request's header fields, which neither engine checks."""

import re

from bellhop_server.providers.engine import LARGEST_HEADER_LIST, Headers, HeadersRefused, InvalidRequest

_NAME = re.compile(rb":?[!#$%&'*+.^_`|~0-9a-z-]+")
_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_NEEDED = frozenset({b":method", b":scheme", b":path"})
# They belong to one HTTP/1.1 connection (RFC 9113 section 8.2.2).
_CONNECTION = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_OVERHEAD = 32
# The tab is not forbidden by RFC 9113, but nobody needs it.
_FORBIDDEN = b"\r\n\0\t"

# An adapter sends a few combinations of names millions of times, so each is looked at once.
_known: dict[tuple[bytes, ...], int] = {}
_MOST_KNOWN = 256


def check(headers: Headers, most: int = LARGEST_HEADER_LIST) -> None:
    """`most`: bytes of fields that the peer takes, counted as in section 6.5.2.

    Raises InvalidRequest for fields that any peer must reject or that exceed our own bound, HeadersRefused for more
    than `most`.
    """
    if not headers:
        raise InvalidRequest("no header fields")
    names, values = zip(*headers, strict=False)
    size = _known.get(names)
    if size is None:
        size = _check_names(names)
    # One pass over all values costs a tenth of one over each.
    joined = b"".join(values)
    if len(joined.translate(None, _FORBIDDEN)) != len(joined):
        raise InvalidRequest("a header value holds CR, LF, NUL or a tab")
    if tuple(map(bytes.strip, values)) != values:
        raise InvalidRequest("a header value begins or ends with a space")
    size += len(joined)
    if size > LARGEST_HEADER_LIST:
        raise InvalidRequest(f"header fields over {LARGEST_HEADER_LIST} bytes")
    if size > most:
        raise HeadersRefused


def _check_names(names: tuple[bytes, ...]) -> int:
    """Returns what the names, and the bookkeeping of each field, count for in a header list's size."""
    regular = False
    for name in names:
        if not _NAME.fullmatch(name):
            raise InvalidRequest("a header name is empty, in upper case or not a token")
        if name in _CONNECTION:
            raise InvalidRequest("a header field of an HTTP/1.1 connection")
        if name.startswith(b":"):
            if regular or name not in _PSEUDO or names.count(name) > 1:
                raise InvalidRequest("a pseudo-header field out of place")
        else:
            regular = True
    if not _NEEDED.issubset(names):
        raise InvalidRequest("a pseudo-header field is missing")
    size = sum(map(len, names)) + _OVERHEAD * len(names)
    if len(_known) < _MOST_KNOWN:
        _known[names] = size
    return size
