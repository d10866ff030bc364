"""What the two environments of a simulated APNs share."""

from dataclasses import dataclass, field

from bellhop_simulators.apns.concurrency import ConcurrencyPolicy
from bellhop_simulators.apns.connections import Connections
from bellhop_simulators.apns.devices import ApnsDevices
from bellhop_simulators.apns.keys import ApnsKeys
from bellhop_simulators.apns.provider_tokens import ProviderTokens
from bellhop_simulators.clock import Clock
from bellhop_simulators.faults.script import Faults
from bellhop_simulators.journal import Journal


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
