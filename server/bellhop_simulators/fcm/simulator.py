"""An FCM on this machine: Google's HTTP v1 API and its access tokens over TLS, HTTP/2 and HTTP/1.1, on one port.

    async with FcmSimulator() as fcm:
        ...  # send to fcm.url, trusting fcm.ca_file, with fcm.account.service_account_json
        fcm.faults.add({"status": 503, "retry_after": 2}, {"every": 10})
        entries = await fcm.journal.wait_for(3, provider="fcm", status=200)

It refuses what Google refuses: assertions (`access_tokens`), requests that do not fit the schema (`schema`) or the
rules (`rules`), tokens that are gone (`devices`). Not simulated: subscriptions, so a topic reaches nobody.
"""

from functools import partial

from bellhop_simulators.authority import Authority
from bellhop_simulators.clock import Clock, SystemClock
from bellhop_simulators.faults.script import Faults
from bellhop_simulators.fcm.access_tokens import AccessTokens
from bellhop_simulators.fcm.conversation import TOKEN_PATH, FcmConversation
from bellhop_simulators.fcm.devices import FcmDevices
from bellhop_simulators.fcm.service_accounts import ServiceAccount, ServiceAccounts, first_key
from bellhop_simulators.fcm.world import FcmWorld
from bellhop_simulators.journal import Journal
from bellhop_simulators.serving.endpoint import Endpoint
from bellhop_simulators.serving.simulator import Simulator

DEFAULT_PROJECT = "example-project"


class FcmSimulator(Simulator[FcmWorld]):
    """The simulator; listens while it is entered."""

    def __init__(
        self,
        *,
        project_id: str = DEFAULT_PROJECT,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        journal: Journal | None = None,
        faults: Faults | None = None,
        authority: Authority | None = None,
        max_concurrent_streams: int = 100,
    ) -> None:
        """Make `account` of the project. Port 0 takes a free port; without `authority` a CA is made."""
        world = FcmWorld(
            clock or SystemClock(),
            Journal() if journal is None else journal,
            Faults() if faults is None else faults,
            lambda: self.token_url,
            max_concurrent_streams,
        )
        super().__init__(world, host, authority)
        self._endpoint = self._listen(Endpoint(world, partial(FcmConversation, world)), port)
        self.account: ServiceAccount = self.accounts.add(project_id, private_key=first_key())

    @property
    def accounts(self) -> ServiceAccounts:
        """The service accounts."""
        return self._world.accounts

    @property
    def access_tokens(self) -> AccessTokens:
        """Those that were granted."""
        return self._world.access_tokens

    @property
    def devices(self) -> FcmDevices:
        """The app instances."""
        return self._world.devices

    @property
    def url(self) -> str:
        """Where messages go, `https://host:port`; the path is the sender's to add."""
        return self._address(self._endpoint)

    @property
    def token_url(self) -> str:
        """Where access tokens are."""
        return self.url + TOKEN_PATH
