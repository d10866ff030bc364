"""Messages: one accepted send each, whom it is for, and what became of it."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from bellhop_server.domain import DAY, Micros
from bellhop_server.domain.device import Platform
from bellhop_server.domain.notification import Notification, Priority

DEFAULT_TTL: Micros = DAY


class MessageState(IntEnum):
    """Where a message stands."""

    SCHEDULED = 1
    SENDING = 2
    COMPLETED = 3
    CANCELLED = 4


class ResendPolicy(IntEnum):
    """What to do when nobody can know whether a push left."""

    NEVER = 1
    IF_REPLACEABLE = 2
    ALWAYS = 3


class Outcome(IntEnum):
    """What became of a message for one device; always final."""

    ACCEPTED = 1
    TOKEN_INVALID = 2
    TOKEN_MISMATCH = 3
    PAYLOAD_INVALID = 4
    PAYLOAD_TOO_LARGE = 5
    EXPIRED = 6
    UNKNOWN = 7
    CREDENTIALS_INVALID = 8
    CONFIG_ERROR = 9
    ENDPOINT_BLOCKED = 10
    INTERNAL = 11
    SUPERSEDED = 12
    SUPPRESSED = 13
    CANCELLED = 14
    NOT_CONFIGURED = 15
    NOT_REGISTERED = 16
    GAVE_UP = 17


class AudienceKind(IntEnum):
    """How an audience names its devices."""

    USERS = 1
    DEVICES = 2
    TAGS = 3
    EVERYONE = 5


class ResultFilter(IntEnum):
    """Which results a stream or a page shows."""

    ALL = 1
    FAILURES = 2
    NONE = 3


@dataclass(frozen=True, slots=True)
class Audience:
    """For whom. `ids` are of users or devices, or names of tags, by `kind`, as given; no platforms: all networks."""

    kind: AudienceKind
    ids: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = ()
    exclude_user_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SendOptions:
    """How a message is handled. `ttl` in microseconds; 0 is now or never. `schedule_time` None: now, as in the past."""

    ttl: Micros = DEFAULT_TTL
    priority: Priority = Priority.NORMAL
    resend: ResendPolicy = ResendPolicy.IF_REPLACEABLE
    schedule_time: Micros | None = None

    def fire_time(self, accept_time: Micros) -> Micros:
        """When the audience is resolved and hand-over begins; what is left of `ttl` counts from then."""
        return accept_time if self.schedule_time is None else max(accept_time, self.schedule_time)


@dataclass(frozen=True, slots=True)
class Send:
    """What a caller asks for. `request_id` and `message_id` empty: none was given."""

    app_id: str
    audience: Audience
    notification: Notification
    options: SendOptions = field(default_factory=SendOptions)
    request_id: str = ""
    message_id: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """What makes it repeatable, the chosen message id before the request id; empty: nothing does."""
        chosen = (message_key(self.message_id),) if self.message_id else ()
        return (*chosen, self.request_id) if self.request_id else chosen


def message_key(message_id: str) -> str:
    """A message id as a key: no request id has a blank, so the two never meet."""
    return f" {message_id}"


@dataclass(frozen=True, slots=True)
class Message:
    """An accepted send as it is kept. `ref` is the store's own number for it, never shown.

    `options.schedule_time` is None where it was not later than `accept_time`. `payload_erased`: `notification` and
    `audience` have been dropped by retention and are empty.
    """

    ref: int
    app_id: str
    message_id: str
    request_id: str
    state: MessageState
    accept_time: Micros
    expire_time: Micros
    complete_time: Micros | None
    audience: Audience
    notification: Notification
    options: SendOptions
    payload_erased: bool = False

    @property
    def fire_time(self) -> Micros:
        """See `SendOptions.fire_time`."""
        return self.options.fire_time(self.accept_time)


@dataclass(frozen=True, slots=True)
class MessageCounts:
    """How many devices, and what became of them. `outcomes` has no NOT_REGISTERED.

    `next_attempt_time` is when the earliest waiting device is tried again.
    """

    device_count: int = 0
    planned: bool = False
    finished_count: int = 0
    retrying_count: int = 0
    not_registered_count: int = 0
    outcomes: dict[tuple[Platform, Outcome], int] = field(default_factory=dict)
    next_attempt_time: Micros | None = None


@dataclass(frozen=True, slots=True)
class MessageEnding:
    """How a message has ended: COMPLETED or CANCELLED, when, and its final numbers."""

    state: MessageState
    complete_time: Micros | None
    counts: MessageCounts


class Result(NamedTuple):
    """What became of a message for one device. A tuple, since a broadcast makes millions of them.

    `platform` 0 for NOT_REGISTERED; `device_id` empty for a named user without a device; `user_id` empty for
    anonymous; `provider_status` 0 when there was no answer; `invalid_since` 0 when the provider did not say.
    """

    device_id: str
    user_id: str
    platform: int
    outcome: Outcome
    reason: str
    provider_status: int
    provider_message_id: str
    attempts: int
    result_time: Micros
    invalid_since: Micros


def shown(results: list[Result], result_filter: ResultFilter) -> list[Result]:
    """Those of some results that pass a filter."""
    match result_filter:
        case ResultFilter.ALL:
            return results
        case ResultFilter.FAILURES:
            return [result for result in results if result.outcome is not Outcome.ACCEPTED]
        case ResultFilter.NONE:
            return []
