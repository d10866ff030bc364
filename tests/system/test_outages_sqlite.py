"""The file of a real server is away for ten seconds, in each of the ways in which that happens."""

import asyncio
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.contract.backstage import SqliteBackstage
from tests.system.killable import Killable
from tests.system.outage import endure, judge


@contextmanager
def full_disk(server: Killable) -> Iterator[None]:
    """No file of that process may grow, as if its disk was full."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.promise("P6")
@pytest.mark.promise("P7")
@pytest.mark.promise("P9")
async def test_a_file_that_cannot_be_written_for_ten_seconds(tmp_path: Path, sqlite_template: Path) -> None:
    """Moved away, its disk full, and locked by somebody else: each a server of its own, side by side."""

    async def outage(
        name: str, away: Callable[[Killable, SqliteBackstage], AbstractContextManager[None]], *, silent: bool = False
    ) -> None:
        folder = tmp_path / name
        folder.mkdir()
        path = Path(shutil.copy(sqlite_template, folder / "bellhop.db"))
        backstage = SqliteBackstage(path)
        judge(await endure(folder, f"sqlite:///{path}", lambda server: away(server, backstage)), silent=silent)

    async with asyncio.TaskGroup() as group:
        group.create_task(outage("moved", lambda server, backstage: backstage.gone()))
        group.create_task(outage("full", lambda server, backstage: full_disk(server)))
        group.create_task(outage("locked", lambda server, backstage: backstage.blocked(), silent=True))
