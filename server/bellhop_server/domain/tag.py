"""Tags: topics that devices and users subscribe to."""

import hashlib
import json
from dataclasses import dataclass
from enum import IntEnum

from bellhop_server.domain import DAY, Micros

BUILT_IN = "Push.ALL"
"""Every device has it, and nobody subscribes to it."""
TAGS = 10_000
"""Of an application."""
SUBSCRIPTIONS = 1_000
"""Of a device or a user."""
REMOVED_LIFE: Micros = 28 * DAY
"""How long it is known that a subscription has ended: what is planned later than the longest ttl has expired."""


class SubscriptionOutcome(IntEnum):
    """What happened to one tag of a Subscribe or Unsubscribe."""

    CREATED = 1
    EXISTED = 2
    REMOVED = 3
    NOT_SUBSCRIBED = 4
    TAG_NOT_FOUND = 5


@dataclass(frozen=True, slots=True)
class Tag:
    """A topic. `subscription_count` None: nobody asked."""

    app_id: str
    tag_name: str
    description: str
    create_time: Micros
    update_time: Micros
    subscription_count: int | None = None


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A device or a user; the other one is empty."""

    app_id: str
    device_id: str = ""
    user_id: str = ""

    def subscription_id(self, tag_name: str) -> str:
        """32 hexadecimal digits: the same for the same subscriber and tag. Those of one tag lie together."""
        return id_prefix(tag_name) + _digest(self.app_id, self.device_id, self.user_id)[:24]


def id_prefix(tag_name: str) -> str:
    """What the ids of its subscriptions begin with, and hardly any others."""
    return _digest(tag_name)[:8]


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscriber on a tag."""

    subscription_id: str
    subscriber: Subscriber
    tag_name: str
    create_time: Micros


@dataclass(frozen=True, slots=True)
class SubscriptionChange:
    """What became of one tag; `subscription` as it is or was, None: there is none."""

    tag_name: str
    outcome: SubscriptionOutcome
    subscription: Subscription | None = None


@dataclass(frozen=True, slots=True)
class SubscriptionQuery:
    """Filters of a list, joined by "and"; empty: no filter. `device_id`: what reaches it, its user's included, as of
    `now`.
    """

    app_id: str
    now: Micros
    device_id: str = ""
    user_id: str = ""
    tag_name: str = ""
    subscription_id: str = ""
