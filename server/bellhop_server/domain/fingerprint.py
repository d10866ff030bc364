"""The fingerprint of a send: equal for requests that mean the same, whatever library wrote them.

It is taken over a canonical form, not over bytes on the wire: maps sorted, lists that are sets sorted and without
repeats, defaults left out so that a field that comes later does not change the fingerprint of a send without it.
"""

import hashlib
import json
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from bellhop_server.domain.message import Audience, Send


def fingerprint(send: Send) -> str:
    """64 hexadecimal digits over audience, notification, options and the chosen message id."""
    canonical = {
        "audience": _audience(send.audience),
        "notification": _plain(send.notification),
        "options": _plain(send.options),
        "message_id": send.message_id,
    }
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
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
        given = ((field.name, getattr(value, field.name)) for field in fields(value) if not _is_default(value, field))
        return {name: _plain(each) for name, each in given}
    return value


def _is_default(owner: Any, field: Field[Any]) -> bool:
    value = getattr(owner, field.name)
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return type(value) is type(default) and bool(value == default)
