"""The PostgreSQL of a real server is away for ten seconds."""

from pathlib import Path

import pytest

from tests.contract.backstage import PostgresqlBackstage
from tests.postgres import PostgresServer
from tests.system.outage import endure, judge

pytestmark = [pytest.mark.promise("P6"), pytest.mark.promise("P7"), pytest.mark.promise("P9")]


async def test_postgresql_crashes_and_comes_back(
    tmp_path: Path, postgresql_url: str, postgresql: PostgresServer
) -> None:
    backstage = PostgresqlBackstage(postgresql_url, postgresql)
    judge(await endure(tmp_path, postgresql_url, lambda server: backstage.gone()))


async def test_postgresql_does_not_answer(tmp_path: Path, postgresql_url: str, postgresql: PostgresServer) -> None:
    judge(await endure(tmp_path, postgresql_url, lambda server: postgresql.frozen()), silent=True)
