"""A database and a loop for one run after the other."""

import sqlite3
from collections.abc import Coroutine
from typing import Any

from bellhop_server.store.database import Database, open_database, sqlite_path
from bellhop_server.store.tables import metadata
from tests.everything.play import Play
from tests.everything.stage import StageLoop

# Numbers that are never given twice go on from run to run.
_KEPT = ("counters", "alembic_version")


class Theatre:
    """Opens runs on an empty database. `well`: the run that is open has not failed."""

    def __init__(self, url: str) -> None:
        self._loop = StageLoop()
        path = sqlite_path(url)
        self._backstage = None if path is None else sqlite3.connect(path, isolation_level=None)
        self._database: Database = self._loop.run_until_complete(open_database(url))
        self._tables = [table.name for table in metadata.sorted_tables if table.name not in _KEPT]
        self.well = True
        self.seen: dict[str, int] = {}
        # PostgreSQL fires by a clock of its own, which nobody here can move.
        self.schedules = path is not None

    def open(self, seed: int) -> Play:
        self.well = True
        self._loop.run_until_complete(self._empty())
        return Play(self._loop, self._database, self._rows, seed)

    def close(self, play: Play) -> None:
        self._loop.run_until_complete(play.close())
        for what, count in play.model.seen.items():
            self.seen[what] = self.seen.get(what, 0) + count

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            self._loop.run_until_complete(work)
        except BaseException:
            self.well = False
            raise

    def aclose(self) -> None:
        if self._backstage is not None:
            self._backstage.close()
        self._loop.run_until_complete(self._database.aclose())
        self._loop.close()

    async def _rows(self, query: str) -> list[tuple[Any, ...]]:
        if self._backstage is not None:
            return self._backstage.execute(query).fetchall()
        return await self._database.read(
            lambda connection: [tuple(row) for row in connection.exec_driver_sql(query).all()]
        )

    async def _empty(self) -> None:
        def empty(connection: Any) -> None:
            for table in self._tables:
                connection.exec_driver_sql(f"DELETE FROM {table}")

        await self._database.write(empty)
