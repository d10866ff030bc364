"""The fingerprint of a send: equal for requests that mean the same, whatever library wrote them.

It is taken over a canonical form, not over bytes on the wire: maps sorted, lists that are sets sorted and without
repeats, defaults left out so that a field that comes later does not change the fingerprint of a send without it.
"""

import hashlib
import json
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any

from bellhop_server.domain.message import Audience, Send

_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def fingerprint(send: Send) -> str:
    """64 hexadecimal digits over audience, notification, options and the chosen message id."""
    canonical = {
        "audience": _audience(send.audience),
        "notification": _plain(send.notification),
        "options": _plain(send.options),
        "message_id": send.message_id,
    }
    text = _JSON.encode(canonical)
    return hashlib.sha256(text.encode()).hexdigest()


def _audience(audience: Audience) -> dict[str, Any]:
    return {
        "kind": int(audience.kind),
        "ids": sorted(set(audience.ids)),
        "platforms": sorted(set(map(int, audience.platforms))),
        "exclude_user_ids": sorted(set(audience.exclude_user_ids)),
    }


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        given = ((name, getattr(value, name), default) for name, default in _defaults(type(value)))
        return {name: _plain(each) for name, each, default in given if not _is_default(each, default)}
    return value


@cache
def _defaults(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    """Names and defaults of a dataclass's fields; the frozen ones that a send is made of can share them."""
    return tuple(
        (each.name, each.default if each.default_factory is MISSING else each.default_factory())
        for each in fields(kind)
    )


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))
