"""The browsers that subscribed at a simulated push service."""

import secrets
from collections.abc import Iterator
from typing import TypeVar
from urllib.parse import unquote

from bellhop_simulators.clock import Clock
from bellhop_simulators.webpush import base64url
from bellhop_simulators.webpush.browser import BrowserSubscription
from bellhop_simulators.webpush.decryption import public_key
from bellhop_simulators.webpush.personas import PERSONAS, persona_of

Browser = TypeVar("Browser", bound=BrowserSubscription)


class Subscriptions:
    """All that were handed out, also those that are over."""

    def __init__(self, clock: Clock) -> None:
        self.origin = ""
        """`https://host:port` of the endpoints; empty until the simulator listens."""
        self._clock = clock
        self._by_id: dict[str, BrowserSubscription] = {}
        self._by_path: dict[str, BrowserSubscription] = {}
        self._tokens: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[BrowserSubscription]:
        return iter(self._by_id.values())

    def subscribe(
        self,
        persona: str = "mozilla",
        application_server_key: str | None = None,
        *,
        kind: type[Browser] = BrowserSubscription,  # type: ignore[assignment]  # a TypeVar has no default in Python 3.11
    ) -> Browser:
        """Subscribe a browser of `persona`: `mozilla`, `fcm`, `apple` or `wns`.

        `application_server_key` is the VAPID public key, base64url, that alone may send; None: any may. `kind` may be a
        class of yours that passes messages on, to a browser that holds its keys itself.

        Raises:
            ValueError: no such persona, or the key is no P-256 point of 65 octets.
        """
        assert self.origin, "enter the simulator first"
        if persona not in PERSONAS:
            raise ValueError(f"persona {persona!r} is none of {', '.join(PERSONAS)}")
        key = None
        if application_server_key is not None:
            key = base64url.decode(application_server_key)
            public_key(key)
        subscription_id = secrets.token_hex(16)
        path = PERSONAS[persona].path(subscription_id, bound=key is not None)
        subscription = kind(subscription_id, persona, self.origin + path, key, self._clock)
        self._by_id[subscription_id] = self._by_path[path] = subscription
        self._tokens.add(_identity(path))
        return subscription

    def get(self, subscription_id: str) -> BrowserSubscription | None:
        """The subscription with this id."""
        return self._by_id.get(subscription_id)

    def at(self, path: str) -> BrowserSubscription | None:
        """The subscription whose endpoint has exactly this path and query."""
        return self._by_path.get(path)

    def is_garbled(self, path: str) -> bool:
        """Whether `path` is an endpoint that was handed out, but for escapes or the version in it."""
        return path not in self._by_path and _identity(path) in self._tokens


def _identity(path: str) -> tuple[str, str]:
    persona = persona_of(path)
    return (persona.name, unquote(persona.token(path))) if persona else ("", "")
