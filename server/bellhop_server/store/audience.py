"""Whom a message is for, read page by page; nothing stays open between pages."""

from sqlalchemy import Connection

from bellhop_server.domain import Micros
from bellhop_server.domain.message import Audience, AudienceKind
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.domain.tag import BUILT_IN
from bellhop_server.store.database import Database
from bellhop_server.store.named_audience import devices_page, everyone_page, users_page
from bellhop_server.store.tag_audience import tagged_page


class SqlAudiences:
    """Resolves audiences to devices. Part of `ports.MessageStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_audience(self, app_id: str, audience: Audience, after: str, limit: int, now: Micros) -> AudiencePage:
        """See `ports.MessageStore`. The `result_time` of `missing` is 0 until the page is added to the plan."""
        return await self._database.read(
            lambda connection: audience_page(connection, app_id, audience, after, limit, now)
        )


def audience_page(
    connection: Connection, app_id: str, audience: Audience, after: str, limit: int, now: Micros
) -> AudiencePage:
    """See `ports.MessageStore.read_audience`."""
    match audience.kind:
        case AudienceKind.USERS:
            read = users_page
        case AudienceKind.DEVICES:
            read = devices_page
        case AudienceKind.TAGS if BUILT_IN not in audience.ids:
            read = tagged_page
        case _:
            read = everyone_page
    return read(connection, app_id, audience, after, limit, now)
