"""What the connections of a simulated FCM share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bellhop_simulators.fcm.access_tokens import AccessTokens
from bellhop_simulators.fcm.devices import FcmDevices
from bellhop_simulators.fcm.service_accounts import ServiceAccounts
from bellhop_simulators.serving.world import World


@dataclass(eq=False)
class FcmWorld(World):
    """Accounts, access tokens and app instances as well; `token_url` tells where to get a token, once it listens."""

    token_url: Callable[[], str]
    max_concurrent_streams: int
    devices: FcmDevices = field(default_factory=FcmDevices, init=False)
    accounts: ServiceAccounts = field(init=False)
    access_tokens: AccessTokens = field(init=False)

    def __post_init__(self) -> None:
        self.accounts = ServiceAccounts(self.token_url)
        self.access_tokens = AccessTokens(self.accounts, self.clock)
