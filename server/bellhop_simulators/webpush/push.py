"""One push as it came (RFC 8030 section 5), read once for whichever persona judges it; and what that answers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bellhop_simulators.http.request import Header
from bellhop_simulators.webpush.browser import BrowserSubscription
from bellhop_simulators.webpush.decryption import sender_key
from bellhop_simulators.webpush.vapid import Vapid

MAX_BODY = 4096
"""Octets of a body that every push service has to take (section 7.2), and the most that these do."""
MAX_TTL = 2_592_000
"""Seconds, 30 days: longer ones are cut by Mozilla and Apple."""

_URGENCIES = frozenset({"very-low", "low", "normal", "high"})
_NUMBER = re.compile(r"-?[0-9]+")
_HUGE_TTL = 2**31
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_SINGLE = frozenset({"authorization", "content-encoding", "crypto-key", "encryption", "topic", "ttl", "urgency"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a persona answers. `reason` goes into the journal; `ttl`, with 201, is how long it keeps the message."""

    status: int
    reason: str = ""
    headers: Sequence[Header] = ()
    body: bytes = b""
    ttl: int = 0


@dataclass(frozen=True, slots=True)
class Push:
    """A request to an endpoint. `subscription` is None if the simulator never handed the endpoint out."""

    message_id: str
    """A UUID in upper case."""
    method: str
    authority: str
    """Host and port that were called, in lower case, without the port that goes without saying."""
    path: str
    headers: dict[str, str]
    """Of a repeated header the last."""
    repeated: str
    """A header that came twice and may not; empty if none did."""
    body: bytes
    size: int
    """Octets of the body; `body` may be cut."""
    token: str
    """What names the subscription; empty if the path is no endpoint that was handed out or could have been."""
    vapid: Vapid
    subscription: BrowserSubscription | None

    @property
    def ttl(self) -> int | None:
        """Seconds; negative as sent; 2^31 for all above; None if missing or no integer."""
        text = self.headers.get("ttl", "")
        if not _NUMBER.fullmatch(text):
            return None
        digits = text.lstrip("-").lstrip("0") or "0"
        number = _HUGE_TTL if len(digits) > 10 else min(int(digits), _HUGE_TTL)
        return -number if text.startswith("-") else number

    @property
    def urgency(self) -> str:
        """As sent; `normal` by default."""
        return self.headers.get("urgency", "normal")

    @property
    def topic(self) -> str | None:
        """As sent."""
        return self.headers.get("topic")

    @property
    def urgency_known(self) -> bool:
        """Whether it is one of section 5.3."""
        return self.urgency in _URGENCIES

    @property
    def topic_fits(self) -> bool:
        """Whether there is none, or one as in section 5.4."""
        return self.topic is None or _TOPIC.fullmatch(self.topic) is not None

    @property
    def too_large(self) -> bool:
        """Whether the body is."""
        return self.size > MAX_BODY

    @property
    def encoding_problem(self) -> str:
        """What is wrong with how the body says it is encrypted; empty if nothing is."""
        if not self.size:
            return ""
        encoding = self.headers.get("content-encoding")
        if encoding is None:
            return "Content-Encoding is missing"
        if encoding != "aes128gcm":
            return f"Content-Encoding {encoding} is not known"
        if "salt=" in self.headers.get("encryption", "") or "dh=" in self.headers.get("crypto-key", ""):
            return "aes128gcm takes no salt and no dh in headers"
        return ""

    @property
    def signs_with_its_ecdh_key(self) -> bool:
        """Whether the VAPID key is the one the body was encrypted with (RFC 8292 forbids it)."""
        return bool(self.vapid.public_key) and sender_key(self.body) == self.vapid.public_key

    @property
    def key_fits(self) -> bool:
        """Whether the VAPID key is the `applicationServerKey` of the subscription, if both are known."""
        bound = self.subscription.application_server_key if self.subscription else None
        return bound is None or bound == self.vapid.public_key


def repeated_header(headers: Sequence[Header]) -> str:
    """The first header that came twice and may not; empty if none did."""
    seen: set[str] = set()
    for name, _ in headers:
        if name in seen:
            return name
        if name in _SINGLE:
            seen.add(name)
    return ""
