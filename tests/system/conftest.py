"""A server for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.system.live_server import Live, Shop, live_server, settings_in


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    """A server with nothing on it."""
    async with live_server(settings_in(tmp_path)) as live:
        yield live


@pytest.fixture
async def shop(live: Live) -> Shop:
    """An application on it."""
    return await live.shop()
