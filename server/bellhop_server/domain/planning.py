"""Audiences on their way to becoming batches."""

from collections.abc import Sequence
from dataclasses import dataclass

from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.batch import BATCH_SIZE, Item, NewBatch
from bellhop_server.domain.message import Audience, AudienceKind, Message, Result
from bellhop_server.domain.notification import Priority


@dataclass(frozen=True, slots=True)
class AudiencePage:
    """Some devices of an audience. `missing` are named ids that have nothing to send to. `after` None: the end."""

    items: list[Item]
    missing: list[Result]
    after: str | None


@dataclass(frozen=True, slots=True)
class Planning:
    """A message whose audience is not wholly resolved.

    `after` is where to go on ("" at the start), `device_count` how many devices have been planned before.
    """

    message: Message
    after: str
    device_count: int


# Devices of one message that have a turn in each second from its start: that much of a broadcast comes before whatever
# is sent after it, and the rest behind, for as long as there is anything else to do in the lane.
PACE = 1000


# Named users or devices up to which an audience is resolved as the message is accepted.
SMALL = 100


def is_small(audience: Audience) -> bool:
    """Whether an audience is resolved at once, rather than page by page behind those of other messages."""
    return audience.kind in (AudienceKind.USERS, AudienceKind.DEVICES) and len(audience.ids) <= SMALL


def batches_of(items: Sequence[Item], fire_time: Micros, priority: Priority, position: int) -> list[NewBatch]:
    """Batches for the items of a page, before which `position` others of the message were planned."""
    return [
        NewBatch(list(items[start : start + BATCH_SIZE]), turn(fire_time, position + start), priority)
        for start in range(0, len(items), BATCH_SIZE)
    ]


def turn(fire_time: Micros, position: int) -> Micros:
    """The turn of a batch whose first device has that position among those planned: a time, the earlier the sooner.

    A message to one person goes before all but the beginning of a broadcast that was sent earlier, and of two
    broadcasts the one that has got less by now is next. Nothing waits for ever: time goes on, and turns do not.
    """
    return fire_time + position * SECOND // PACE
