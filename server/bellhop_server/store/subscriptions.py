"""Subscriptions in SQL: who has a tag, and since when."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select, union_all, update

from bellhop_server.domain import Micros
from bellhop_server.domain.device import user_key
from bellhop_server.domain.errors import DeviceNotFound, QuotaExceeded
from bellhop_server.domain.tag import (
    SUBSCRIPTIONS,
    Subscriber,
    Subscription,
    SubscriptionChange,
    SubscriptionOutcome,
    SubscriptionQuery,
    id_prefix,
)
from bellhop_server.store.binding_rows import bound_at
from bellhop_server.store.bulk import delete_some, insert_many
from bellhop_server.store.counter import next_number
from bellhop_server.store.database import Database
from bellhop_server.store.tables import devices, subscriptions, tags

# By this count subscriptions begin and end. Whoever takes a number waits until others' are committed: whoever sees one
# sees all that has a lower one.
NUMBER = "subscription"

_COLUMNS = ("app_id", "subscription_id", "tag_name", "device_id", "user_id", "user_key", "create_time", "begin_number")

_LIVE = subscriptions.c.end_number.is_(None)


class SqlSubscriptions:
    """Who is subscribed to which tags. Part of `ports.TagStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count_subscriptions(self, app_id: str, tag_names: Collection[str]) -> dict[str, int]:
        """See `ports.TagStore`."""
        of_tags = (subscriptions.c.app_id == app_id) & subscriptions.c.tag_name.in_(list(tag_names)) & _LIVE
        # Each along its index.
        numbers = (
            select(subscriptions.c.tag_name, func.count())
            .where(of_tags, column.is_not(None))
            .group_by(subscriptions.c.tag_name)
            for column in (subscriptions.c.device_id, subscriptions.c.user_key)
        )
        rows = await self._database.read(lambda connection: connection.execute(union_all(*numbers)).all())
        counts = dict.fromkeys(tag_names, 0)
        for tag_name, number in rows:
            counts[tag_name] += number
        return counts

    async def subscribe(
        self, subscriber: Subscriber, tag_names: Sequence[str], now: Micros
    ) -> list[SubscriptionChange]:
        """See `ports.TagStore`."""

        def apply(connection: Connection) -> list[SubscriptionChange]:
            _hold(connection, subscriber)
            known = known_tags(connection, subscriber.app_id, tag_names, hold=True)
            present = _present(connection, subscriber, tag_names)
            new = [name for name in tag_names if name in known and name not in present]
            if new:
                if _count(connection, subscriber) + len(new) > SUBSCRIPTIONS:
                    raise QuotaExceeded("subscriptions", SUBSCRIPTIONS)
                number = next_number(connection, NUMBER)
                rows = [_row(subscriber, name, now, number) for name in new]
                insert_many(connection, subscriptions, _COLUMNS, rows)
            made = {name: _made(subscriber, name, now) for name in new}
            return [
                _change(name, SubscriptionOutcome.CREATED, made.get(name))
                or _change(name, SubscriptionOutcome.EXISTED, present.get(name))
                or SubscriptionChange(name, SubscriptionOutcome.TAG_NOT_FOUND)
                for name in tag_names
            ]

        return await self._database.write(apply)

    async def unsubscribe(
        self, subscriber: Subscriber, tag_names: Sequence[str], now: Micros
    ) -> list[SubscriptionChange]:
        """See `ports.TagStore`."""

        def apply(connection: Connection) -> list[SubscriptionChange]:
            _hold(connection, subscriber)
            known = known_tags(connection, subscriber.app_id, tag_names)
            present = _present(connection, subscriber, tag_names)
            if present:
                ids = [each.subscription_id for each in present.values()]
                _end(connection, _of(subscriber) & subscriptions.c.subscription_id.in_(ids), now)
            return [
                _change(name, SubscriptionOutcome.REMOVED, present.get(name))
                or SubscriptionChange(name, _ABSENT[name in known])
                for name in tag_names
            ]

        return await self._database.write(apply)

    async def list_subscriptions(self, query: SubscriptionQuery, after: str, limit: int) -> list[Subscription]:
        """See `ports.TagStore`."""
        page = _filtered(select(subscriptions), query, after)
        page = page.order_by(subscriptions.c.subscription_id).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(page).all())
        return [_subscription(row) for row in rows]


_ABSENT = {True: SubscriptionOutcome.NOT_SUBSCRIBED, False: SubscriptionOutcome.TAG_NOT_FOUND}


def has_tag(app_id: str, tag_name: str, bound: ColumnElement[bool], after: str) -> ColumnElement[bool]:
    """Of rows of devices behind `after`: it has the tag, by itself or through the user who is bound to it."""
    of_tag = (subscriptions.c.app_id == app_id) & subscriptions.c.tag_name.in_(
        _existing(app_id).where(tags.c.tag_name == tag_name)
    )
    own = select(subscriptions.c.device_id).where(of_tag, _LIVE, subscriptions.c.device_id > after)
    users = select(subscriptions.c.user_key).where(of_tag, _LIVE, subscriptions.c.user_key.is_not(None))
    of_app = select(devices.c.device_id).where(devices.c.app_id == app_id, bound)
    return devices.c.device_id.in_(
        union_all(own, of_app.where(devices.c.user_key.in_(users), _behind(devices.c.device_id, after)))
    )


def _behind(column: ColumnElement[str], after: str) -> ColumnElement[bool]:
    """In words that SQLite does not take for a range to walk through."""
    return column.concat("") > after


def end_subscriptions(connection: Connection, gone: Iterable[tuple[str, str]], now: Micros) -> None:
    """Ends those of devices, (app id, device id) each, that are taken out."""
    by_app: dict[str, list[str]] = defaultdict(list)
    for app_id, device_id in gone:
        by_app[app_id].append(device_id)
    for app_id, ids in by_app.items():
        these = (subscriptions.c.app_id == app_id) & subscriptions.c.device_id.in_(ids) & _LIVE
        # Most have none, and nobody waits for the count then.
        if connection.execute(select(subscriptions.c.device_id).where(these).limit(1)).first() is not None:
            _end(connection, these, now)


def end_some(connection: Connection, app_id: str, tag_name: str, now: Micros, limit: int) -> int:
    """Ends some subscriptions of a tag that is not there; returns how many."""
    these = (subscriptions.c.app_id == app_id) & (subscriptions.c.tag_name == tag_name) & _LIVE
    no_tag = ~_existing(app_id).where(tags.c.tag_name == tag_name).exists()
    found = select(subscriptions.c.subscription_id).where(these, no_tag).limit(limit)
    ids = list(connection.execute(found).scalars())
    # Once more without the tag: it may have been made anew, and these are those of the new one then.
    return _end(connection, these & subscriptions.c.subscription_id.in_(ids) & no_tag, now) if ids else 0


def _end(connection: Connection, these: ColumnElement[bool], now: Micros) -> int:
    ended = {"end_number": next_number(connection, NUMBER), "remove_time": now}
    return connection.execute(update(subscriptions).where(these, _LIVE).values(ended)).rowcount


def _existing(app_id: str) -> Select[tuple[str]]:
    return select(tags.c.tag_name).where(tags.c.app_id == app_id)


def forget_subscriptions(connection: Connection, now: Micros, limit: int) -> int:
    """Deletes those that have ended long enough ago; returns how many."""
    return delete_some(connection, subscriptions, subscriptions.c.remove_time <= now, limit)


def _hold(connection: Connection, subscriber: Subscriber) -> None:
    """Keeps others from changing what a subscriber is subscribed to. Raises DeviceNotFound.

    On SQLite there is nothing to lock: one transaction writes at a time.
    """
    if connection.dialect.name == "postgresql":
        name = f"subscriber/{subscriber.app_id}/{subscriber.device_id}/{subscriber.user_id}"
        key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock($1)", (key,))
    if subscriber.device_id:
        this = (devices.c.app_id == subscriber.app_id) & (devices.c.device_id == subscriber.device_id)
        held = select(devices.c.device_id).where(this).with_for_update(key_share=True, read=True)
        # Once more: a device that leaves its target is written anew, and who waited for its former row finds none.
        if connection.execute(held).first() is None and connection.execute(held).first() is None:
            raise DeviceNotFound(subscriber.device_id)


def known_tags(connection: Connection, app_id: str, tag_names: Collection[str], *, hold: bool = False) -> set[str]:
    """Those of these names that are there; `hold`: and stay there until the transaction ends."""
    these = select(tags.c.tag_name).where(tags.c.app_id == app_id, tags.c.tag_name.in_(list(tag_names)))
    if hold:
        # None of them is deleted before somebody is subscribed to it.
        these = these.order_by(tags.c.tag_name).with_for_update(key_share=True, read=True)
    return set(connection.execute(these).scalars())


def _present(connection: Connection, subscriber: Subscriber, tag_names: Collection[str]) -> Mapping[str, Subscription]:
    ids = [subscriber.subscription_id(name) for name in tag_names]
    these = select(subscriptions).where(_of(subscriber), subscriptions.c.subscription_id.in_(ids), _LIVE)
    return {row.tag_name: _subscription(row) for row in connection.execute(these)}


def _count(connection: Connection, subscriber: Subscriber) -> int:
    count = select(func.count()).select_from(subscriptions)
    return connection.execute(count.where(_of(subscriber), _LIVE)).scalar_one()


def _of(subscriber: Subscriber) -> ColumnElement[bool]:
    of_app = subscriptions.c.app_id == subscriber.app_id
    if subscriber.device_id:
        return of_app & (subscriptions.c.device_id == subscriber.device_id)
    return of_app & (subscriptions.c.user_key == user_key(subscriber.user_id))


def _row(subscriber: Subscriber, tag_name: str, now: Micros, number: int) -> tuple[Any, ...]:
    user_id = subscriber.user_id or None
    return (
        subscriber.app_id,
        subscriber.subscription_id(tag_name),
        tag_name,
        subscriber.device_id or None,
        user_id,
        None if user_id is None else user_key(user_id),
        now,
        number,
    )


def _made(subscriber: Subscriber, tag_name: str, now: Micros) -> Subscription:
    return Subscription(subscriber.subscription_id(tag_name), subscriber, tag_name, now)


def _change(
    tag_name: str, outcome: SubscriptionOutcome, subscription: Subscription | None
) -> SubscriptionChange | None:
    return None if subscription is None else SubscriptionChange(tag_name, outcome, subscription)


def _filtered(statement: Select[Any], query: SubscriptionQuery, after: str) -> Select[Any]:
    statement = statement.where(
        subscriptions.c.app_id == query.app_id, _LIVE, subscriptions.c.tag_name.in_(_existing(query.app_id))
    )
    if query.device_id:
        of_device = (devices.c.app_id == query.app_id) & (devices.c.device_id == query.device_id)
        bound = select(devices.c.user_key).where(of_device, bound_at(query.now)).scalar_subquery()
        # Each along its index: there are few of them, and many of others between them.
        of_app = select(subscriptions.c.subscription_id).where(subscriptions.c.app_id == query.app_id, _LIVE)
        reaching = union_all(
            of_app.where(subscriptions.c.device_id == query.device_id), of_app.where(subscriptions.c.user_key == bound)
        )
        statement = statement.where(
            subscriptions.c.subscription_id.in_(reaching), _behind(subscriptions.c.subscription_id, after)
        )
    else:
        statement = statement.where(subscriptions.c.subscription_id > after)
    if query.user_id:
        statement = statement.where(subscriptions.c.user_key == user_key(query.user_id))
    if query.tag_name:
        first = id_prefix(query.tag_name)
        between = (subscriptions.c.subscription_id >= first) & (subscriptions.c.subscription_id < f"{first}g")
        statement = statement.where(subscriptions.c.tag_name == query.tag_name, between)
    if query.subscription_id:
        statement = statement.where(subscriptions.c.subscription_id == query.subscription_id)
    return statement


def _subscription(row: Row[Any]) -> Subscription:
    subscriber = Subscriber(row.app_id, row.device_id or "", row.user_id or "")
    return Subscription(row.subscription_id, subscriber, row.tag_name, row.create_time)
