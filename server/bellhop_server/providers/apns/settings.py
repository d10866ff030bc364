"""Where APNs is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from bellhop_server.domain.device import ApnsEnvironment

PRODUCTION_URL = "https://api.push.apple.com:443"
SANDBOX_URL = "https://api.sandbox.push.apple.com:443"

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


@dataclass(frozen=True, slots=True)
class ApnsSettings:
    """Apple's hosts, or a simulator's. Empty URLs are Apple's own, but a sandbox without one is where production is.

    `ca_file` (PEM) holds the only authorities that certificates may come from; None: the system's.
    Raises ValueError for an URL that cannot be used.
    """

    url: str = ""
    sandbox_url: str = ""
    ca_file: Path | None = None
    production: Origin = field(init=False)
    sandbox: Origin = field(init=False)

    def __post_init__(self) -> None:
        for name, url in (
            ("production", self.url or PRODUCTION_URL),
            ("sandbox", self.sandbox_url or self.url or SANDBOX_URL),
        ):
            try:
                object.__setattr__(self, name, Origin.parse(url))
            except ValueError as error:
                raise ValueError(f"The URL of APNs {name} {error}") from None

    def origin(self, environment: ApnsEnvironment) -> Origin:
        """Where an environment is."""
        return self.sandbox if environment is ApnsEnvironment.SANDBOX else self.production
