"""What is handed to a provider, and what providers answer: data, never exceptions."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from bellhop_server.domain import Micros
from bellhop_server.domain.application import Credential, ProviderSecret
from bellhop_server.domain.device import ApnsEnvironment, Found
from bellhop_server.domain.notification import Notification, Priority

# Seconds after a device was marked in the fence within which its request may still be handed over; within which the
# answer to one that was handed over may come; and that a worker holds a batch, so that nobody doubts what its holder
# may yet learn.
HANDOVER = 8.0
ANSWER = 10.0
LEASE = HANDOVER + ANSWER + 10.0


class Verdict(Enum):
    """One answer of any provider, or of the way to it."""

    ACCEPTED = "accepted"
    TOKEN_INVALID = "token invalid"  # noqa: S105 - a verdict, not a password
    TOKEN_GONE_SINCE = "token gone since"  # noqa: S105 - a verdict, not a password
    TOKEN_MISMATCH = "token mismatch"  # noqa: S105 - a verdict, not a password
    TOKEN_DOUBTED = "token doubted"  # noqa: S105 - a verdict, not a password
    PAYLOAD_INVALID = "payload invalid"
    PAYLOAD_TOO_LARGE = "payload too large"
    THROTTLED_TARGET = "throttled target"
    THROTTLED_SENDER = "throttled sender"
    PROVIDER_UNAVAILABLE = "provider unavailable"
    NOT_SENT = "not sent"
    UNKNOWN = "unknown"
    CREDENTIALS_INVALID = "credentials invalid"
    CONFIG_ERROR = "config error"
    NOT_CONFIGURED = "not configured"
    ENDPOINT_BLOCKED = "endpoint blocked"
    ADAPTER_BUG = "adapter bug"


class Answer(NamedTuple):
    """What became of one hand-over.

    TOKEN_DOUBTED: the key that the target was made with is refused, though it is taken elsewhere; the result is
    TOKEN_MISMATCH, but the target is believed for a while.

    `status` is the provider's HTTP status, 0 without an answer; `reason` its own word or ours; `retry_after` seconds
    that the provider asked for; `invalid_since` when it says the token died, 0 when it does not.
    """

    verdict: Verdict
    status: int = 0
    reason: str = ""
    provider_message_id: str = ""
    retry_after: float | None = None
    invalid_since: Micros = 0


class Reading(NamedTuple):
    """What a hand-over is decided by, as it is now: the devices by id, whether their message has been cancelled, and
    the credentials of the application.
    """

    devices: dict[str, Found]
    cancelled: bool
    credentials: list[Credential]


class Delivery(NamedTuple):
    """One hand-over: address and supplement of the target, the id by which the provider may know it again on a resend
    (a UUID), when it shall stop trying, and the stamp for its binding; empty: none.
    """

    address: str
    supplement: str
    provider_message_id: str
    expire_time: Micros
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Deliveries of one message to one provider under one credential; with APNs, to one topic in one environment, with
    Web Push to subscriptions made with one VAPID key.

    `message_id` empty: it is no message of anybody, and an app has nothing to report of it. Either all deliveries have
    a stamp or none has.

    `deadline` (monotonic seconds): a request that has not been handed over by then must never be written and is
    answered NOT_SENT. `now_or_never`: ttl 0, the provider shall not keep it, whatever `expire_time` says.
    """

    app_id: str
    credential_id: str
    credential_version: int
    credential: ProviderSecret
    notification: Notification
    priority: Priority
    now_or_never: bool
    deliveries: list[Delivery]
    deadline: float
    apns_topic: str = ""
    apns_environment: ApnsEnvironment | None = None
    vapid_public_key: str = ""
    message_id: str = ""

    @property
    def stamped(self) -> bool:
        """Whether its deliveries have stamps."""
        return bool(self.deliveries and self.deliveries[0].stamp)


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """A request to a provider as it would travel, secrets cut. `body` is text, before encryption for Web Push;
    `body_size` and `body_limit` in bytes, of the body as it would travel and as the provider allows.
    """

    url: str
    headers: dict[str, str]
    body: str
    body_size: int
    body_limit: int
