"""A request as it came, over either version of HTTP."""

import re
from dataclasses import dataclass

_PORT = re.compile(r":[0-9]*$")

Header = tuple[str, str]

MAX_BODY = 65_536
"""Octets of a body that are kept; far above what any provider takes."""


@dataclass(slots=True)
class Request:
    """One request. `body` is cut at `MAX_BODY` octets, `size` is what came in all.

    Over HTTP/1.1 `stream_id` is the number of the request on its connection, from 1, and `headers` begin with the
    pseudo-headers that HTTP/2 would have.
    """

    stream_id: int
    headers: list[Header]
    body: bytes = b""
    size: int = 0
    complete: bool = False
    """Whether its end came."""

    def header(self, name: str) -> str | None:
        """The first value of `name`."""
        for candidate, value in self.headers:
            if candidate == name:
                return value
        return None

    @property
    def host(self) -> str:
        """Name or address that the client called, without the port."""
        return _PORT.sub("", self.header(":authority") or "").strip("[]").lower()
