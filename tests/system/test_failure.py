"""A part of the server that fails for good takes the process down, loudly and without a word of what it said."""

import asyncio
from pathlib import Path

import pytest

from bellhop_server import main
from bellhop_server.app.planning import Planner
from tests.system.live_server import live_server, settings_in


async def test_a_part_that_fails_ends_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(planner: Planner) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(Planner, "run", fail)
    with pytest.raises(main.ServerFailed) as failed:
        async with asyncio.timeout(20):
            await main.serve(settings_in(tmp_path))
    assert "hunter2" not in str(failed.value)


async def test_a_server_that_ends_well_has_not_failed(tmp_path: Path) -> None:
    async with live_server(settings_in(tmp_path)) as live:
        await live.stop()
        assert not live.server.failed.done()
