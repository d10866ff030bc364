"""Tags in SQL."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update

from bellhop_server.domain import Micros
from bellhop_server.domain.errors import QuotaExceeded, TagAlreadyExists, TagNotFound
from bellhop_server.domain.tag import TAGS, Tag
from bellhop_server.store.application_lock import lock_application
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.database import Database
from bellhop_server.store.subscriptions import end_some, known_tags
from bellhop_server.store.tables import tags

# Subscriptions that one transaction of a deletion takes, since others' writes wait for it on SQLite.
_CHUNK = 500


class SqlTags:
    """Tags that were made. Part of `ports.TagStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_tag(self, tag: Tag) -> None:
        """See `ports.TagStore`."""
        # What a deletion that was broken off has left must not come back with the name.
        await self._end_all(tag.app_id, tag.tag_name, tag.create_time)

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

    async def delete_tag(self, app_id: str, tag_name: str, now: Micros) -> bool:
        """See `ports.TagStore`. The tag first, so that nobody subscribes to it while its subscriptions go."""
        this = delete(tags).where(tags.c.app_id == app_id, tags.c.tag_name == tag_name)
        existed = await self._database.write(lambda connection: connection.execute(this).rowcount > 0)
        await self._end_all(app_id, tag_name, now)
        return existed

    async def known_tags(self, app_id: str, tag_names: Collection[str]) -> set[str]:
        """See `ports.TagStore`."""
        return await self._database.read(lambda connection: known_tags(connection, app_id, tag_names))

    async def _end_all(self, app_id: str, tag_name: str, now: Micros) -> None:
        while await self._database.write(lambda connection: end_some(connection, app_id, tag_name, now, _CHUNK)):
            pass


def _tag(row: Row[Any]) -> Tag:
    return Tag(row.app_id, row.tag_name, row.description, row.create_time, row.update_time)
