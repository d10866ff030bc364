"""What people did with notifications, as their devices report it."""

from dataclasses import dataclass
from enum import IntEnum

from bellhop_server.domain import Micros


class Interaction(IntEnum):
    """What a person did with a notification."""

    SEEN = 1
    OPENED = 2
    DISMISSED = 3


@dataclass(frozen=True, slots=True)
class InteractionCount:
    """How many devices of a network reported an interaction with a message."""

    platform: int
    interaction: Interaction
    count: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a device says of a message. `occur_time` by the device's clock, `now` by ours."""

    app_id: str
    message_id: str
    device_id: str
    interaction: Interaction
    occur_time: Micros
    now: Micros
