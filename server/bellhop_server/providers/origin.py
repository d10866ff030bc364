"""Where a provider's server is."""

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

_HTTPS = 443


@dataclass(frozen=True, slots=True)
class Origin:
    """A host to connect to, and what it is called in requests (`:authority`)."""

    host: str
    port: int
    authority: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Reads `https://host[:port]`. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError("is not an https URL with a host")
        if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("has more than a host and a port")
        port = _HTTPS if parts.port is None else parts.port
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(parts.hostname, port, host if port == _HTTPS else f"{host}:{port}")
