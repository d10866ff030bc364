"""Whose failures are counted: of the client, where a gateway that is believed says who that is, else of who calls."""

from pathlib import Path

import httpx
import pytest

from bellhop_gateway.app import create_app
from bellhop_gateway.serving import running_gateway
from bellhop_gateway.settings import GatewaySettings
from bellhop_server.rpc.auth import Gateways
from tests.system.live_server import Shop, live_server, settings_in

SAID = "x-forwarded-for"
ATTEMPTS = 20


@pytest.mark.parametrize(
    ("peer", "said", "client"),
    [
        ("ipv4:10.1.2.3:4711", ["192.0.2.7"], "192.0.2.7"),
        ("ipv4:10.1.2.3:4711", ["203.0.113.1, 192.0.2.7"], "192.0.2.7"),
        ("ipv4:10.1.2.3:4711", ["203.0.113.1", "192.0.2.7"], "192.0.2.7"),
        ("ipv4:10.1.2.3:4711", ["2001:DB8::0:1"], "2001:db8::1"),
        ("ipv4:10.1.2.3:4711", [], "10.1.2.3"),
        ("ipv4:10.1.2.3:4711", ["not an address"], "10.1.2.3"),
        ("ipv4:10.1.2.3:4711", [""], "10.1.2.3"),
        ("ipv6:%5B2001:db8::5%5D:4711", ["192.0.2.7"], "192.0.2.7"),
        ("ipv6:%5B2001:db8::6%5D:4711", ["192.0.2.7"], "[2001:db8::6]"),
        ("ipv4:10.2.0.1:4711", ["192.0.2.7"], "10.2.0.1"),
        ("ipv4:127.0.0.1:4711", ["192.0.2.7"], "127.0.0.1"),
        ("unix:/tmp/gateway.sock", ["192.0.2.7"], "192.0.2.7"),
        ("unix:", [], "unix"),
        ("strange", ["192.0.2.7"], "strange"),
    ],
)
def test_who_calls(peer: str, said: list[str], client: str) -> None:
    gateways = Gateways(["10.1.0.0/16", "2001:db8::5"])
    assert gateways.client(peer, [("app-id", "shop"), *((SAID, each) for each in said)]) == client


async def guess(url: str, shop: Shop, address: str, server: str, times: int = 1, **headers: str) -> list[int]:
    """Statuses of guesses at a secret that come to a gateway from that address."""
    settings = GatewaySettings(server=server, gateway_rate=10_000)
    app = create_app(settings)
    transport = httpx.ASGITransport(app, client=(address, 4711))
    wrong = {"app-id": shop.app_id, "client-secret": "bhc_wrong", **headers}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        return [(await client.get(url, headers=wrong)).status_code for _ in range(times)]


@pytest.mark.parametrize("trusted", [("127.0.0.1",), ()], ids=["believed", "not believed"])
async def test_a_server_counts_by_client_where_it_believes_the_gateway(
    tmp_path: Path, trusted: tuple[str, ...]
) -> None:
    async with live_server(settings_in(tmp_path, trusted_gateways=trusted)) as live:
        shop, server = await live.shop(), live.server.address
        guesses = await guess("/v1/credential", shop, "192.0.2.7", server, ATTEMPTS + 1)
        assert guesses == [401] * ATTEMPTS + [429]
        # What a client says of itself is not passed on.
        lied = {SAID: "203.0.113.9"}
        assert await guess("/v1/credential", shop, "192.0.2.7", server, **lied) == [429]
        others = await guess("/v1/credential", shop, "192.0.2.8", server)
        assert others == ([401] if trusted else [429])


async def test_a_gateway_believes_the_proxy_that_it_is_told_of(tmp_path: Path) -> None:
    async with live_server(settings_in(tmp_path, trusted_gateways=("127.0.0.1",))) as live:
        shop = await live.shop()
        wrong = {"app-id": shop.app_id, "client-secret": "bhc_wrong"}

        async def statuses(proxies: str) -> list[int]:
            settings = GatewaySettings(
                gateway_listen="127.0.0.1:0", server=live.server.address, gateway_proxies=proxies
            )
            async with running_gateway(settings) as url, httpx.AsyncClient(base_url=url) as client:
                said = [f"198.51.100.{number}" for number in range(ATTEMPTS + 1)]
                asked = [wrong | {SAID: f"10.0.0.1, {address}"} for address in said]
                return [(await client.get("/v1/credential", headers=each)).status_code for each in asked]

        assert await statuses("127.0.0.1") == [401] * (ATTEMPTS + 1)
        assert await statuses("") == [401] * ATTEMPTS + [429]
