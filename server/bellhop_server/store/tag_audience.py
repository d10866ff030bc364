"""Everybody who has a tag: devices by themselves first, then by the users who are logged in on them.

Both are as of the moment at which the reading began: its number in the count by which subscriptions begin and end goes
along from page to page. Whoever subscribes or unsubscribes meanwhile is found as if they had not, and never twice.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from bellhop_server.domain import Micros
from bellhop_server.domain.batch import Item
from bellhop_server.domain.device import DeviceState
from bellhop_server.domain.message import Audience
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.store.bulk import hexadecimal, select_many
from bellhop_server.store.database import Dialect
from bellhop_server.store.named_audience import USER_WINDOW, devices_named, devices_of_users, item
from bellhop_server.store.subscriptions import NUMBER, known_tags
from bellhop_server.store.tables import counters, subscriptions

_BY_DEVICE, _BY_USER = "d", "u"

_HELD = "begin_number <= {since} AND (end_number IS NULL OR end_number > {since})"
_NOW = select(counters.c.value).where(counters.c.name == NUMBER)


class _Place(NamedTuple):
    """How far an audience has been read: by devices or by users, as of which number, and behind whom."""

    phase: str
    since: int
    after: str

    @classmethod
    def of(cls, text: str) -> "_Place":
        since, _, after = text[1:].partition("/")
        return cls(text[0], int(since), after)

    def at(self, after: str, phase: str = "") -> str:
        """The text of another place in the same reading."""
        return f"{phase or self.phase}{self.since}/{after}"


def tagged_page(
    connection: Connection, app_id: str, audience: Audience, after: str, limit: int, now: Micros
) -> AudiencePage:
    """See `ports.MessageStore.read_audience`."""
    place = _Place.of(after) if after else _Place(_BY_DEVICE, connection.execute(_NOW).scalar() or 0, "")
    read = _by_device if place.phase == _BY_DEVICE else _by_user
    return read(connection, app_id, audience, place, limit, now)


def _by_device(
    connection: Connection, app_id: str, audience: Audience, place: _Place, limit: int, now: Micros
) -> AudiencePage:
    statement = _subscribers(connection.dialect.name, "device_id")
    found: set[str] = set()
    for tag_name in known_tags(connection, app_id, audience.ids):
        rows = select_many(connection, statement, (app_id, tag_name, place.after, limit, place.since), ("device_id",))
        found.update(device_id for (device_id,) in rows)
    window = sorted(found)[:limit]
    excluded = frozenset(audience.exclude_user_ids)
    items = []
    for *device, state in devices_named(connection, app_id, window, now):
        if state != DeviceState.ACTIVE or device[1] in excluded:
            continue
        if not audience.platforms or device[4] in audience.platforms:
            items.append(item(*device))
    items.sort(key=lambda each: each.device_id)
    after = place.at(window[-1]) if len(window) == limit else place.at("", _BY_USER)
    return AudiencePage(items, [], after)


def _by_user(
    connection: Connection, app_id: str, audience: Audience, place: _Place, limit: int, now: Micros
) -> AudiencePage:
    """`place.after` is the user key (in hexadecimal) that the page before ended with, then `/device id` if there is
    more of that user.
    """
    after_key, continued, after_device = place.after.partition("/")
    statement = _subscribers(connection.dialect.name, "user_key")
    # A user who is not through yet comes once more.
    behind = bytes.fromhex(after_key)
    if continued:
        behind = _before(behind)
    users: dict[bytes, str] = {}
    for tag_name in known_tags(connection, app_id, audience.ids):
        values = (app_id, tag_name, behind, USER_WINDOW, place.since)
        for key, user_id in select_many(connection, statement, values, ("user_hex", "user_id")):
            users[bytes.fromhex(key)] = user_id
    window = sorted(users.items())[:USER_WINDOW]
    excluded = frozenset(audience.exclude_user_ids)
    wanted = [(key, user_id) for key, user_id in window if user_id not in excluded]
    rows: Sequence[Sequence[Any]] = []
    if wanted:
        begun = continued and wanted[0][0].hex() == after_key
        start = after_device if begun else ""
        rows = devices_of_users(connection, app_id, audience.platforms, wanted, start, limit, now)
    items = _without_own(connection, app_id, audience, place, [item(*row[1:], by_user=True) for row in rows])
    if len(rows) == limit:
        return AudiencePage(items, [], place.at(f"{rows[-1][0]}/{rows[-1][1]}"))
    return AudiencePage(items, [], place.at(window[-1][0].hex()) if len(window) == USER_WINDOW else None)


def _without_own(
    connection: Connection, app_id: str, audience: Audience, place: _Place, items: list[Item]
) -> list[Item]:
    """Those that have none of the tags by themselves, be it one that has been deleted since: the others were found."""
    if not items:
        return items
    held = subscriptions.c
    own = select(held.device_id).where(
        held.app_id == app_id,
        held.device_id.in_([each.device_id for each in items]),
        held.tag_name.in_(audience.ids),
        held.begin_number <= place.since,
        held.end_number.is_(None) | (held.end_number > place.since),
    )
    found = set(connection.execute(own).scalars())
    return [each for each in items if each.device_id not in found]


def _before(key: bytes) -> bytes:
    """The greatest key of that length before this one."""
    number = int.from_bytes(key)
    return (number - 1).to_bytes(len(key)) if number else b""


@cache
def _subscribers(dialect: Dialect, column: str) -> str:
    shown = "device_id" if column == "device_id" else f"{hexadecimal(dialect, 'user_key')} AS user_hex, user_id"
    statement = f"""SELECT {shown} FROM subscriptions
        WHERE app_id = $1 AND tag_name = $2 AND {column} > $3 AND {_HELD.format(since="$5")}
        ORDER BY {column} LIMIT $4"""  # noqa: S608 - our own names only
    return statement.replace("$", "?") if dialect == "sqlite" else statement
