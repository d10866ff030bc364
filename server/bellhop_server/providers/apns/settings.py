"""Where APNs is."""

from dataclasses import dataclass, field
from pathlib import Path

from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.providers.origin import Origin

PRODUCTION_URL = "https://api.push.apple.com:443"
SANDBOX_URL = "https://api.sandbox.push.apple.com:443"


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
