"""What a message shows, network-neutral first, then what only one network knows."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from bellhop_server.domain import Micros


class Priority(IntEnum):
    """How urgent."""

    LOW = 1
    NORMAL = 2
    HIGH = 3


class ApnsPushType(IntEnum):
    """A push type of APNs (apns-push-type)."""

    ALERT = 1
    BACKGROUND = 2
    VOIP = 3
    COMPLICATION = 4
    FILE_PROVIDER = 5
    MDM = 6
    LIVE_ACTIVITY = 7
    LOCATION = 8
    PUSH_TO_TALK = 9
    WIDGETS = 10
    CONTROLS = 11


@dataclass(frozen=True, slots=True)
class ApnsOverride:
    """What only APNs knows; wins over the neutral fields. `ttl` in microseconds."""

    title: str | None = None
    body: str | None = None
    title_loc_key: str = ""
    title_loc_args: tuple[str, ...] = ()
    loc_key: str = ""
    loc_args: tuple[str, ...] = ()
    launch_image: str = ""
    mutable_content: bool = False
    content_available: bool = False
    push_type: ApnsPushType | None = None
    payload: dict[str, Any] = field(default_factory=dict)
    aps: dict[str, Any] = field(default_factory=dict)
    ttl: Micros | None = None
    collapse_key: str | None = None
    priority: Priority | None = None


@dataclass(frozen=True, slots=True)
class FcmOverride:
    """What only FCM knows; wins over the neutral fields. `android` is merged into the v1 message's block of that name
    last. `ttl` in microseconds.
    """

    title: str | None = None
    body: str | None = None
    data_only: bool = False
    data: dict[str, str] = field(default_factory=dict)
    channel_id: str = ""
    icon: str = ""
    color: str = ""
    android: dict[str, Any] = field(default_factory=dict)
    ttl: Micros | None = None
    collapse_key: str | None = None
    priority: Priority | None = None


@dataclass(frozen=True, slots=True)
class WebPushOverride:
    """What only Web Push knows; wins over the neutral fields. `options` are merged into those of `showNotification`
    last; `raw_payload`, where not empty, is the whole body. `ttl` in microseconds.
    """

    title: str | None = None
    body: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    raw_payload: str = ""
    ttl: Micros | None = None
    collapse_key: str | None = None
    priority: Priority | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """What to show. Texts are taken literally. `badge` None leaves the number as it is, 0 clears it."""

    title: str = ""
    subtitle: str = ""
    body: str = ""
    image_url: str = ""
    link: str = ""
    sound: str = ""
    badge: int | None = None
    category: str = ""
    collapse_key: str = ""
    silent: bool = False
    data: dict[str, str] = field(default_factory=dict)
    thread_id: str = ""
    apns: ApnsOverride | None = None
    fcm: FcmOverride | None = None
    web_push: WebPushOverride | None = None
