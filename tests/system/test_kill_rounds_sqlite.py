"""SIGKILL at random moments of a send to 20,000 devices, on SQLite: two rounds, first killed in the middle and late.

`make soak` plays many.
"""

import random
from pathlib import Path

import pytest

from tests.system.kill_plan import kill_plan
from tests.system.kill_round import play


@pytest.mark.promise("P6")
@pytest.mark.promise("P7")
@pytest.mark.promise("P9")
@pytest.mark.promise("P10")
@pytest.mark.parametrize("number", [2, 3])
async def test_a_send_survives_kills_on_sqlite(number: int, tmp_path: Path, sqlite_url: str) -> None:
    played = await play(kill_plan(number, random.randrange(2**32)), tmp_path, sqlite_url)
    print(played)
    assert played.wrong == []
