"""Looks at a message in the database itself, so that waiting for its end asks nothing of the server."""

import asyncio
import sqlite3
from contextlib import closing

import asyncpg

from bellhop_server.domain.message import MessageState
from bellhop_server.store.database import sqlite_path

_OPEN = f"SELECT count(*) FROM messages WHERE state <> {int(MessageState.COMPLETED)}"
_PAUSE = 0.1


async def all_completed(database_url: str) -> None:
    """Returns once every message of the database is completed. The server has to be up all the while."""
    while await _open_messages(database_url):  # noqa: ASYNC110 - what another process writes has no event here
        await asyncio.sleep(_PAUSE)


async def _open_messages(database_url: str) -> int:
    path = sqlite_path(database_url)
    if path is not None:
        return await asyncio.to_thread(_count, f"file:{path}?mode=ro")
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval(_OPEN))
    finally:
        await connection.close()


def _count(uri: str) -> int:
    # Read only: closing it must not tidy up what a killed server left to its successor.
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return int(connection.execute(_OPEN).fetchone()[0])
