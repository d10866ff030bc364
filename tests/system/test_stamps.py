"""P4 with three simulated networks: what a phone that was logged out gets, it can tell from what is its own."""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import applications_pb2_grpc, notifier_pb2_grpc, push_registry_pb2_grpc
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.main import running_server
from bellhop_server.store.seal import MasterKey
from bellhop_simulators import Simulation
from bellhop_simulators.webpush.browser import BrowserSubscription
from tests.system.live_server import as_admin, credentials, details, refusal, settings_in, told

pytestmark = pytest.mark.promise("P4")

APNS_TOKEN, FCM_TOKEN = "ab" * 32, "dK3-anna:APA91bF"
DEVICES = ("phone", "pixel", "firefox")

Marks = tuple[str, str | None]


def stamp(key: bytes, device_id: str, message_id: str) -> str:
    """As a client on another platform computes it, from docs/stamps.md alone."""
    text = "\n".join(["bellhop-stamp-v1", "shop", device_id, message_id])
    return base64.urlsafe_b64encode(hmac.new(key, text.encode("utf-8"), hashlib.sha256).digest()[:12]).decode("ascii")


@dataclass(frozen=True)
class Street:
    """A server with an application that has every network, and one device on each."""

    simulation: Simulation
    registry: "push_registry_pb2_grpc.PushRegistryAsyncStub"
    notifier: "notifier_pb2_grpc.NotifierAsyncStub"
    metadata: tuple[tuple[str, str], ...]
    browser: BrowserSubscription

    def target(self, device_id: str) -> dict[str, Any]:
        keys = {"endpoint": self.browser.endpoint, "p256dh": self.browser.p256dh, "auth": self.browser.auth}
        targets: dict[str, dict[str, Any]] = {
            "phone": {"apns": {"token": APNS_TOKEN}},
            "pixel": {"fcm": {"token": FCM_TOKEN}},
            "firefox": {"web_push": keys},
        }
        return targets[device_id]

    async def log_in(self, user_id: str, key: bytes = b"", **binding: Any) -> None:
        for device_id in DEVICES:
            request = reg.RegisterDeviceRequest(
                device_id=device_id, user_id=user_id, binding_key=key, **self.target(device_id), **binding
            )
            await self.registry.RegisterDevice(request, metadata=self.metadata)

    async def send(self, audience: dict[str, Any], **fields: Any) -> dict[str, Marks]:
        """Sends a message; returns what each device is told: its id and its stamp, by device."""
        shown = {"title": "Hello", **fields.pop("notification", {})}
        request = notes.SendRequest(audience=audience, notification=shown, **fields)
        outcomes = set()
        async for answer in self.notifier.Send(request, metadata=self.metadata):
            outcomes |= {result.outcome for result in answer.event.results.results}
        assert outcomes == {1}
        return self.arrived()

    def arrived(self) -> dict[str, Marks]:
        """The last that came on each network, read as an app does."""
        entries = [each for each in self.simulation.journal.entries if each.provider == "apns"]
        phone = entries[-1].body["bellhop"]
        pixel = self.simulation.fcm.devices.received(FCM_TOKEN)[-1].message["data"]
        firefox = self.browser.messages[-1].json()
        return {
            "phone": (phone["message_id"], phone.get("stamp")),
            "pixel": (pixel["bellhop_message_id"], pixel.get("bellhop_stamp")),
            "firefox": (firefox["message_id"], firefox.get("stamp")),
        }

    async def explained(self) -> dict[str, str]:
        request = notes.ExplainSendRequest(audience={"everyone": {}}, notification={"title": "Hello"})
        stream = self.notifier.ExplainSend(request, metadata=self.metadata)
        return {each.device_id: each.request.body async for each in stream}


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    async with Simulation() as simulation:
        settings = settings_in(
            tmp_path,
            apns_url=simulation.apns.url,
            fcm_url=simulation.fcm.url,
            fcm_token_url=simulation.fcm.token_url,
            web_push_hosts=simulation.web_push.url.removeprefix("https://"),
            provider_ca=simulation.ca_file,
        )
        async with running_server(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
            admin = applications_pb2_grpc.ApplicationsStub(channel)
            request = apps.CreateApplicationRequest(app_id="shop", display_name="Shop")
            made = await admin.CreateApplication(request, metadata=as_admin())
            for body in simulation.description["credentials"].values():
                credential = ParseDict({**body, "app_id": "shop"}, apps.SetCredentialRequest())
                await admin.SetCredential(credential, metadata=as_admin())
            browser = simulation.web_push.subscriptions.subscribe("mozilla", simulation.web_push.key.public_key)
            yield Street(
                simulation,
                push_registry_pb2_grpc.PushRegistryStub(channel),
                notifier_pb2_grpc.NotifierStub(channel),
                credentials("shop", app_secret=made.app_secret),
                browser,
            )


ANNA, BEN = {"users": {"user_ids": ["anna"]}}, {"users": {"user_ids": ["ben"]}}


async def test_each_network_carries_the_stamp_of_whoever_is_logged_in(street: Street) -> None:
    annas, bens = secrets.token_bytes(32), secrets.token_bytes(32)
    await street.log_in("anna", annas)
    first = await street.send(ANNA, message_id="m-1")
    assert first == {name: ("m-1", stamp(annas, name, "m-1")) for name in DEVICES}
    second = await street.send(ANNA)
    for name, (message_id, shown) in second.items():
        assert shown == stamp(annas, name, message_id)
        assert shown != first[name][1]

    # The next person: what Anna's phone would still hold does not fit theirs.
    await street.log_in("ben", bens)
    third = await street.send(BEN, message_id="m-2")
    assert third == {name: ("m-2", stamp(bens, name, "m-2")) for name in DEVICES}
    assert all(shown != stamp(bens, name, message_id) for name, (message_id, shown) in second.items())


async def test_who_brings_no_key_gets_no_stamp_and_the_message_all_the_same(street: Street) -> None:
    await street.log_in("anna", secrets.token_bytes(32))
    await street.log_in("anna")
    assert await street.send(ANNA, message_id="m-1") == dict.fromkeys(DEVICES, ("m-1", None))


async def test_a_broadcast_stamps_for_those_who_are_logged_in_with_a_key(street: Street) -> None:
    key = secrets.token_bytes(32)
    await street.log_in("anna", key)
    for device_id in ("pixel", "firefox"):
        request = reg.RegisterAnonymousDeviceRequest(device_id=device_id)
        await street.registry.RegisterAnonymousDevice(request, metadata=street.metadata)
    told_now = await street.send({"everyone": {}}, message_id="m-1")
    assert told_now == {"phone": ("m-1", stamp(key, "phone", "m-1")), "pixel": ("m-1", None), "firefox": ("m-1", None)}


async def test_what_is_explained_is_stamped_as_what_is_sent(street: Street) -> None:
    key = secrets.token_bytes(32)
    await street.log_in("anna", key)
    bodies = {name: json.loads(body) for name, body in (await street.explained()).items()}
    phone, pixel, firefox = bodies["phone"]["bellhop"], bodies["pixel"]["message"]["data"], bodies["firefox"]
    (message_id,) = {phone["message_id"], pixel["bellhop_message_id"], firefox["message_id"]}
    shown = {"phone": phone["stamp"], "pixel": pixel["bellhop_stamp"], "firefox": firefox["stamp"]}
    assert shown == {name: stamp(key, name, message_id) for name in DEVICES}


async def test_a_key_has_exactly_32_bytes(street: Street) -> None:
    for length in (1, 31, 33, 64, 5000):
        request = reg.RegisterDeviceRequest(
            device_id="phone", user_id="anna", binding_key=bytes(length), **street.target("phone")
        )
        error = await refusal(street.registry.RegisterDevice(request, metadata=street.metadata))
        assert told(error)[1] == "INVALID_REQUEST"
        assert [each.field for each in details(error)["BadRequest"].field_violations] == ["binding_key"]


async def test_what_an_app_is_told_of_every_network(street: Street) -> None:
    config = await street.registry.GetClientConfig(reg.GetClientConfigRequest(), metadata=(("app-id", "shop"),))
    assert list(config.platforms) == [1, 2, 3]
    assert config.vapid_public_key == street.simulation.web_push.key.public_key
    offered = street.simulation.description["credentials"]["fcm"]["fcm"]
    assert config.fcm_sender_id == offered["senderId"] != ""


async def test_nothing_is_opened_for_whoever_asks_again(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask, as often as they like."""
    request, app_alone = reg.GetClientConfigRequest(), (("app-id", "shop"),)
    first = await street.registry.GetClientConfig(request, metadata=app_alone)

    def opens(*_: object) -> bytes:
        raise AssertionError("a credential was opened")

    monkeypatch.setattr(MasterKey, "open", opens)
    answers = await asyncio.gather(*(street.registry.GetClientConfig(request, metadata=app_alone) for _ in range(50)))
    assert all(answer == first for answer in answers)
