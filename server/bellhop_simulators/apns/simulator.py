"""An APNs on this machine: Apple's provider API over TLS and HTTP/2, production and sandbox on a port each.

    async with ApnsSimulator() as apns:
        ...  # send to apns.url, trusting apns.ca_file, with a provider token of apns.key
        apns.faults.add({"status": 503}, {"every": 10})
        entries = await apns.journal.wait_for(3, status=200)

It refuses what Apple refuses (`rules`, `provider_tokens`) and keeps Apple's limits (`ConcurrencyPolicy`): one
stream at a time until a request was authenticated, then a thousand; one again after a 400 or 403, until the next 200.
Not simulated: broadcast channels (404 BadPath) and client certificates.
"""

from collections.abc import Sequence
from functools import partial

from bellhop_simulators.apns.concurrency import ConcurrencyPolicy
from bellhop_simulators.apns.conversation import ApnsConversation
from bellhop_simulators.apns.devices import ApnsDevices
from bellhop_simulators.apns.keys import ApnsKey, ApnsKeys
from bellhop_simulators.apns.world import ApnsWorld
from bellhop_simulators.authority import Authority
from bellhop_simulators.clock import Clock, SystemClock
from bellhop_simulators.faults.script import Faults
from bellhop_simulators.journal import Journal
from bellhop_simulators.serving.endpoint import Endpoint
from bellhop_simulators.serving.simulator import Simulator

DEFAULT_TOPICS = ("com.example.app",)


class ApnsSimulator(Simulator[ApnsWorld]):
    """The simulator; listens while it is entered."""

    def __init__(
        self,
        *,
        topics: Sequence[str] = DEFAULT_TOPICS,
        host: str = "127.0.0.1",
        port: int = 0,
        sandbox_port: int = 0,
        clock: Clock | None = None,
        journal: Journal | None = None,
        faults: Faults | None = None,
        authority: Authority | None = None,
        concurrency: ConcurrencyPolicy | None = None,
    ) -> None:
        """Make `key` for the bundle ids `topics`. Port 0 takes a free port; without `authority` a CA is made."""
        world = ApnsWorld(
            clock or SystemClock(),
            Journal() if journal is None else journal,
            Faults() if faults is None else faults,
            concurrency or ConcurrencyPolicy(),
        )
        super().__init__(world, host, authority)
        self._production = self._listen(self._endpoint("production"), port)
        self._sandbox = self._listen(self._endpoint("sandbox"), sandbox_port)
        self.key: ApnsKey = self.keys.add(topics)

    def _endpoint(self, environment: str) -> Endpoint:
        return Endpoint(
            self._world,
            partial(ApnsConversation, self._world, environment),
            environment=environment,
            versions=["HTTP/2"],
            enforcement=self._world.concurrency.enforcement,
        )

    @property
    def devices(self) -> ApnsDevices:
        """The phones."""
        return self._world.devices

    @property
    def keys(self) -> ApnsKeys:
        """The `.p8` keys."""
        return self._world.keys

    @property
    def url(self) -> str:
        """Where production listens, `https://host:port`."""
        return self._address(self._production)

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox listens."""
        return self._address(self._sandbox)
