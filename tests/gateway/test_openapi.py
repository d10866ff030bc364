"""The OpenAPI document: what schemathesis makes of it against a whole server, and the page that shows it."""

import asyncio
import json
import re
import sys
from pathlib import Path

import httpx
import pytest

from bellhop_gateway.metadata import TIMEOUT
from bellhop_gateway.serving import running_gateway
from bellhop_gateway.settings import GatewaySettings
from tests.gateway.conftest import gateway, headers
from tests.system.live_server import Live, Shop, as_admin

# Which of several fields may come together, and what is there already, is told by the contract's comments and by no
# schema: a request may fit the schema and be refused with 400.
UNTOLD = "positive_data_acceptance"


@pytest.mark.parametrize("part", ["application", "admin"])
async def test_schemathesis_finds_nothing(live: Live, shop: Shop, tmp_path: Path, part: str) -> None:
    settings = GatewaySettings(gateway_listen="127.0.0.1:0", server=live.server.address, gateway_rate=1_000_000)
    async with running_gateway(settings) as url, httpx.AsyncClient(base_url=url) as http:
        document = (await http.get("/openapi.json")).json()
        # With real credentials in place of random ones it gets to the server's own rules.
        del document["security"], document["components"]["securitySchemes"]
        paths = document["paths"].items()
        document["paths"] = {path: each for path, each in paths if ("applications" in path) == (part == "admin")}
        schema = tmp_path / "openapi.json"
        schema.write_text(json.dumps(document))
        # A stream of a message that is scheduled would last until then, so that the time is not for the run to make up.
        for operation in (each for path in document["paths"].values() for each in path.values()):
            operation["parameters"] = [each for each in operation["parameters"] if each["name"] != TIMEOUT]
        given = {"request-timeout": "1"} | (headers(shop) if part == "application" else dict(as_admin()))
        run = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("schemathesis")), "run", str(schema), "--url", url, "--no-color"),
            *(argument for name, value in given.items() for argument in ("--header", f"{name}: {value}")),
            *("--exclude-checks", UNTOLD, "--phases", "fuzzing", "--max-examples", "12", "--seed", "5"),
            *("--request-timeout", "10", "--generation-database", "none"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await run.communicate()
    assert run.returncode == 0, said.decode()
    assert f"Tested: {sum(map(len, document['paths'].values()))}" in said.decode()


async def test_every_schema_that_is_named_is_there(http: httpx.AsyncClient) -> None:
    text = (await http.get("/openapi.json")).text
    document = json.loads(text)
    assert document["openapi"].startswith("3.1")
    named = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert named <= set(document["components"]["schemas"])
    names = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(names) == len(set(names))
    register = document["paths"]["/v1/devices/{device_id}"]["put"]
    assert "This is the login" in register["description"]
    assert document["components"]["schemas"]["RegisterDeviceRequest"]["properties"]["bindingTtl"]["pattern"]


async def test_signed_in_users_are_in_it_when_there_are_any(live: Live, http: httpx.AsyncClient) -> None:
    assert "/v1/me/devices" not in (await http.get("/openapi.json")).json()["paths"]
    oidc = {"oidc_issuer": "https://login.example", "oidc_audience": "a", "app_id": "shop", "client_secret": "s"}
    async with gateway(live, **oidc) as signing:
        assert "/v1/me/devices" in (await signing.get("/openapi.json")).json()["paths"]


async def test_the_page_needs_nothing_from_elsewhere(http: httpx.AsyncClient) -> None:
    page = await http.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    parts = re.findall(r'(?:src|href|data-document)="([^"]+)"', page.text)
    assert parts
    for part in parts:
        assert part.startswith("/")
        assert (await http.get(part)).status_code == 200
        assert "//" not in re.sub(r"//.*", "", (await http.get(part)).text) if part.endswith(".css") else True
    assert (await http.get("/docs/../settings.py")).status_code == 404
    assert (await http.get("/docs/docs.html")).status_code == 404
