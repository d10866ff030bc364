"""The way to one push service."""

from bellhop_server.ports import Clock
from bellhop_server.providers.account import Account
from bellhop_server.providers.line import Line
from bellhop_server.providers.pool import Pool
from bellhop_server.providers.webpush.hosts import Endpoint

EVIDENCE_SECONDS = 3600.0
MOST_REFUSALS = 5


class WebPushLine(Line):
    """Connections to one origin, and what it has said of the keys that were shown there.

    A push service that refuses a request for its VAPID key does not say whether the key is at fault or the
    subscription, which may have been made with another. But a key that it took for somebody else within the hour is a
    good one.
    """

    def __init__(self, endpoint: Endpoint, pool: Pool, clock: Clock) -> None:
        super().__init__(pool, clock)
        self.origin = endpoint.origin
        self.host = endpoint.host
        self.head = ((b":method", b"POST"), (b":scheme", b"https"), (b":authority", endpoint.authority.encode()))
        self._clock = clock
        self._taken: dict[Key, float] = {}
        self._refusals: dict[Key, int] = {}

    def key_taken(self, key: "Key") -> None:
        """A push under that key was accepted."""
        self._taken[key] = self._clock.monotonic()
        self._refusals.pop(key, None)

    def key_is_good(self, key: "Key") -> bool:
        """Whether one was accepted within the hour."""
        taken = self._taken.get(key)
        return taken is not None and self._clock.monotonic() - taken < EVIDENCE_SECONDS

    def key_refused(self, key: "Key") -> bool:
        """A push under a key that nobody has seen accepted was refused; whether that has happened too often in a row to
        be the fault of single subscriptions."""
        self._refusals[key] = self._refusals.get(key, 0) + 1
        return self._refusals[key] >= MOST_REFUSALS

    def leave(self, account: "Account[WebPushLine]") -> None:
        """The account sends no more."""
        self.accounts.discard(account)
        for key in [key for key in self._taken if key[0] is account]:
            del self._taken[key]
        for key in [key for key in self._refusals if key[0] is account]:
            del self._refusals[key]


Key = tuple[Account[WebPushLine], str]
"""Whose key, and which."""
