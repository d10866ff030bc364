"""HTTP/2 for unit tests: the engines, each with the test for a peer, and worlds of one engine and one event loop."""

import pytest

from tests.raw_http2_server import MAX_CONCURRENT, Authority, settings
from tests.request_batch import World
from tests.unit.engine_talk import Talk

ENGINES = ("ngh2", "h2")


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    return str(request.param)


@pytest.fixture
def talk(engine_name: str) -> Talk:
    """With each engine in turn, a peer that allows a thousand streams."""
    return Talk(engine_name, settings({MAX_CONCURRENT: 1000}))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Of all servers that a world trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=[(engine, loop) for engine in ENGINES for loop in ("asyncio", "uvloop")], ids="-".join)
def world(request: pytest.FixtureRequest, authority: Authority) -> World:
    """Each engine on each event loop in turn."""
    return World(*request.param, authority)
