"""What the two environments of a simulated APNs share."""

from dataclasses import dataclass, field

from bellhop_simulators.apns.concurrency import ConcurrencyPolicy
from bellhop_simulators.apns.devices import ApnsDevices
from bellhop_simulators.apns.keys import ApnsKeys
from bellhop_simulators.apns.provider_tokens import ProviderTokens
from bellhop_simulators.serving.world import World


@dataclass(eq=False)
class ApnsWorld(World):
    """Keys and phones as well."""

    concurrency: ConcurrencyPolicy
    keys: ApnsKeys = field(init=False)
    devices: ApnsDevices = field(init=False)
    provider_tokens: ProviderTokens = field(init=False)

    def __post_init__(self) -> None:
        self.keys = ApnsKeys(self.clock)
        self.devices = ApnsDevices(self.clock)
        self.provider_tokens = ProviderTokens(self.keys, self.clock)
