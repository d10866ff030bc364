"""Three networks through one contract: the Python client, a whole server, and everything that is simulated."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from bellhop.v1.applications_pb2 import GenerateVapidKey, SetCredentialRequest, WebPushCredential
from bellhop.v1.device_pb2 import DEVICE_STATE_ACTIVE, DEVICE_STATE_UNVERIFIED
from bellhop.v1.message_pb2 import (
    OUTCOME_ACCEPTED,
    OUTCOME_NOT_CONFIGURED,
    OUTCOME_NOT_REGISTERED,
    OUTCOME_PAYLOAD_TOO_LARGE,
)
from bellhop.v1.notifier_pb2 import MESSAGE_VIEW_FULL
from bellhop_client import (
    AdminClient,
    ApnsTarget,
    Client,
    ExplainSendResponse,
    FcmOverride,
    FcmTarget,
    InvalidRequestError,
    Notification,
    PreconditionError,
    WebPushOverride,
    WebPushTarget,
    to_everyone,
    to_users,
)
from bellhop_server.main import running_server
from bellhop_simulators import Simulation
from bellhop_simulators.webpush.browser import BrowserSubscription
from tests.system.live_server import ADMIN_TOKEN, settings_in

TOKEN = "dK3-anna:APA91bF"
DINNER = Notification(title="Dinner is ready", data={"table": "4"}, collapse_key="dinner")


@dataclass(frozen=True)
class Town:
    """A server with one application, and the providers that it reaches."""

    address: str
    simulation: Simulation
    admin: AdminClient
    back_end: Client

    async def credential(self, network: str, **changes: Any) -> None:
        body = ParseDict(self.simulation.description["credentials"][network], SetCredentialRequest())
        fields = {network: getattr(body, network), **changes}
        assert (await self.admin.set_credential(app_id="shop", **fields)).credential.probe.ok

    def browser(self, persona: str = "mozilla") -> BrowserSubscription:
        push = self.simulation.web_push
        return push.subscriptions.subscribe(persona, push.key.public_key)

    async def people(self) -> BrowserSubscription:
        """Credentials for all, and for anna an Apple device, one that Firebase reaches and a browser."""
        for network in ("apns", "fcm", "web_push"):
            await self.credential(network)
        browser = self.browser()
        for device_id, target in (
            ("phone", {"apns": ApnsTarget(token="ab" * 32)}),
            ("pixel", {"fcm": FcmTarget(token=TOKEN)}),
            ("firefox", {"web_push": subscription(browser)}),
        ):
            await self.back_end.register_device(device_id=device_id, user_id="anna", **target)
        return browser

    async def explain(self, **request: Any) -> dict[str, ExplainSendResponse]:
        asked = {"audience": to_users("anna"), "notification": DINNER, **request}
        return {each.device_id: each async for each in self.back_end.explain(**asked)}


def subscription(browser: BrowserSubscription, **changes: str) -> WebPushTarget:
    keys = {"endpoint": browser.endpoint, "p256dh": browser.p256dh, "auth": browser.auth}
    return WebPushTarget(**{**keys, **changes})


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with Simulation() as simulation:
        settings = settings_in(
            tmp_path,
            apns_url=simulation.apns.url,
            fcm_url=simulation.fcm.url,
            fcm_token_url=simulation.fcm.token_url,
            web_push_hosts=simulation.web_push.url.removeprefix("https://"),
            provider_ca=simulation.ca_file,
        )
        async with running_server(settings) as server, AdminClient(server.address, admin_token=ADMIN_TOKEN) as admin:
            made = await admin.create_application(app_id="shop", display_name="The shop")
            async with Client(server.address, app_id="shop", app_secret=made.app_secret) as back_end:
                yield Town(server.address, simulation, admin, back_end)


async def test_a_message_reaches_every_network_with_what_is_said_for_it_alone(town: Town) -> None:
    browser = await town.people()
    shown = Notification(
        title="Dinner is ready",
        fcm=FcmOverride(channel_id="kitchen", android={"notification": {"ticker": "t"}}, collapse_key="k"),
        web_push=WebPushOverride(title="Essen ist fertig", options={"requireInteraction": True}),
    )

    stream = town.back_end.send(audience=to_users("anna"), notification=shown)
    results = {result.device_id: result.outcome for result in await stream.results()}

    assert results == dict.fromkeys(("phone", "pixel", "firefox"), OUTCOME_ACCEPTED)
    (received,) = town.simulation.fcm.devices.received(TOKEN)
    assert received.message["notification"] == {"title": "Dinner is ready"}
    android = received.message["android"]
    assert (android["collapse_key"], android["notification"]["channel_id"]) == ("k", "kitchen")
    assert android["notification"]["ticker"] == "t"
    (arrived,) = browser.messages
    assert arrived.json()["title"] == "Essen ist fertig"
    assert arrived.json()["options"] == {"requireInteraction": True}
    kept = await town.back_end.get_message(message_id=stream.message_id, view=MESSAGE_VIEW_FULL)
    assert kept.message.notification == shown


async def test_explaining_shows_what_sending_does_and_sends_nothing(town: Town) -> None:
    browser = await town.people()
    before = len(town.simulation.journal.entries)

    told = await town.explain()
    assert len(town.simulation.journal.entries) == before
    assert {name: each.user_id for name, each in told.items()} == dict.fromkeys(("phone", "pixel", "firefox"), "anna")
    assert {each.platform for each in told.values()} == {1, 2, 3}
    for each in told.values():
        assert each.request.url.startswith("POST https://127.0.0.1:")
        assert 0 < each.request.body_size <= each.request.body_limit
    everything = str(told)
    for secret in ("ab" * 32, TOKEN, browser.endpoint, browser.auth, "eyJ"):
        assert secret not in everything

    await town.back_end.send(audience=to_users("anna"), notification=DINNER).results()
    # Each message has an id of its own, an explained one too.
    (arrived,) = browser.messages
    envelope = json.loads(told["firefox"].request.body)
    assert envelope | {"message_id": arrived.json()["message_id"]} == arrived.json()
    (received,) = town.simulation.fcm.devices.received(TOKEN)
    data = json.loads(told["pixel"].request.body)["message"]["data"]
    assert data | {"bellhop_message_id": received.message["data"]["bellhop_message_id"]} == received.message["data"]
    assert json.loads(told["phone"].request.body)["aps"] == {"alert": {"title": "Dinner is ready"}}


async def test_explaining_says_what_keeps_a_device_back(town: Town) -> None:
    await town.credential("apns")
    await town.back_end.register_device(device_id="phone", user_id="anna", apns=ApnsTarget(token="ab" * 32))
    await town.back_end.register_device(device_id="pixel", user_id="anna", fcm=FcmTarget(fid="cXYZ1234"))

    told = await town.explain(audience=to_users("anna", "nobody"), notification=Notification(body="x" * 5000))
    assert {name: each.withheld for name, each in told.items()} == {
        "phone": OUTCOME_PAYLOAD_TOO_LARGE,
        "pixel": OUTCOME_NOT_CONFIGURED,
        "": OUTCOME_NOT_REGISTERED,
    }
    assert told[""].user_id == "nobody"
    assert len(await town.explain(audience=to_everyone(), max_devices=1)) == 1
    with pytest.raises(InvalidRequestError) as refused:
        await town.explain(notification=Notification(), max_devices=1001)
    assert [each.field for each in refused.value.violations] == ["notification", "max_devices"]


async def test_a_vapid_key_is_kept_unless_a_change_is_meant(town: Town) -> None:
    made = WebPushCredential(generate=GenerateVapidKey(), subject="mailto:ops@bellhop.dev")
    first = (await town.admin.set_credential(app_id="shop", web_push=made)).credential
    again = (await town.admin.set_credential(app_id="shop", web_push=made)).credential
    key = first.web_push.vapid_public_key
    assert (first.credential_id, again.web_push.vapid_public_key) == ("web-push", key)

    simulated = ParseDict(town.simulation.description["credentials"]["web_push"], SetCredentialRequest()).web_push
    with pytest.raises(PreconditionError) as refused:
        await town.admin.set_credential(app_id="shop", web_push=simulated)
    assert (refused.value.reason, refused.value.metadata) == ("KEY_CHANGE_REFUSED", {"vapid_public_key": key})
    simulated.allow_key_change = True
    changed = (await town.admin.set_credential(app_id="shop", web_push=simulated)).credential
    assert changed.web_push.vapid_public_key == town.simulation.web_push.key.public_key

    browser = town.browser()
    for vapid_public_key, taken in ((key, True), (browser.p256dh, False)):
        target = subscription(browser, vapid_public_key=vapid_public_key)
        call = town.back_end.register_device(user_id="anna", web_push=target)
        if taken:
            await call
        else:
            with pytest.raises(InvalidRequestError):
                await call


@pytest.mark.parametrize("network", ["apns", "fcm", "web_push"])
async def test_whoever_receives_the_nonce_has_the_target(town: Town, network: str) -> None:
    browser = await town.people()
    target: dict[str, Any] = {
        "apns": {"apns": ApnsTarget(token="ab" * 32)},
        "fcm": {"fcm": FcmTarget(token=TOKEN)},
        "web_push": {"web_push": subscription(browser)},
    }[network]
    async with Client(town.address, app_id="shop") as stranger:
        made = await stranger.register_anonymous_device(device_id="new", **target)
    assert made.device.state == DEVICE_STATE_UNVERIFIED

    nonce = await pushed_nonce(town, browser, network)
    async with Client(town.address, app_id="shop", device_secret=made.device_secret) as app:
        with pytest.raises(InvalidRequestError) as refused:
            await app.update_device(device_id="new", target_nonce=nonce + "x")
        assert [each.field for each in refused.value.violations] == ["target_nonce"]
        shown = await app.update_device(device_id="new", target_nonce=nonce)
    assert shown.device.state == DEVICE_STATE_ACTIVE
    assert [each.device_id async for each in town.back_end.devices(anonymous=True)] == ["new"]
    assert len([each async for each in town.back_end.devices(user_id="anna")]) == 2


async def pushed_nonce(town: Town, browser: BrowserSubscription, network: str) -> str:
    """What was pushed to anna's device on that network."""
    token = {"apns": "ab" * 32, "fcm": TOKEN, "web_push": browser.subscription_id}[network]
    (pushed,) = await town.simulation.journal.wait_for(1, token=token, accepted=True)
    body = json.loads(pushed.decrypted) if pushed.decrypted else pushed.body
    data = {"apns": lambda: body, "fcm": lambda: body["message"]["data"], "web_push": lambda: body["options"]["data"]}
    nonce = data[network]()["bellhop_target_nonce"]
    assert isinstance(nonce, str)
    return nonce
