"""What the two environments of a simulated APNs share."""

from dataclasses import dataclass, field

from bellhop_simulators.apns_devices import ApnsDevices
from bellhop_simulators.apns_keys import ApnsKeys
from bellhop_simulators.clock import Clock
from bellhop_simulators.connections import Connections
from bellhop_simulators.faults import Faults
from bellhop_simulators.http2_handler import Enforcement
from bellhop_simulators.journal import Journal
from bellhop_simulators.provider_tokens import ProviderTokens


@dataclass(frozen=True, slots=True)
class ConcurrencyPolicy:
    """How many streams a connection may have open at once."""

    first: int = 1
    """Until a request was authenticated and answered."""
    authenticated: int = 1000
    """After that."""
    drop_after_rejection: bool = True
    """Back to 1 after a 400 or 403, until the next 200."""
    enforcement: Enforcement = "refuse"
    """What becomes of a stream too many."""

    def limit(self, *, authenticated: bool, rejected: bool) -> int:
        """The limit of a connection that was authenticated, and `rejected` at its latest 200, 400 or 403, or not."""
        if not authenticated:
            return self.first
        return 1 if rejected and self.drop_after_rejection else self.authenticated


@dataclass(eq=False)
class ApnsWorld:
    """Keys, phones, faults and records."""

    clock: Clock
    journal: Journal
    concurrency: ConcurrencyPolicy
    faults: Faults = field(default_factory=Faults)
    connections: Connections = field(default_factory=Connections)
    keys: ApnsKeys = field(init=False)
    devices: ApnsDevices = field(init=False)
    provider_tokens: ProviderTokens = field(init=False)

    def __post_init__(self) -> None:
        self.keys = ApnsKeys(self.clock)
        self.devices = ApnsDevices(self.clock)
        self.provider_tokens = ProviderTokens(self.keys, self.clock)
