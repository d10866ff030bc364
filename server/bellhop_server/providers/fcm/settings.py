"""Where FCM is, and how much of it a project may use."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bellhop_server.providers.origin import Origin

URL = "https://fcm.googleapis.com"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address

# Google: 600,000 messages a minute for a project.
RATE = 10_000.0


@dataclass(frozen=True, slots=True)
class FcmSettings:
    """Google's hosts, or a simulator's; empty URLs are Google's own.

    `ca_file` (PEM) holds the only authorities that certificates may come from; None: the system's. `rate`: messages per
    second for one Firebase project that this process sends at most.
    Raises ValueError for an URL or a rate that cannot be used.
    """

    url: str = ""
    token_url: str = ""
    ca_file: Path | None = None
    rate: float = RATE
    origin: Origin = field(init=False)
    token_origin: Origin = field(init=False)
    token_path: str = field(init=False)

    def __post_init__(self) -> None:
        token_url = self.token_url or TOKEN_URL
        object.__setattr__(self, "token_url", token_url)
        try:
            object.__setattr__(self, "origin", Origin.parse(self.url or URL))
            parts = urlsplit(token_url)
            if parts.query or parts.fragment:
                raise ValueError("has more than a host, a port and a path")
            object.__setattr__(self, "token_origin", Origin.parse(f"{parts.scheme}://{parts.netloc}"))
            object.__setattr__(self, "token_path", parts.path or "/")
        except ValueError as error:
            raise ValueError(f"The URL of FCM or of its token endpoint {error}") from None
        if not self.rate >= 1:
            raise ValueError("The rate of FCM is less than one message per second")
