"""Tags and subscriptions in SQL."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, func, or_, select, update

from bellhop_server.domain import Micros
from bellhop_server.domain.device import user_key
from bellhop_server.domain.errors import DeviceNotFound, QuotaExceeded, TagAlreadyExists, TagNotFound
from bellhop_server.domain.tag import (
    SUBSCRIPTIONS,
    TAGS,
    Subscriber,
    Subscription,
    SubscriptionChange,
    SubscriptionOutcome,
    SubscriptionQuery,
    Tag,
)
from bellhop_server.store.application_lock import lock_application
from bellhop_server.store.binding_rows import bound_at
from bellhop_server.store.bulk import delete_some, insert_many
from bellhop_server.store.database import Database
from bellhop_server.store.tables import devices, subscriptions, tags

# Subscriptions that one transaction of a deletion takes, since others' writes wait for it on SQLite.
_CHUNK = 500

_COLUMNS = (
    "app_id",
    "subscription_id",
    "tag_name",
    "device_id",
    "user_id",
    "user_key",
    "create_time",
    "first_time",
    "remove_time",
)
_REVIVE = "(app_id, subscription_id) DO UPDATE SET create_time = excluded.create_time, remove_time = NULL"

_LIVE = subscriptions.c.remove_time.is_(None)


class SqlTags:
    """Tags and who is subscribed to them. `ports.TagStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_tag(self, tag: Tag) -> None:
        """See `ports.TagStore`."""
        # What a deletion that was broken off has left must not come back with the name.
        if not await self._exists(tag.app_id, tag.tag_name):
            await self._forget(tag.app_id, tag.tag_name)

        def create(connection: Connection) -> None:
            lock_application(connection, tag.app_id)
            columns = ("app_id", "tag_name", "description", "create_time", "update_time")
            row = (tag.app_id, tag.tag_name, tag.description, tag.create_time, tag.update_time)
            if not insert_many(connection, tags, columns, [row], "DO NOTHING"):
                raise TagAlreadyExists(tag.tag_name)
            count = select(func.count()).select_from(tags).where(tags.c.app_id == tag.app_id)
            if connection.execute(count).scalar_one() > TAGS:
                raise QuotaExceeded("tags", TAGS)

        await self._database.write(create)

    async def get_tag(self, app_id: str, tag_name: str) -> Tag:
        """See `ports.TagStore`."""
        this = select(tags).where(tags.c.app_id == app_id, tags.c.tag_name == tag_name)
        row = await self._database.read(lambda connection: connection.execute(this).one_or_none())
        if row is None:
            raise TagNotFound(tag_name)
        return _tag(row)

    async def list_tags(self, app_id: str, after: str, limit: int) -> list[Tag]:
        """See `ports.TagStore`."""
        page = select(tags).where(tags.c.app_id == app_id, tags.c.tag_name > after).order_by(tags.c.tag_name)
        rows = await self._database.read(lambda connection: connection.execute(page.limit(limit)).all())
        return [_tag(row) for row in rows]

    async def update_tag(self, app_id: str, tag_name: str, description: str, now: Micros) -> Tag:
        """See `ports.TagStore`."""
        this = (tags.c.app_id == app_id) & (tags.c.tag_name == tag_name)
        change = update(tags).where(this).values(description=description, update_time=now).returning(tags)
        row = await self._database.write(lambda connection: connection.execute(change).one_or_none())
        if row is None:
            raise TagNotFound(tag_name)
        return _tag(row)

    async def delete_tag(self, app_id: str, tag_name: str) -> bool:
        """See `ports.TagStore`. The tag first, so that nobody subscribes to it while its subscriptions go."""
        this = delete(tags).where(tags.c.app_id == app_id, tags.c.tag_name == tag_name)
        existed = await self._database.write(lambda connection: connection.execute(this).rowcount > 0)
        await self._forget(app_id, tag_name)
        return existed

    async def known_tags(self, app_id: str, tag_names: Collection[str]) -> set[str]:
        """See `ports.TagStore`."""
        return await self._database.read(lambda connection: _known(connection, app_id, tag_names))

    async def count_subscriptions(self, app_id: str, tag_names: Collection[str]) -> dict[str, int]:
        """See `ports.TagStore`."""
        counts = (
            select(subscriptions.c.tag_name, func.count())
            .where(subscriptions.c.app_id == app_id, subscriptions.c.tag_name.in_(list(tag_names)), _LIVE)
            .group_by(subscriptions.c.tag_name)
        )
        rows = await self._database.read(lambda connection: connection.execute(counts).all())
        return {**dict.fromkeys(tag_names, 0), **{row[0]: row[1] for row in rows}}

    async def subscribe(
        self, subscriber: Subscriber, tag_names: Sequence[str], now: Micros
    ) -> list[SubscriptionChange]:
        """See `ports.TagStore`."""

        def apply(connection: Connection) -> list[SubscriptionChange]:
            _hold(connection, subscriber)
            known = _known(connection, subscriber.app_id, tag_names, hold=True)
            present = _present(connection, subscriber, tag_names)
            new = [name for name in tag_names if name in known and name not in present]
            insert_many(
                connection, subscriptions, _COLUMNS, [_row(subscriber, name, now) for name in sorted(new)], _REVIVE
            )
            if new and _count(connection, subscriber) > SUBSCRIPTIONS:
                raise QuotaExceeded("subscriptions", SUBSCRIPTIONS)
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
            known = _known(connection, subscriber.app_id, tag_names)
            present = _present(connection, subscriber, tag_names)
            ids = [each.subscription_id for each in present.values()]
            these = (subscriptions.c.app_id == subscriber.app_id) & subscriptions.c.subscription_id.in_(ids)
            connection.execute(update(subscriptions).where(these).values(remove_time=now))
            return [
                _change(name, SubscriptionOutcome.REMOVED, present.get(name))
                or SubscriptionChange(name, _ABSENT[name in known])
                for name in tag_names
            ]

        return await self._database.write(apply)

    async def list_subscriptions(self, query: SubscriptionQuery, after: str, limit: int) -> list[Subscription]:
        """See `ports.TagStore`."""
        page = _filtered(select(subscriptions), query).where(subscriptions.c.subscription_id > after)
        page = page.order_by(subscriptions.c.subscription_id).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(page).all())
        return [_subscription(row) for row in rows]

    async def _exists(self, app_id: str, tag_name: str) -> bool:
        return bool(await self.known_tags(app_id, [tag_name]))

    async def _forget(self, app_id: str, tag_name: str) -> None:
        these = (subscriptions.c.app_id == app_id) & (subscriptions.c.tag_name == tag_name)
        while await self._database.write(lambda connection: delete_some(connection, subscriptions, these, _CHUNK)):
            pass


_ABSENT = {True: SubscriptionOutcome.NOT_SUBSCRIBED, False: SubscriptionOutcome.TAG_NOT_FOUND}


def has_tag(app_id: str, tag_name: str, bound: ColumnElement[bool]) -> ColumnElement[bool]:
    """Of rows of devices: it has the tag, by itself or through the user who is bound to it."""
    of_tag = (subscriptions.c.app_id == app_id) & (subscriptions.c.tag_name == tag_name) & _LIVE
    own = select(subscriptions.c.device_id).where(of_tag, subscriptions.c.device_id.is_not(None))
    users = select(subscriptions.c.user_key).where(of_tag, subscriptions.c.user_key.is_not(None))
    return devices.c.device_id.in_(own) | (bound & devices.c.user_key.in_(users))


def end_subscriptions(connection: Connection, gone: Sequence[tuple[str, str]], now: Micros) -> None:
    """Ends those of devices, (app id, device id) each, that are taken out."""
    for app_id in {app_id for app_id, _ in gone}:
        ids = [device_id for owner, device_id in gone if owner == app_id]
        these = (subscriptions.c.app_id == app_id) & subscriptions.c.device_id.in_(ids) & _LIVE
        connection.execute(update(subscriptions).where(these).values(remove_time=now))


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
        found = connection.execute(select(devices.c.device_id).where(this).with_for_update(key_share=True, read=True))
        if found.one_or_none() is None:
            raise DeviceNotFound(subscriber.device_id)


def _known(connection: Connection, app_id: str, tag_names: Collection[str], *, hold: bool = False) -> set[str]:
    these = select(tags.c.tag_name).where(tags.c.app_id == app_id, tags.c.tag_name.in_(list(tag_names)))
    if hold:
        # None of them is deleted before somebody is subscribed to it.
        these = these.order_by(tags.c.tag_name).with_for_update(key_share=True, read=True)
    return set(connection.execute(these).scalars())


def _present(connection: Connection, subscriber: Subscriber, tag_names: Collection[str]) -> Mapping[str, Subscription]:
    ids = [subscriber.subscription_id(name) for name in tag_names]
    these = select(subscriptions).where(
        subscriptions.c.app_id == subscriber.app_id, subscriptions.c.subscription_id.in_(ids), _LIVE
    )
    return {row.tag_name: _subscription(row) for row in connection.execute(these)}


def _count(connection: Connection, subscriber: Subscriber) -> int:
    count = select(func.count()).select_from(subscriptions)
    return connection.execute(count.where(_of(subscriber), _LIVE)).scalar_one()


def _of(subscriber: Subscriber) -> Any:
    of_app = subscriptions.c.app_id == subscriber.app_id
    if subscriber.device_id:
        return of_app & (subscriptions.c.device_id == subscriber.device_id)
    return of_app & (subscriptions.c.user_key == user_key(subscriber.user_id))


def _row(subscriber: Subscriber, tag_name: str, now: Micros) -> tuple[Any, ...]:
    user_id = subscriber.user_id or None
    return (
        subscriber.app_id,
        subscriber.subscription_id(tag_name),
        tag_name,
        subscriber.device_id or None,
        user_id,
        None if user_id is None else user_key(user_id),
        now,
        now,
        None,
    )


def _made(subscriber: Subscriber, tag_name: str, now: Micros) -> Subscription:
    return Subscription(subscriber.subscription_id(tag_name), subscriber, tag_name, now)


def _change(
    tag_name: str, outcome: SubscriptionOutcome, subscription: Subscription | None
) -> SubscriptionChange | None:
    return None if subscription is None else SubscriptionChange(tag_name, outcome, subscription)


def _filtered(statement: Select[Any], query: SubscriptionQuery) -> Select[Any]:
    statement = statement.where(subscriptions.c.app_id == query.app_id, _LIVE)
    if query.device_id:
        of_device = (devices.c.app_id == query.app_id) & (devices.c.device_id == query.device_id)
        bound = select(devices.c.user_key).where(of_device, bound_at(query.now)).scalar_subquery()
        statement = statement.where(
            or_(subscriptions.c.device_id == query.device_id, subscriptions.c.user_key == bound)
        )
    if query.user_id:
        statement = statement.where(subscriptions.c.user_key == user_key(query.user_id))
    if query.tag_name:
        statement = statement.where(subscriptions.c.tag_name == query.tag_name)
    if query.subscription_id:
        statement = statement.where(subscriptions.c.subscription_id == query.subscription_id)
    return statement


def _subscription(row: Row[Any]) -> Subscription:
    subscriber = Subscriber(row.app_id, row.device_id or "", row.user_id or "")
    return Subscription(row.subscription_id, subscriber, row.tag_name, row.create_time)


def _tag(row: Row[Any]) -> Tag:
    return Tag(row.app_id, row.tag_name, row.description, row.create_time, row.update_time)
