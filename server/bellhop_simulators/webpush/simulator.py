"""The push services of the web on this machine: RFC 8030, 8291 and 8292 over TLS, HTTP/2 or HTTP/1.1.

    async with WebPushSimulator() as push:
        browser = push.subscriptions.subscribe("mozilla", push.key.public_key)
        ...  # push to browser.endpoint, encrypted for browser.p256dh and browser.auth, trusting push.ca_file
        assert browser.messages[0].json() == {"title": "hello"}

One port plays Mozilla, Google (`fcm`), Apple and Microsoft (`wns`), told apart by the path; each refuses what it
refuses in truth, in its own words. An endpoint that was not handed out is a subscription of a stranger: the push is
checked and taken, and nobody can read it.
"""

from collections.abc import Sequence
from typing import Any, Self

from bellhop_simulators.authority import Authority
from bellhop_simulators.clock import Clock, SystemClock
from bellhop_simulators.faults.script import Faults
from bellhop_simulators.http.connection import HttpVersion
from bellhop_simulators.journal import Journal
from bellhop_simulators.serving.simulator import Simulator
from bellhop_simulators.webpush.endpoint import WebPushEndpoint
from bellhop_simulators.webpush.subscriptions import Subscriptions
from bellhop_simulators.webpush.vapid_key import VapidKey
from bellhop_simulators.webpush.world import WebPushWorld


class WebPushSimulator(Simulator[WebPushWorld]):
    """The simulator; listens while it is entered."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        journal: Journal | None = None,
        faults: Faults | None = None,
        authority: Authority | None = None,
        max_concurrent_streams: int = 100,
        versions: Sequence[HttpVersion] = ("HTTP/2", "HTTP/1.1"),
    ) -> None:
        """Make the VAPID key `key`. Port 0 takes a free port; without `authority` a CA is made.

        `versions` of HTTP are spoken, the first one rather than the next.
        """
        world = WebPushWorld(
            clock or SystemClock(),
            Journal() if journal is None else journal,
            Faults() if faults is None else faults,
            max_concurrent_streams,
        )
        super().__init__(world, host, authority)
        self._endpoint = self._listen(WebPushEndpoint(world, versions), port)
        self.key = VapidKey(world.clock)

    @property
    def subscriptions(self) -> Subscriptions:
        """The browsers."""
        return self._world.subscriptions

    @property
    def url(self) -> str:
        """Where it listens, `https://host:port`."""
        return self._address(self._endpoint)

    def credential(self) -> dict[str, Any]:
        """The body of Bellhop's `SetCredential` for `key`, in the JSON form of protobuf, but for `app_id`."""
        return self.key.credential()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.subscriptions.origin = self.url
        return self
