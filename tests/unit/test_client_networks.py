"""Devices and credentials of every network, and explanations, as the client asks for them."""

from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from google.protobuf.message import Message

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2, message_pb2, notifier_pb2
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_client import (
    AdminClient,
    Client,
    FcmOverride,
    FcmTarget,
    InvalidRequestError,
    Notification,
    SendOptions,
    UnavailableError,
    WebPushTarget,
    to_everyone,
)
from tests.unit.scripted_server import Refusal, ScriptedServer, error_info, scripted_server

BROWSER = WebPushTarget(endpoint="https://push.example.org/x", p256dh="BA", auth="AA", vapid_public_key="BL7a")
PHONE = FcmTarget(token="dK3:APA91b")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as scripted:
        yield scripted


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[Client]:
    async with Client(server.address, app_id="shop", app_secret="bha_1") as client:
        yield client


async def test_targets_of_every_network_arrive(client: Client, server: ScriptedServer) -> None:
    await client.register_device(user_id="anna", fcm=PHONE)
    await client.register_device(user_id="anna", web_push=BROWSER)
    await client.register_anonymous_device(device_id="d1", fcm=FcmTarget(fid="cXYZ"), target_nonce="n1")
    await client.register_anonymous_device(web_push=BROWSER)
    await client.update_device(device_id="d1", fcm=PHONE, target_nonce="n2")
    await client.update_device(device_id="d1", web_push=BROWSER)
    wanted: list[Message] = [
        reg.RegisterDeviceRequest(user_id="anna", fcm=PHONE),
        reg.RegisterDeviceRequest(user_id="anna", web_push=BROWSER),
        reg.RegisterAnonymousDeviceRequest(device_id="d1", fcm=FcmTarget(fid="cXYZ"), target_nonce="n1"),
        reg.RegisterAnonymousDeviceRequest(web_push=BROWSER),
        reg.UpdateDeviceRequest(device_id="d1", fcm=PHONE, target_nonce="n2"),
        reg.UpdateDeviceRequest(device_id="d1", web_push=BROWSER),
    ]
    assert server.registry.requests == wanted


async def test_credentials_of_every_network_arrive(server: ScriptedServer) -> None:
    fcm = apps.FcmCredential(service_account_json="{}")
    vapid = apps.WebPushCredential(generate=apps.GenerateVapidKey(), subject="mailto:ops@example.org")
    async with AdminClient(server.address, admin_token="root") as admin:
        await admin.set_credential(app_id="shop", fcm=fcm)
        await admin.set_credential(app_id="shop", web_push=vapid, credential_id="web", validate_only=True)
    assert server.applications.requests == [
        apps.SetCredentialRequest(app_id="shop", fcm=fcm),
        apps.SetCredentialRequest(app_id="shop", web_push=vapid, credential_id="web", validate_only=True),
    ]


EXPLANATIONS = [
    notifier_pb2.ExplainSendResponse(
        device_id="d1", platform=device_pb2.PLATFORM_FCM, request=notifier_pb2.ProviderRequest(url="POST https://x")
    ),
    notifier_pb2.ExplainSendResponse(device_id="d2", withheld=message_pb2.OUTCOME_NOT_CONFIGURED),
]


async def test_explanations_come_one_by_one(client: Client, server: ScriptedServer) -> None:
    server.notifier.explanations = EXPLANATIONS
    shown = Notification(title="Hello", fcm=FcmOverride(channel_id="orders"))
    options = SendOptions(priority=message_pb2.PRIORITY_HIGH)
    explained = client.explain(audience=to_everyone(), notification=shown, options=options, max_devices=2)
    assert [each async for each in explained] == EXPLANATIONS
    assert server.notifier.explains == [
        notifier_pb2.ExplainSendRequest(audience=to_everyone(), notification=shown, options=options, max_devices=2)
    ]


async def test_an_explanation_that_is_cut_or_refused_is_an_error(client: Client, server: ScriptedServer) -> None:
    server.notifier.explanations = EXPLANATIONS
    server.notifier.cuts = [
        (0, Refusal(grpc.StatusCode.INVALID_ARGUMENT, "wrong", error_info("INVALID_REQUEST"))),
        (1, Refusal(grpc.StatusCode.UNAVAILABLE, "away", error_info("STREAM_INTERRUPTED"))),
    ]
    with pytest.raises(InvalidRequestError):
        await anext(client.explain(audience=to_everyone(), notification=Notification()))
    explained = client.explain(audience=to_everyone(), notification=Notification(title="Hello"))
    assert await anext(explained) == EXPLANATIONS[0]
    with pytest.raises(UnavailableError):
        await anext(explained)
    assert len(server.notifier.explains) == 2


async def test_leaving_early_hangs_up(client: Client, server: ScriptedServer) -> None:
    server.notifier.explanations = EXPLANATIONS
    explained = client.explain(audience=to_everyone(), notification=Notification(title="Hello"))
    assert await anext(explained) == EXPLANATIONS[0]
    await explained.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(explained)
