"""What is kept of a message's content: audience and notification as one compact JSON text with a version."""

import json
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, TypeVar

from bellhop_server.domain.device import Platform
from bellhop_server.domain.message import Audience, AudienceKind
from bellhop_server.domain.notification import (
    ApnsOverride,
    ApnsPushType,
    FcmOverride,
    Notification,
    Priority,
    WebPushOverride,
)

Override = ApnsOverride | FcmOverride | WebPushOverride
T = TypeVar("T", Audience, Notification, ApnsOverride, FcmOverride, WebPushOverride)

VERSION = 1
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

# How JSON's lists and numbers become what a field holds.
_READ: dict[type, dict[str, Any]] = {
    Audience: {
        "kind": AudienceKind,
        "ids": tuple,
        "platforms": lambda values: tuple(Platform(value) for value in values),
        "exclude_user_ids": tuple,
    },
    Notification: {
        "apns": lambda value: _read(ApnsOverride, value),
        "fcm": lambda value: _read(FcmOverride, value),
        "web_push": lambda value: _read(WebPushOverride, value),
    },
    ApnsOverride: {
        "title_loc_args": tuple,
        "loc_args": tuple,
        "push_type": ApnsPushType,
        "priority": Priority,
    },
    FcmOverride: {"priority": Priority},
    WebPushOverride: {"priority": Priority},
}


def encode(audience: Audience, notification: Notification) -> str:
    """Leaves out what has its default."""
    body = {"v": VERSION, "audience": _changed(audience), "notification": _changed(notification)}
    return _JSON.encode(body)


def decode(text: str) -> tuple[Audience, Notification]:
    """What `encode` was given. Raises ValueError for a version that this one does not know."""
    body = json.loads(text)
    if body["v"] != VERSION:
        raise ValueError(f"a message body of version {body['v']}")
    return _read(Audience, body["audience"]), _read(Notification, body["notification"])


def _changed(value: Audience | Notification | Override) -> dict[str, Any]:
    changed = {}
    kind: Any = type(value)
    for name, default in _defaults(kind):
        content = getattr(value, name)
        if content != default:
            changed[name] = _changed(content) if isinstance(content, Override) else content
    return changed


@cache
def _defaults(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    """Names and defaults of a noun's fields; nobody changes them."""
    return tuple(
        (each.name, each.default if each.default_factory is MISSING else each.default_factory())
        for each in fields(kind)
    )


def _read(kind: type[T], content: dict[str, Any]) -> T:
    readers = _READ[kind]
    return kind(**{name: readers[name](value) if name in readers else value for name, value in content.items()})
