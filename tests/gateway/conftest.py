"""A gateway before a whole server, for each test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from bellhop_gateway.app import create_app
from bellhop_gateway.settings import GatewaySettings
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


@asynccontextmanager
async def gateway(live: Live, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway before that server, with these settings."""
    app = create_app(GatewaySettings(server=live.server.address, **{"gateway_rate": 10_000, **settings}))
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 4711))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        yield client


@pytest.fixture
async def http(live: Live) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway with nothing set."""
    async with gateway(live) as client:
        yield client


def headers(shop: Shop, kind: str = "app") -> dict[str, str]:
    """Credentials as headers."""
    secret = shop.app_secret if kind == "app" else shop.client_secret
    return {"app-id": shop.app_id, f"{kind}-secret": secret}
