"""SIGKILL at random moments of a send to 20,000 devices, on PostgreSQL: two rounds, first killed while it is planned
and early.

They are played side by side, because most of the time is spent waiting for the leases of the dead. `make soak` plays
many.
"""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer
from tests.postgres_databases import PostgresDatabases
from tests.system.kill_plan import kill_plan
from tests.system.kill_round import play

ROUNDS = 2


@pytest.fixture
def urls(postgresql: PostgresServer, postgresql_databases: PostgresDatabases) -> Iterator[list[str]]:
    """A database for each round."""
    names = [postgresql_databases.take() for _ in range(ROUNDS)]
    yield list(map(postgresql.url, names))
    for name in names:
        postgresql_databases.give_back(name)


@pytest.mark.promise("P6")
@pytest.mark.promise("P7")
@pytest.mark.promise("P9")
@pytest.mark.promise("P10")
async def test_a_send_survives_kills_on_postgresql(tmp_path: Path, urls: list[str]) -> None:
    seed = random.randrange(2**32)
    rounds = await asyncio.gather(*(play(kill_plan(number, seed), tmp_path, url) for number, url in enumerate(urls)))
    print(*rounds, sep="\n")
    assert [each.wrong for each in rounds] == [[], []]
