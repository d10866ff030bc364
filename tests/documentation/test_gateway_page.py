"""docs/gateway.md: its example mounts the gateway, its error is the one that comes, and it names every path."""

import json
import re

import httpx

from bellhop_gateway.routes import PREFIX, ROUTES
from bellhop_testing import FakeBellhop
from tests.documentation.pages import blocks, replaced
from tests.rules.sources import ROOT

PAGE = "docs/gateway.md"


async def test_the_gateway_within_another_application_and_the_error_that_is_shown() -> None:
    with FakeBellhop() as bellhop:
        (code,) = blocks(PAGE, "python")
        names: dict[str, object] = {}
        exec(replaced(code, ("127.0.0.1:50051", bellhop.address)), names)
        app = names["app"]
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client,
        ):
            assert (await client.get("/push/ready")).json() == {"status": "ok"}
            headers = {"app-id": bellhop.app_id, "client-secret": bellhop.client_secret}
            refused = await client.put("/push/v1/devices/phone", json={"apns": {"token": "ab" * 32}}, headers=headers)
    (shown,) = blocks(PAGE, "json")
    assert refused.json() == json.loads(shown)
    assert refused.status_code == 400


def test_it_names_every_path_and_no_other() -> None:
    rows = re.findall(
        r"^\| ([A-Z]+) \| `(/[^`]+)` \| (.+) \|$", (ROOT / PAGE).read_text(encoding="utf-8"), re.MULTILINE
    )
    there = [
        (route.method, PREFIX + route.path, route.rpc + " (stream)" * route.descriptor.server_streaming)
        for route in ROUTES
        if not route.signed_in
    ]
    assert sorted(rows) == sorted(there)
