"""Everything between a back end and a real browser: a server, a gateway, a push service and a site."""

import functools
import http.server
import json
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from google.protobuf.json_format import ParseDict

from bellhop.v1.applications_pb2 import SetCredentialRequest
from bellhop.v1.message_pb2 import OUTCOME_ACCEPTED, Interaction
from bellhop_client import AdminClient, Client, Notification, WebPushOverride, to_users
from bellhop_gateway import app as gateway_app
from bellhop_gateway.serving import running_gateway
from bellhop_gateway.settings import GatewaySettings
from bellhop_server.main import running_server
from bellhop_simulators import WebPushSimulator
from tests.browser.firefox import write_preferences
from tests.browser.push_service import PushService
from tests.gateway.issuer import AUDIENCE, ISSUER, TestIssuer
from tests.system.live_server import ADMIN_TOKEN, settings_in

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


class Town:
    """What a test does beside the browser."""

    def __init__(self, back_end: Client, push: PushService, site: str, profile: Path) -> None:
        self.back_end = back_end
        self.push = push
        self.site = site
        self.profile = profile
        self.gateway = ""
        self._stack = AsyncExitStack()
        self._settings: dict[str, Any] = {}

    def signs_in(self, server: str, secret: str) -> None:
        """What the gateway is started with."""
        origin = self.site.rstrip("/")
        self._settings = {"server": server, "gateway_cors_origins": origin, "gateway_listen": "127.0.0.1:0"}
        self._settings |= {"app_id": "shop", "client_secret": secret, "oidc_issuer": ISSUER, "oidc_audience": AUDIENCE}

    async def gateway_up(self) -> None:
        """Starts the gateway, where it was before if it was there."""
        self.gateway = await self._stack.enter_async_context(running_gateway(GatewaySettings(**self._settings)))
        self._settings["gateway_listen"] = urlsplit(self.gateway).netloc

    async def gateway_down(self) -> None:
        """Nobody answers there any more."""
        await self._stack.aclose()

    async def send(self, user_id: str, title: str, body: str = "", link: str = "", **more: Any) -> str:
        """Sends, and returns the message id once the push service has it."""
        override = WebPushOverride(options={"requireInteraction": True})
        shown = Notification(title=title, body=body, link=link, web_push=override, **more)
        stream = self.back_end.send(audience=to_users(user_id), notification=shown)
        results = await stream.results()
        assert [each.outcome for each in results] == [OUTCOME_ACCEPTED], results
        return stream.message_id

    async def devices(self) -> list[tuple[str, str]]:
        """(device id, user id) of all that are registered."""
        listed = await self.back_end.list_devices()
        return [(each.device_id, each.user_id) for each in listed.devices]

    async def target_of(self, user_id: str) -> str:
        """Tells the target of that person's one device from others."""
        (device,) = [each for each in (await self.back_end.list_devices()).devices if each.user_id == user_id]
        return device.target_fingerprint

    async def interactions(self, message_id: str) -> dict[str, int]:
        """What was reported of a message."""
        found = await self.back_end.get_message(message_id=message_id)
        return {
            Interaction.Name(each.interaction).removeprefix("INTERACTION_"): each.count
            for each in found.message.counts.interactions
        }


@asynccontextmanager
async def open_town(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    """All of it, with an application called shop whose Web Push key the server makes."""
    issuer = TestIssuer()
    monkeypatch.setattr(gateway_app, "client_of_provider", lambda: httpx.AsyncClient(transport=issuer.transport()))
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(WebPushSimulator())
        push = await stack.enter_async_context(PushService(simulator))
        site = stack.enter_context(open_site(folder, issuer))
        settings = settings_in(
            folder, web_push_hosts=simulator.url.removeprefix("https://"), provider_ca=simulator.ca_file
        )
        server = await stack.enter_async_context(running_server(settings))
        admin = await stack.enter_async_context(AdminClient(server.address, admin_token=ADMIN_TOKEN))
        made = await admin.create_application(app_id="shop", display_name="The shop")
        body = ParseDict(simulator.credential(), SetCredentialRequest())
        await admin.set_credential(app_id="shop", web_push=body.web_push)
        back_end = await stack.enter_async_context(Client(server.address, app_id="shop", app_secret=made.app_secret))
        profile = folder / "profile"
        write_preferences(profile, push.url)
        town = Town(back_end, push, site, profile)
        town.signs_in(server.address, made.client_secret)
        await town.gateway_up()
        try:
            yield town
        finally:
            await town.gateway_down()


class _Site(http.server.SimpleHTTPRequestHandler):
    """The shop's site: its pages, the web client, and the session of whoever has logged in."""

    issuer: TestIssuer

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path != "/token":
            super().do_GET()
            return
        text = json.dumps({"token": self.issuer.token(sub=parse_qs(asked.query)["user"][0])}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def open_site(folder: Path, issuer: TestIssuer) -> Iterator[str]:
    """Its URL, with a slash at the end."""
    root = folder / "site"
    root.mkdir()
    shutil.copy(HERE / "shop.html", root / "index.html")
    shutil.copy(HERE / "shop.html", root / "order.html")
    shutil.copytree(ROOT / "clients/web", root / "bellhop")
    handler = functools.partial(type("Site", (_Site,), {"issuer": issuer}), directory=root)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
