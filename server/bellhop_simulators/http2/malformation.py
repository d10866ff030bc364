"""What makes a request malformed (RFC 9113 section 8)."""

import re
from functools import lru_cache

from bellhop_simulators.http.request import Header

_NAME = re.compile(r":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_FORBIDDEN_IN_VALUE = re.compile(r"[\x00\r\n]")
_REQUIRED = frozenset({":method", ":scheme", ":path"})
_PSEUDO = _REQUIRED | {":authority"}
_CONNECTION_SPECIFIC = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})


def malformation(headers: list[Header]) -> str:
    """What is wrong with the header list of a request; empty if nothing is."""
    problem = _names_problem(tuple([name for name, _ in headers]))
    if not problem and _FORBIDDEN_IN_VALUE.search("".join([value for _, value in headers])):
        problem = "NUL, CR or LF in a header value"
    return problem


@lru_cache(maxsize=256)
def _names_problem(names: tuple[str, ...]) -> str:
    pseudo = [name for name in names if name.startswith(":")]
    for name in names:
        if not _NAME.fullmatch(name):
            return f"header name {name!r}"
        if name in _CONNECTION_SPECIFIC:
            return f"connection-specific header {name!r}"
    if list(names[: len(pseudo)]) != pseudo:
        return "pseudo-header after a header"
    if len(set(pseudo)) != len(pseudo) or not _REQUIRED <= set(pseudo) <= _PSEUDO:
        return "pseudo-headers missing, repeated or unknown"
    return ""
