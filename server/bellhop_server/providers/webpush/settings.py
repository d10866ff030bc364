"""Which push services may be called, and whom to trust there."""

from dataclasses import dataclass, field
from pathlib import Path

from bellhop_server.providers.webpush.hosts import Hosts


@dataclass(frozen=True, slots=True)
class WebPushSettings:
    """`hosts` as `Hosts.parse` reads it. `ca_file` (PEM) holds the only authorities that certificates may come from;
    None: the system's. Raises ValueError for hosts that cannot be used.
    """

    hosts: str = "known"
    ca_file: Path | None = None
    allowed: Hosts = field(init=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "allowed", Hosts.parse(self.hosts))
        except ValueError as error:
            raise ValueError(f"A host of Web Push: {error}") from None
