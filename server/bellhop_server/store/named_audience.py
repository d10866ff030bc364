"""Audiences that name users, devices or everyone, read page by page along an index."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Connection

from bellhop_server.domain import Micros
from bellhop_server.domain.batch import Item
from bellhop_server.domain.device import DeviceState, Platform, user_key
from bellhop_server.domain.message import Audience, Outcome, Result
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.store.bulk import hexadecimal, select_many
from bellhop_server.store.database import Dialect

# Users whose devices one statement reads, and the sizes into which SQLite's list of them is padded, so that few
# different statements are prepared.
USER_WINDOW = 500
_LIST_SIZES = (1, 10, 100, USER_WINDOW)
# Named devices that one statement reads.
DEVICE_WINDOW = 1000

_ITEM = ("device_id", "user_id", "binding_epoch", "target", "platform")

_UNREACHABLE = {DeviceState.DEAD: "DeviceDead", DeviceState.UNVERIFIED: "DeviceUnverified"}


def everyone_page(
    connection: Connection, app_id: str, audience: Audience, after: str, limit: int, now: Micros
) -> AudiencePage:
    """`after` is the last device id of the page before."""
    statement = _everyone_statement(connection.dialect.name, audience.platforms)
    rows = select_many(connection, statement, (app_id, after, limit, now), _ITEM)
    excluded = frozenset(audience.exclude_user_ids)
    items = [item(*row) for row in rows if row[1] not in excluded]
    return AudiencePage(items, [], rows[-1][0] if len(rows) == limit else None)


def devices_page(
    connection: Connection, app_id: str, audience: Audience, after: str, limit: int, now: Micros
) -> AudiencePage:
    """`after` is the last named id of the page before."""
    named = _ordered_devices(audience)
    start = bisect_right(named, after)
    window = named[start : start + min(limit, DEVICE_WINDOW)]
    found = {row[0]: row for row in devices_named(connection, app_id, window, now)}
    page = page_of_devices(audience, window, found)
    ended = start + len(window) == len(named)
    return page if ended else AudiencePage(page.items, page.missing, window[-1])


def page_of_devices(audience: Audience, device_ids: Sequence[str], found: Mapping[str, Sequence[Any]]) -> AudiencePage:
    """What is to be done about these ids, all that an audience names; `found`: rows of `devices_named` by id."""
    excluded = frozenset(audience.exclude_user_ids)
    items: list[Item] = []
    missing: list[Result] = []
    for device_id in device_ids:
        row = found.get(device_id)
        if row is None:
            missing.append(_missing("UnknownDevice", device_id=device_id))
            continue
        *device, state = row
        if device[1] in excluded:
            continue
        if state != DeviceState.ACTIVE:
            missing.append(_missing(_UNREACHABLE[state], device_id=device_id))
        elif audience.platforms and row[4] not in audience.platforms:
            missing.append(_missing("PlatformExcluded", device_id=device_id))
        else:
            items.append(item(*device))
    return AudiencePage(items, missing, None)


def page_of_users(users: Sequence[tuple[bytes, str]], found: Mapping[str, Sequence[Sequence[Any]]]) -> AudiencePage:
    """All devices of users by key; `found`: what makes an item of each, by the key in hexadecimal."""
    items: list[Item] = []
    missing: list[Result] = []
    for key, user in users:
        rows = found[key.hex()]
        items += [item(*row) for row in rows]
        if not rows:
            missing.append(_missing("NoDevice", user_id=user))
    return AudiencePage(items, missing, None)


def users_page(
    connection: Connection, app_id: str, audience: Audience, after: str, limit: int, now: Micros
) -> AudiencePage:
    """`after` is the user key (in hexadecimal) that the page before ended with, then `/device id` if there is more."""
    named = _ordered_users(audience)
    after_key, continued, after_device = after.partition("/")
    place = bytes.fromhex(after_key)
    position = bisect_left(named, (place, ""))
    if after and not continued and position < len(named) and named[position][0] == place:
        position += 1
    items: list[Item] = []
    missing: list[Result] = []
    while position < len(named) and (wanted := limit - len(items) - len(missing)) > 0:
        window = named[position : position + min(wanted, USER_WINDOW)]
        rows = devices_of_users(connection, app_id, audience.platforms, window, after_device, wanted, now)
        items += [item(*row) for _, *row in rows]
        with_devices = {bytes.fromhex(row[0]) for row in rows}
        if after_device:
            with_devices.add(window[0][0])
        # A full answer may have been cut within the devices of its last user.
        complete = bisect_left(window, (bytes.fromhex(rows[-1][0]), "")) if len(rows) == wanted else len(window)
        missing += [_missing("NoDevice", user_id=user) for key, user in window[:complete] if key not in with_devices]
        if complete < len(window):
            return AudiencePage(items, missing, f"{rows[-1][0]}/{rows[-1][1]}")
        position += len(window)
        after_device = ""
    return AudiencePage(items, missing, named[position - 1][0].hex() if position < len(named) else None)


def devices_named(
    connection: Connection, app_id: str, device_ids: Sequence[str], now: Micros
) -> Sequence[Sequence[Any]]:
    """What makes an item, and the state, of each of these devices that is there."""
    statement = _devices_statement(connection.dialect.name)
    ids = json.dumps(device_ids) if connection.dialect.name == "sqlite" else list(device_ids)
    return select_many(connection, statement, (app_id, ids, now), (*_ITEM, "state"))


def devices_of_users(
    connection: Connection,
    app_id: str,
    platforms: tuple[Platform, ...],
    window: Sequence[tuple[bytes, str]],
    after_device: str,
    limit: int,
    now: Micros,
) -> Sequence[Sequence[Any]]:
    """The user key, in hexadecimal, and what makes an item, of reachable devices of some users, sorted by key, and of
    the first of them those behind a device.
    """
    keys = [key for key, _ in window]
    fixed = (app_id, keys[0], after_device, limit, now)
    if connection.dialect.name == "sqlite":
        size = next(size for size in _LIST_SIZES if size >= len(keys))
        statement = _users_statement("sqlite", platforms, size)
        return select_many(
            connection, statement, (*fixed, *keys, *keys[-1:] * (size - len(keys))), ("user_hex", *_ITEM)
        )
    statement = _users_statement("postgresql", platforms, 0)
    return select_many(connection, statement, (*fixed, keys), ("user_hex", *_ITEM))


# The pages of one message come soon after each other, and sorting ten thousand ids takes longer than reading a page.
@lru_cache(maxsize=8)
def _ordered_users(audience: Audience) -> list[tuple[bytes, str]]:
    return sorted((user_key(user_id), user_id) for user_id in set(audience.ids) - set(audience.exclude_user_ids))


@lru_cache(maxsize=8)
def _ordered_devices(audience: Audience) -> list[str]:
    return sorted(set(audience.ids))


def item(
    device_id: str, user_id: str | None, binding_epoch: int, target: str, platform: int, *, by_user: bool = False
) -> Item:
    """What is planned for a device."""
    return Item(device_id, user_id or "", binding_epoch, target, platform, by_user=by_user)


def _target(dialect: Dialect) -> str:
    """As items name it: the first 16 hexadecimal digits of its digest."""
    return f"{hexadecimal(dialect, 'substr(target_digest, 1, 8)')} AS target"


def _missing(reason: str, device_id: str = "", user_id: str = "") -> Result:
    return Result(device_id, user_id, 0, Outcome.NOT_REGISTERED, reason, 0, "", 0, 0, 0)


@cache
def _everyone_statement(dialect: Dialect, platforms: tuple[Platform, ...]) -> str:
    statement = f"""SELECT device_id, {_bound_user("$4")} AS user_id, binding_epoch, {_target(dialect)}, platform
        FROM devices WHERE app_id = $1 AND device_id > $2 AND {_reachable(platforms)} ORDER BY device_id LIMIT $3"""  # noqa: S608 - numbers only
    return _in_words_of(dialect, statement)


@cache
def _devices_statement(dialect: Dialect) -> str:
    listed = "IN (SELECT value FROM json_each($2))" if dialect == "sqlite" else "= ANY($2::text[])"
    statement = f"""SELECT device_id, {_bound_user("$3")} AS user_id, binding_epoch, {_target(dialect)}, platform, state
        FROM devices WHERE app_id = $1 AND device_id {listed}"""  # noqa: S608 - one of the two above
    return _in_words_of(dialect, statement)


@cache
def _users_statement(dialect: Dialect, platforms: tuple[Platform, ...], list_size: int) -> str:
    listed = "= ANY($6::bytea[])"
    if dialect == "sqlite":
        listed = f"IN ({', '.join(f'${place}' for place in range(6, 6 + list_size))})"
    # "Behind the place reached" in words that no database takes for a range to walk through.
    user_hex = hexadecimal(dialect, "user_key")
    statement = f"""SELECT {user_hex} AS user_hex, device_id, user_id, binding_epoch, {_target(dialect)}, platform
        FROM devices WHERE app_id = $1 AND user_key {listed} AND (user_key <> $2 OR device_id > $3)
          AND (binding_expire_time IS NULL OR binding_expire_time > $5) AND {_reachable(platforms)}
        ORDER BY user_key, device_id LIMIT $4"""  # noqa: S608 - placeholders and numbers only
    return _in_words_of(dialect, statement)


def _bound_user(now: str) -> str:
    """The user that the device is bound to; none once the binding has ended."""
    return f"CASE WHEN binding_expire_time <= {now} THEN NULL ELSE user_id END"


def _reachable(platforms: Iterable[Platform]) -> str:
    among = f" AND platform IN ({', '.join(str(int(platform)) for platform in platforms)})" if platforms else ""
    return f"state = {int(DeviceState.ACTIVE)}{among}"


def _in_words_of(dialect: Dialect, statement: str) -> str:
    return statement.replace("$", "?") if dialect == "sqlite" else statement
