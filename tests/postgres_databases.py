"""Databases for tests, used again as long as nobody has altered more than rows: making one takes half a second."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg

from tests.postgres import PostgresServer

# Revision, relations, functions, triggers and settings: what a test may have altered.
_SHAPE = """
SELECT (SELECT version_num FROM alembic_version), (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc),
  (SELECT count(*) FROM pg_trigger), (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase <> 0)
"""

_EMPTY = """
DO $$ DECLARE name text; BEGIN
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
    EXECUTE format('DELETE FROM %I', name);
  END LOOP;
  FOR name IN SELECT sequencename FROM pg_sequences LOOP
    EXECUTE format('ALTER SEQUENCE %I RESTART', name);
  END LOOP;
END $$
"""

_CUT_OFF = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class PostgresDatabases:
    """The databases of one server."""

    def __init__(self, server: PostgresServer, migrate: Callable[[str], None]) -> None:
        """`migrate` makes the tables in the database of a URL."""
        self._server = server
        self._migrate = migrate
        self._made = 0
        self._template = ""
        self._shape: Any = None
        self._free: list[str] = []

    def make_empty(self) -> str:
        """A new database without anything in it."""
        return self._make("template0")

    def take(self) -> str:
        """A database with the tables in it and nothing in them."""
        if not self._template:
            self._template = self.make_empty()
            self._migrate(self._server.url(self._template))
            self._shape = asyncio.run(self._clean(self._template))
        return self._free.pop() if self._free else self._make(self._template)

    def give_back(self, name: str) -> None:
        """Ends what still uses it, and keeps it for the next test or drops it."""
        if asyncio.run(self._clean(name)) == self._shape:
            self._free.append(name)
        else:
            self._server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _make(self, template: str) -> str:
        self._made += 1
        name = f"bellhop_{self._made}"
        self._server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    async def _clean(self, name: str) -> Any:
        connection = await asyncpg.connect(self._server.url(name))
        try:
            await connection.execute(_CUT_OFF)
            shape = await connection.fetchrow(_SHAPE)
            await connection.execute(_EMPTY)
            return shape
        finally:
            await connection.close()
