"""A simulated browser: its subscription, its private key, and the messages that reached it."""

import json
import secrets
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec

from bellhop_simulators.clock import Clock
from bellhop_simulators.webpush import base64url
from bellhop_simulators.webpush.decryption import decrypt, public_bytes

State = Literal["subscribed", "unsubscribed", "expired"]


@dataclass(frozen=True, slots=True)
class BrowserMessage:
    """What a service worker gets, and the headers that it came with."""

    message_id: str
    data: bytes | None
    """Decrypted; None if the push had no body."""
    ttl: int
    """Seconds, as the push service kept it."""
    urgency: str
    topic: str | None
    time: float
    """When the push service took it, seconds since the epoch by the simulator's clock."""

    @property
    def text(self) -> str | None:
        """`data` as text; octets that are not UTF-8 are replaced."""
        return None if self.data is None else self.data.decode("utf-8", "replace")

    def json(self) -> Any:
        """`data` decoded from JSON.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.data or b"")

    def to_json(self) -> dict[str, Any]:
        """For the control call: `data` in base64url, and `text`."""
        return {
            "id": self.message_id,
            "data": None if self.data is None else base64url.encode(self.data),
            "text": self.text,
            "ttl": self.ttl,
            "urgency": self.urgency,
            "topic": self.topic,
            "time": self.time,
        }


@dataclass(frozen=True, slots=True)
class _Stored:
    message: BrowserMessage
    readable: bool

    def expires(self) -> float:
        return self.message.time + self.message.ttl


class BrowserSubscription:
    """What `PushManager.subscribe()` resolves to, seen from the browser's side."""

    def __init__(
        self, subscription_id: str, persona: str, endpoint: str, application_server_key: bytes | None, clock: Clock
    ) -> None:
        self.subscription_id = subscription_id
        self.persona = persona
        self.endpoint = endpoint
        """Where to push to."""
        self.application_server_key = application_server_key
        """65 octets, or None: any key may send."""
        self.private_key = ec.generate_private_key(ec.SECP256R1())
        self.auth_secret = secrets.token_bytes(16)
        self.messages: list[BrowserMessage] = []
        """What was shown, in order: decrypted, and not what could not be."""
        self.state: State = "subscribed"
        self._online = True
        self._stored: list[_Stored] = []
        self._clock = clock

    @property
    def p256dh(self) -> str:
        """The public key, base64url."""
        return base64url.encode(public_bytes(self.private_key.public_key()))

    @property
    def auth(self) -> str:
        """The authentication secret, base64url."""
        return base64url.encode(self.auth_secret)

    def to_json(self) -> dict[str, Any]:
        """As `PushSubscription.toJSON()`."""
        return {
            "endpoint": self.endpoint,
            "expirationTime": None,
            "keys": {"p256dh": self.p256dh, "auth": self.auth},
        }

    def unsubscribe(self) -> None:
        """The user took the permission away, or the page unsubscribed: 410 from now on."""
        self._end("unsubscribed")

    def expire(self) -> None:
        """The push service gave the subscription up: 404 from now on."""
        self._end("expired")

    def set_offline(self) -> None:
        """Messages are stored from now on, each until its TTL has passed or one of the same Topic replaces it."""
        self._online = False

    def set_online(self) -> list[BrowserMessage]:
        """Deliver what is stored and has not expired; returns it."""
        self._online = True
        arrived = self.stored
        self.messages += arrived
        self._stored.clear()
        return arrived

    @property
    def stored(self) -> list[BrowserMessage]:
        """What waits for the browser and could be shown, in order."""
        now = self._clock.now()
        return [kept.message for kept in self._stored if kept.expires() > now and kept.readable]

    def decrypt(self, body: bytes) -> bytes:
        """The plaintext of a push.

        Raises:
            UndecryptableError: the browser would drop it.
        """
        return decrypt(body, self.private_key, self.auth_secret)

    def deliver(self, message: BrowserMessage, *, readable: bool) -> None:
        """Take an accepted message; one that is not `readable` takes its place in the store but is never shown."""
        if self.state != "subscribed":
            return
        if self._online:
            if readable:
                self.messages.append(message)
            return
        now = self._clock.now()
        self._stored = [
            kept
            for kept in self._stored
            if kept.expires() > now and (message.topic is None or kept.message.topic != message.topic)
        ]
        if message.ttl > 0:  # 0: one attempt, which failed.
            self._stored.append(_Stored(message, readable))

    def withdraw(self, message_id: str) -> None:
        """Forget a message that still waits."""
        self._stored = [kept for kept in self._stored if kept.message.message_id != message_id]

    def _end(self, state: State) -> None:
        self.state = state
        self._stored.clear()
