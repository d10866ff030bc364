"""Tags and subscriptions: what back ends and apps ask of them, the built-in tag included."""

from collections.abc import Sequence
from dataclasses import replace

from bellhop_server.domain import Micros
from bellhop_server.domain.device import DeviceState
from bellhop_server.domain.errors import TagAlreadyExists, TagBuiltIn
from bellhop_server.domain.query import DeviceQuery
from bellhop_server.domain.tag import BUILT_IN, Subscriber, Subscription, SubscriptionChange, SubscriptionQuery, Tag
from bellhop_server.ports import Clock, Store

_DESCRIPTION = "Every device."


class Tagging:
    """Knows the built-in tag, which is nowhere stored, and leaves the others to the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, app_id: str, tag_name: str, description: str) -> Tag:
        """Raises TagAlreadyExists, QuotaExceeded."""
        if tag_name == BUILT_IN:
            raise TagAlreadyExists(tag_name)
        now = self._clock.now()
        tag = Tag(app_id, tag_name, description, now, now)
        await self._store.create_tag(tag)
        return tag

    async def get(self, app_id: str, tag_name: str) -> Tag:
        """With its number of subscriptions. Raises TagNotFound."""
        (counted,) = await self._counted([await self._one(app_id, tag_name)])
        return counted

    async def list_tags(self, app_id: str, after: str, limit: int, *, count: bool) -> list[Tag]:
        """By name, those greater than `after`."""
        found = await self._store.list_tags(app_id, after, limit)
        if after < BUILT_IN and (len(found) < limit or found[-1].tag_name > BUILT_IN):
            built_in = await self._one(app_id, BUILT_IN)
            found = sorted([*found, built_in], key=lambda tag: tag.tag_name)[:limit]
        return await self._counted(found) if count and found else found

    async def update(self, app_id: str, tag_name: str, description: str | None) -> Tag:
        """None: it stays. Raises TagNotFound, TagBuiltIn."""
        if tag_name == BUILT_IN:
            raise TagBuiltIn(tag_name)
        if description is None:
            return await self._one(app_id, tag_name)
        return await self._store.update_tag(app_id, tag_name, description, self._clock.now())

    async def delete(self, app_id: str, tag_name: str) -> bool:
        """False: there was none. Raises TagBuiltIn."""
        if tag_name == BUILT_IN:
            raise TagBuiltIn(tag_name)
        return await self._store.delete_tag(app_id, tag_name, self._clock.now())

    async def subscribe(self, subscriber: Subscriber, tag_names: Sequence[str]) -> list[SubscriptionChange]:
        """A change for each tag, in their order. Raises DeviceNotFound, QuotaExceeded."""
        return await self._store.subscribe(subscriber, tag_names, self._clock.now())

    async def unsubscribe(self, subscriber: Subscriber, tag_names: Sequence[str]) -> list[SubscriptionChange]:
        """A change for each tag, in their order. Raises DeviceNotFound."""
        return await self._store.unsubscribe(subscriber, tag_names, self._clock.now())

    async def subscriptions(self, query: SubscriptionQuery, after: str, limit: int) -> list[Subscription]:
        """By id, those greater than `after`. Raises DeviceNotFound."""
        if query.device_id:
            await self._store.get_device(query.app_id, query.device_id)
        return await self._store.list_subscriptions(query, after, limit)

    async def _one(self, app_id: str, tag_name: str) -> Tag:
        if tag_name != BUILT_IN:
            return await self._store.get_tag(app_id, tag_name)
        created = (await self._store.get_application(app_id)).create_time
        return Tag(app_id, BUILT_IN, _DESCRIPTION, created, created)

    async def _counted(self, tags: Sequence[Tag]) -> list[Tag]:
        app_id = tags[0].app_id
        counts = await self._store.count_subscriptions(app_id, [tag.tag_name for tag in tags])
        if BUILT_IN in counts:
            counts[BUILT_IN] = await self._count_devices(app_id, self._clock.now())
        return [replace(tag, subscription_count=counts[tag.tag_name]) for tag in tags]

    async def _count_devices(self, app_id: str, now: Micros) -> int:
        return await self._store.count_devices(DeviceQuery(app_id, now, states=tuple(DeviceState)))
