"""The whole store: its parts over one database."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial

from bellhop_server.store.applications import SqlApplications
from bellhop_server.store.audience import SqlAudiences
from bellhop_server.store.batches import SqlBatches
from bellhop_server.store.cancellation import SqlCancellation
from bellhop_server.store.credentials import SqlCredentials
from bellhop_server.store.database import Database, open_database, sqlite_path
from bellhop_server.store.interactions import SqlInteractions
from bellhop_server.store.messages import SqlMessages
from bellhop_server.store.migrate import check, upgrade
from bellhop_server.store.presence import SqlPresence
from bellhop_server.store.registry import SqlDevices
from bellhop_server.store.results import SqlResults
from bellhop_server.store.retention import SqlRetention
from bellhop_server.store.schedule import SqlSchedule
from bellhop_server.store.seal import MasterKey, verify_canary
from bellhop_server.store.secrets import SqlSecrets
from bellhop_server.store.subscriptions import SqlSubscriptions
from bellhop_server.store.tags import SqlTags


class SqlStore(
    SqlApplications,
    SqlSecrets,
    SqlCredentials,
    SqlDevices,
    SqlTags,
    SqlSubscriptions,
    SqlMessages,
    SqlSchedule,
    SqlCancellation,
    SqlAudiences,
    SqlBatches,
    SqlPresence,
    SqlResults,
    SqlInteractions,
    SqlRetention,
):
    """Everything that is true, in SQLite or PostgreSQL. Implements `ports.Store`."""

    def __init__(self, database: Database, key: MasterKey) -> None:
        self._database = database
        SqlApplications.__init__(self, database)
        SqlSecrets.__init__(self, database)
        SqlCredentials.__init__(self, database, key)
        SqlDevices.__init__(self, database)
        SqlTags.__init__(self, database)
        SqlSubscriptions.__init__(self, database)
        SqlMessages.__init__(self, database)
        SqlSchedule.__init__(self, database)
        SqlCancellation.__init__(self, database)
        SqlAudiences.__init__(self, database)
        SqlBatches.__init__(self, database)
        SqlPresence.__init__(self, database, self.unsealed)
        SqlResults.__init__(self, database)
        SqlInteractions.__init__(self, database)
        SqlRetention.__init__(self, database)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, key: MasterKey) -> AsyncIterator["SqlStore"]:
        """Opens a store for as long as the context lasts. A SQLite file is made or brought up to date first.

        Raises DatabaseRefused, KeyRefused, ServiceUnavailable.
        """
        if sqlite_path(url) is not None:
            await upgrade(url)
        else:
            await check(url)
        async with aclosing(await open_database(url)) as database:
            await database.write(partial(verify_canary, key=key))
            async with aclosing(cls(database, key)) as store:
                yield store

    @property
    def exclusive(self) -> bool:
        """See `ports.Store`."""
        return self._database.exclusive

    async def aclose(self) -> None:
        """Finishes what was taken and takes no more. The database stays open."""
        await self.close_secrets()
        await self.close_devices()
        await self.close_messages()
        await self.close_batches()
        await self.close_presence()
        await self.close_interactions()
