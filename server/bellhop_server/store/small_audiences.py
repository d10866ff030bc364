"""Small audiences of many messages, resolved by few statements."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from bellhop_server.domain import Micros
from bellhop_server.domain.device import Platform, user_key
from bellhop_server.domain.message import Audience, AudienceKind
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.store.audience import audience_page
from bellhop_server.store.named_audience import (
    DEVICE_WINDOW,
    USER_WINDOW,
    devices_named,
    devices_of_users,
    page_of_devices,
    page_of_users,
)

# Devices of a small audience; with more it is for the planner.
MOST_PLANNED = 1000
# Devices that one statement reads for several messages. With more of them each message reads its own.
_MOST_SHARED = 4 * USER_WINDOW

Small = Mapping[int, tuple[str, Audience]]
"""Application and audience, by the message's number; users or devices, few of them."""


class _Kind(NamedTuple):
    """What may be read together."""

    app_id: str
    kind: AudienceKind
    platforms: tuple[Platform, ...]


def resolve(connection: Connection, small: Small, now: Micros) -> dict[int, AudiencePage]:
    """The whole audience of each message; those that have too many devices for that are left out."""
    kinds: dict[_Kind, dict[int, Audience]] = defaultdict(dict)
    for ref, (app_id, audience) in small.items():
        platforms = audience.platforms if audience.kind is AudienceKind.USERS else ()
        kinds[_Kind(app_id, audience.kind, platforms)][ref] = audience
    resolved: dict[int, AudiencePage] = {}
    for kind, audiences in kinds.items():
        if len(audiences) == 1:
            shared: dict[int, AudiencePage | None] = dict.fromkeys(audiences)
        elif kind.kind is AudienceKind.USERS:
            shared = _of_users(connection, kind, audiences, now)
        else:
            shared = _of_devices(connection, kind, audiences, now)
        for ref, page in shared.items():
            if page is None:
                page = audience_page(connection, kind.app_id, audiences[ref], "", MOST_PLANNED, now)
            if page.after is None and len(page.items) + len(page.missing) <= MOST_PLANNED:
                resolved[ref] = page
    return resolved


def _of_users(
    connection: Connection, kind: _Kind, audiences: Mapping[int, Audience], now: Micros
) -> dict[int, AudiencePage | None]:
    """None: its devices have to be read apart from the others'."""
    named = {
        ref: sorted((user_key(user), user) for user in set(audience.ids).difference(audience.exclude_user_ids))
        for ref, audience in audiences.items()
    }
    rows: dict[str, list[Sequence[Any]]] = {}
    for window in _windows(sorted({user for users in named.values() for user in users}), USER_WINDOW):
        found = devices_of_users(connection, kind.app_id, kind.platforms, window, "", _MOST_SHARED, now)
        # A full answer may have been cut within the devices of its last user.
        end = bytes.fromhex(found[-1][0]) if len(found) == _MOST_SHARED else None
        for key, _ in window[: len(window) if end is None else bisect_left(window, (end, ""))]:
            rows[key.hex()] = []
        for key_hex, *row in found:
            if key_hex in rows:
                rows[key_hex].append(row)
    return {
        ref: page_of_users(users, rows) if all(key.hex() in rows for key, _ in users) else None
        for ref, users in named.items()
    }


def _of_devices(
    connection: Connection, kind: _Kind, audiences: Mapping[int, Audience], now: Micros
) -> dict[int, AudiencePage | None]:
    named = {ref: sorted(set(audience.ids)) for ref, audience in audiences.items()}
    found: dict[str, Sequence[Any]] = {}
    for window in _windows(sorted({device_id for ids in named.values() for device_id in ids}), DEVICE_WINDOW):
        found.update((row[0], row) for row in devices_named(connection, kind.app_id, window, now))
    return {ref: page_of_devices(audiences[ref], ids, found) for ref, ids in named.items()}


def _windows(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
