"""Every method against every fault of its credentials, and once with everything right. One server for all of it."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import grpc
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.app.authenticating import DeviceSecret
from bellhop_server.domain.application import SecretKind
from bellhop_server.rpc.admission import Limits
from bellhop_server.rpc.auth import ACCESS
from bellhop_server.rpc.server import SERVICES
from tests.system.live_server import ADMIN_TOKEN, Live, as_admin, live_server, p8, settings_in, told

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.promise("P1")]

CLIENT, APP, DEVICE = SecretKind.CLIENT, SecretKind.APP, SecretKind.DEVICE
KEYS = {CLIENT: "client-secret", APP: "app-secret", DEVICE: "device-secret"}
ADMIN = ("authorization", f"Bearer {ADMIN_TOKEN}")
ID = ("app-id", "shop")

Metadata = list[tuple[str, str]]


@dataclass(frozen=True)
class House:
    """A server with an application on it: a device with a user, a message, a credential, secrets good and bad."""

    live: Live
    good: dict[SecretKind, str]
    revoked: dict[SecretKind, str]
    ended: dict[SecretKind, str]
    foreign: dict[SecretKind, str]
    grant: str
    foreign_grant: str

    def of(self, kind: SecretKind) -> tuple[str, str]:
        """A good secret under its key."""
        return KEYS[kind], self.good[kind]

    async def call(self, path: str, metadata: Metadata, request: Message | None = None) -> list[Message]:
        """Calls a method, by default with a request that nothing is right with."""
        method = descriptor_pool.Default().FindMethodByName(path.strip("/").replace("/", "."))
        kinds = [message_factory.GetMessageClass(each) for each in (method.input_type, method.output_type)]
        request = kinds[0]() if request is None else request
        codec = {"request_serializer": kinds[0].SerializeToString, "response_deserializer": kinds[1].FromString}
        if method.client_streaming:
            both = self.live.channel.stream_stream(path, **codec)
            return [each async for each in both(iter([request]), metadata=metadata, timeout=20)]
        if method.server_streaming:
            stream = self.live.channel.unary_stream(path, **codec)
            return [each async for each in stream(request, metadata=metadata, timeout=20)]
        return [await self.live.channel.unary_unary(path, **codec)(request, metadata=metadata, timeout=20)]

    async def reason(self, path: str, metadata: Metadata) -> str:
        """Why a call is refused."""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.call(path, metadata)
        code, reason, _ = told(refused.value)
        assert code.name == {"CREDENTIAL_KIND_NOT_ACCEPTED": "PERMISSION_DENIED"}.get(reason, CODES.get(reason))
        return reason


CODES = {
    "CREDENTIALS_MISSING": "UNAUTHENTICATED",
    "CREDENTIALS_INVALID": "UNAUTHENTICATED",
    "INVALID_REQUEST": "INVALID_ARGUMENT",
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    settings = settings_in(tmp_path_factory.mktemp("credentials"))
    async with live_server(settings, limits=Limits(wrong_credentials=1_000_000)) as live:
        first, other = await live.shop("shop"), await live.shop("other")
        revoked = {kind: await rotated(live, kind, overlap=3600, revoke=True) for kind in (CLIENT, APP)}
        good = {kind: await rotated(live, kind) for kind in (CLIENT, APP)}
        await live.applications.SetCredential(CREDENTIAL, metadata=as_admin())
        binding = [ID, ("client-secret", good[CLIENT])]
        mine = await live.registry.RegisterDevice(device("d1"), metadata=binding)
        theirs = await live.registry.RegisterDevice(device("d1"), metadata=other.client)
        house = House(
            live,
            good={**good, DEVICE: mine.device_secret},
            revoked=revoked,
            ended={CLIENT: first.client_secret, APP: first.app_secret},
            foreign={CLIENT: other.client_secret, APP: other.app_secret, DEVICE: theirs.device_secret},
            grant=await granted(live, [ID, ("app-secret", good[APP])]),
            foreign_grant=await granted(live, list(other.sender)),
        )
        await house.call("/bellhop.v1.Notifier/Send", [ID, house.of(APP)], MESSAGE)
        tag = reg.CreateTagRequest(tag_name="news")
        await house.call("/bellhop.v1.PushRegistry/CreateTag", [ID, house.of(APP)], tag)
        yield house


async def granted(live: Live, metadata: Metadata) -> str:
    """A bind grant for any phone of Anna's."""
    request = reg.CreateBindGrantRequest(user_id="anna", ttl={"seconds": 3600})
    return str((await live.registry.CreateBindGrant(request, metadata=metadata)).bind_grant)


async def rotated(live: Live, kind: SecretKind, *, overlap: int = 0, revoke: bool = False) -> str:
    """A new secret of the shop; those before it end."""
    request = apps.RotateSecretRequest(app_id="shop", kind=kind, overlap={"seconds": overlap})
    made = await live.applications.RotateSecret(request, metadata=as_admin())
    if revoke:
        ended = apps.RevokeSecretRequest(app_id="shop", secret_id=made.description.secret_id)
        await live.applications.RevokeSecret(ended, metadata=as_admin())
    return str(made.secret)


def device(device_id: str) -> reg.RegisterDeviceRequest:
    return reg.RegisterDeviceRequest(device_id=device_id, user_id="anna", apns={"token": secrets.token_hex(32)})


CREDENTIAL = apps.SetCredentialRequest(
    app_id="shop",
    apns={"key": {"key_id": "ABCDE12345", "team_id": "ABCDE12345", "p8": p8()}, "topics": ["com.example.shop"]},
)
MESSAGE = notes.SendRequest(
    request_id="r1", message_id="m1", audience={"users": {"user_ids": ["anna"]}}, notification={"title": "T"}
)


async def victim(house: House) -> str:
    return (await house.live.shop(f"victim-{secrets.token_hex(4)}")).app_id


async def a_secret_id(house: House) -> str:
    listed = await house.live.applications.ListSecrets(apps.ListSecretsRequest(app_id="other"), metadata=as_admin())
    return str(listed.secrets[0].secret_id)


RIGHT: dict[str, Callable[[House], Awaitable[Message] | Message]] = {
    "/bellhop.v1.Applications/CreateApplication": lambda _: apps.CreateApplicationRequest(display_name="New"),
    "/bellhop.v1.Applications/GetApplication": lambda _: apps.GetApplicationRequest(app_id="shop"),
    "/bellhop.v1.Applications/ListApplications": lambda _: apps.ListApplicationsRequest(),
    "/bellhop.v1.Applications/UpdateApplication": lambda _: apps.UpdateApplicationRequest(app_id="shop"),
    "/bellhop.v1.Applications/RotateSecret": lambda _: apps.RotateSecretRequest(
        app_id="other", kind=apps.SECRET_KIND_APP, overlap={"seconds": 3600}
    ),
    "/bellhop.v1.Applications/ListSecrets": lambda _: apps.ListSecretsRequest(app_id="shop"),
    "/bellhop.v1.Applications/SetCredential": lambda _: CREDENTIAL,
    "/bellhop.v1.Applications/ListCredentials": lambda _: apps.ListCredentialsRequest(app_id="shop"),
    "/bellhop.v1.Applications/DeleteCredential": lambda _: apps.DeleteCredentialRequest(
        app_id="shop", credential_id="none"
    ),
    "/bellhop.v1.PushRegistry/RegisterDevice": lambda _: device(secrets.token_hex(4)),
    "/bellhop.v1.PushRegistry/RegisterAnonymousDevice": lambda _: reg.RegisterAnonymousDeviceRequest(
        apns={"token": secrets.token_hex(32)}
    ),
    "/bellhop.v1.PushRegistry/UnregisterDevice": lambda _: reg.UnregisterDeviceRequest(device_id="nobody's"),
    "/bellhop.v1.PushRegistry/UnregisterUser": lambda _: reg.UnregisterUserRequest(user_id="nobody"),
    "/bellhop.v1.PushRegistry/UpdateDevice": lambda _: reg.UpdateDeviceRequest(device_id="d1"),
    "/bellhop.v1.PushRegistry/GetDevice": lambda _: reg.GetDeviceRequest(device_id="d1"),
    "/bellhop.v1.PushRegistry/ListDevices": lambda _: reg.ListDevicesRequest(),
    "/bellhop.v1.PushRegistry/CreateBindGrant": lambda _: reg.CreateBindGrantRequest(user_id="anna"),
    "/bellhop.v1.PushRegistry/GetClientConfig": lambda _: reg.GetClientConfigRequest(),
    "/bellhop.v1.PushRegistry/CreateTag": lambda _: reg.CreateTagRequest(tag_name=secrets.token_hex(4)),
    "/bellhop.v1.PushRegistry/GetTag": lambda _: reg.GetTagRequest(tag_name="Push.ALL"),
    "/bellhop.v1.PushRegistry/ListTags": lambda _: reg.ListTagsRequest(),
    "/bellhop.v1.PushRegistry/UpdateTag": lambda _: reg.UpdateTagRequest(tag_name="news"),
    "/bellhop.v1.PushRegistry/DeleteTag": lambda _: reg.DeleteTagRequest(tag_name="none"),
    "/bellhop.v1.PushRegistry/Subscribe": lambda _: reg.SubscribeRequest(device_id="d1", tag_names=["none"]),
    "/bellhop.v1.PushRegistry/Unsubscribe": lambda _: reg.UnsubscribeRequest(device_id="d1", tag_names=["none"]),
    "/bellhop.v1.PushRegistry/ListSubscriptions": lambda _: reg.ListSubscriptionsRequest(device_id="d1"),
    "/bellhop.v1.PushRegistry/ReportInteraction": lambda _: reg.ReportInteractionRequest(
        message_id="m1", device_id="d1", interaction=message_pb2.INTERACTION_SEEN
    ),
    "/bellhop.v1.PushRegistry/CheckCredential": lambda _: reg.CheckCredentialRequest(),
    "/bellhop.v1.Notifier/Send": lambda _: MESSAGE,
    "/bellhop.v1.Notifier/SendMany": lambda _: notes.SendManyRequest(sends=[MESSAGE]),
    "/bellhop.v1.Notifier/WatchMessage": lambda _: notes.WatchMessageRequest(message_id="m1"),
    "/bellhop.v1.Notifier/GetMessage": lambda _: notes.GetMessageRequest(message_id="m1"),
    "/bellhop.v1.Notifier/ListMessages": lambda _: notes.ListMessagesRequest(),
    "/bellhop.v1.Notifier/CancelMessage": lambda _: notes.CancelMessageRequest(message_id="m1"),
    "/bellhop.v1.Notifier/ExplainSend": lambda _: notes.ExplainSendRequest(
        audience={"everyone": {}}, notification={"title": "Hi"}
    ),
    "/bellhop.v1.Notifier/ListResults": lambda _: notes.ListResultsRequest(message_id="m1"),
}


async def right(house: House, path: str) -> Message:
    """A request that is carried out."""
    match path.rpartition("/")[2]:
        case "DeleteApplication":
            return apps.DeleteApplicationRequest(app_id=await victim(house))
        case "RevokeSecret":
            return apps.RevokeSecretRequest(app_id="other", secret_id=await a_secret_id(house))
    made = RIGHT[path](house)
    assert isinstance(made, Message)
    return made


TENANT = [path for path, access in ACCESS.items() if not access.admin]
OF_ADMIN = [path for path, access in ACCESS.items() if access.admin]


async def test_every_method_has_a_row_and_every_row_is_of_a_method() -> None:
    services = [descriptor_pool.Default().FindServiceByName(name) for name in SERVICES]
    methods = {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}
    assert set(ACCESS) == methods


def accepted(path: str) -> tuple[SecretKind, ...]:
    return ACCESS[path].accepted


def own(path: str) -> SecretKind:
    """A kind that the method takes and that authentication judges."""
    return CLIENT if CLIENT in accepted(path) else APP


@pytest.mark.parametrize("path", TENANT)
async def test_every_accepted_kind_opens_its_method(house: House, path: str) -> None:
    for kind in accepted(path):
        metadata = [ID, house.of(kind)]
        if path.endswith("/UnregisterDevice") and kind is DEVICE:
            await logs_out_with_its_own_secret(house)
        else:
            assert await house.call(path, metadata, await right(house, path))
        if kind is not DEVICE:
            assert await house.call(
                path, [ID, ("authorization", f"bearer  {house.good[kind]}")], await right(house, path)
            )


async def logs_out_with_its_own_secret(house: House) -> None:
    made = await house.live.registry.RegisterDevice(device("leaver"), metadata=[ID, house.of(CLIENT)])
    request = reg.UnregisterDeviceRequest(device_id="leaver")
    metadata = [ID, ("device-secret", made.device_secret)]
    assert (await house.live.registry.UnregisterDevice(request, metadata=metadata)).existed


@pytest.mark.parametrize("path", OF_ADMIN)
async def test_the_admin_token_opens_its_methods(house: House, path: str) -> None:
    assert await house.call(path, [ADMIN], await right(house, path))
    assert await house.call(path, [ADMIN, ID, house.of(APP)], await right(house, path))


@pytest.mark.parametrize("path", TENANT)
async def test_what_is_missing_is_told_before_anything_else(house: House, path: str) -> None:
    good = house.of(own(path))
    assert await house.reason(path, [good]) == "CREDENTIALS_MISSING"
    assert await house.reason(path, [("app-id", ""), good]) == "CREDENTIALS_MISSING"
    assert await house.reason(path, []) == "CREDENTIALS_MISSING"
    empty = [(good[0], ""), ("bind-grant", ""), ("authorization", "Bearer "), ("authorization", "")]
    nothing = [[ID], *([ID, each] for each in empty)]
    for metadata in nothing:
        if ACCESS[path].optional:
            assert await house.call(path, metadata, await right(house, path))
        else:
            assert await house.reason(path, metadata) == "CREDENTIALS_MISSING"


@pytest.mark.parametrize("path", OF_ADMIN)
async def test_an_admin_token_that_is_missing_is_told_before_anything_else(house: House, path: str) -> None:
    for metadata in ([], [ID], [("authorization", "")], [("authorization", "Bearer")], [("app-secret", "")]):
        assert await house.reason(path, metadata) == "CREDENTIALS_MISSING"


@pytest.mark.parametrize("path", TENANT)
async def test_whatever_is_not_valid_looks_alike(house: House, path: str) -> None:
    kind = own(path)
    key, text = house.of(kind)
    wrong: list[Metadata] = [
        [ID, (key, "x")],
        [ID, (key, " ")],
        [ID, (key, f"{text}x")],
        [ID, (key, text.upper())],
        [ID, (key, f"bha_{secrets.token_urlsafe(32)}")],
        [ID, (key, "x" * 8000)],
        [ID, (key, house.foreign[kind])],
        [ID, (key, house.revoked[kind])],
        [ID, (key, house.ended[kind])],
        [("app-id", "nobody"), (key, text)],
        [("app-id", "other"), (key, text)],
        [("app-id", "x" * 5000), (key, text)],
        [ID, (key, text), (key, text)],
        [ID, ID, (key, text)],
        [ID, (key, text), ("authorization", f"Bearer {house.revoked[kind]}")],
        [ID, ("authorization", f"Bearer {house.ended[kind]}")],
        [ID, ("authorization", f"Basic {text}")],
        [ID, ("authorization", text)],
        [ID, ("authorization", f"Bearer {text}"), ("authorization", f"Bearer {text}")],
        [ID, (key, text), ("bind-grant", "eyJ")],
        [ID, ("bind-grant", "eyJ")],
        [ID, ("app-secret", ADMIN_TOKEN)],
        [ID, ("device-secret", ADMIN_TOKEN)],
        [ID, ("device-secret", "x")],
        [ID, (key, text), ("device-secret", "x" * 31)],
        [("app-id", "nobody"), ("device-secret", "x")],
        [("app-id", "nobody"), ("device-secret", "x" * 40)],
        [("app-id", "nobody"), house.of(DEVICE)],
    ]
    unknown: list[Metadata] = [[ID, ("device-secret", "x" * 40)], [ID, ("device-secret", house.foreign[DEVICE])]]
    if ACCESS[path].device_secret is not DeviceSecret.OWN:
        wrong += [*unknown, *([*metadata, (key, text)] for metadata in unknown)]
    elif DEVICE not in accepted(path):
        wrong += unknown
    for metadata in wrong:
        assert await house.reason(path, metadata) == "CREDENTIALS_INVALID", metadata


@pytest.mark.parametrize("path", OF_ADMIN)
async def test_whatever_is_not_the_admin_token_looks_alike(house: House, path: str) -> None:
    wrong: list[Metadata] = [
        [("authorization", "Bearer x")],
        [("authorization", f"Bearer {ADMIN_TOKEN}x")],
        [("authorization", f"Basic {ADMIN_TOKEN}")],
        [("authorization", ADMIN_TOKEN)],
        [ADMIN, ADMIN],
        [ADMIN, ("app-secret", "x")],
        [ADMIN, ("bind-grant", "x")],
        [ADMIN, ("app-id", "other"), house.of(APP)],
        [("authorization", f"Bearer {house.revoked[APP]}")],
        [("authorization", f"Bearer {house.ended[CLIENT]}")],
        [ID, ("app-secret", "x")],
        [("app-secret", ADMIN_TOKEN)],
        [("device-secret", ADMIN_TOKEN)],
        [ADMIN, ("device-secret", "x" * 40)],
    ]
    for metadata in wrong:
        assert await house.reason(path, metadata) == "CREDENTIALS_INVALID", metadata


@pytest.mark.parametrize("path", TENANT)
async def test_a_valid_secret_of_another_kind_is_denied(house: House, path: str) -> None:
    denied: list[Metadata] = [
        [ID, ADMIN],
        [ID, ("app-secret", house.good[CLIENT])],
        [ID, ("client-secret", house.good[APP])],
        [ID, ("client-secret", house.good[DEVICE])],
        [ID, ("device-secret", house.good[APP])],
        [ID, ("authorization", f"Bearer {house.good[DEVICE]}")],
        [ID, house.of(own(path)), ("device-secret", house.good[CLIENT])],
    ]
    if not ACCESS[path].optional:
        denied += [[ID, house.of(kind)] for kind in KEYS if kind not in accepted(path)]
    for metadata in denied:
        assert await house.reason(path, metadata) == "CREDENTIAL_KIND_NOT_ACCEPTED", metadata


@pytest.mark.parametrize("path", [*TENANT, *OF_ADMIN])
async def test_a_bind_grant_is_a_credential_like_others(house: House, path: str) -> None:
    shown, others = ("bind-grant", house.grant), ("bind-grant", house.foreign_grant)
    forged = ("bind-grant", f"{shown[1][:-8]}AAAAAAAA")
    beside = [ADMIN] if ACCESS[path].admin else [house.of(own(path))]
    wrong = [[others], [forged], [shown, shown], [shown, others], [others, *beside], [forged, *beside]]
    for metadata in wrong:
        assert await house.reason(path, [ID, *metadata]) == "CREDENTIALS_INVALID", metadata
    if ACCESS[path].grant:
        assert await house.call(path, [ID, shown], await right(house, path))
    else:
        for metadata in ([shown], [shown, *beside]):
            assert await house.reason(path, [ID, *metadata]) == "CREDENTIAL_KIND_NOT_ACCEPTED", metadata


@pytest.mark.parametrize("path", OF_ADMIN)
async def test_a_secret_of_an_application_does_not_administer(house: House, path: str) -> None:
    denied: list[Metadata] = [[ID, house.of(kind)] for kind in KEYS]
    denied += [[("authorization", f"Bearer {house.good[kind]}")] for kind in KEYS]
    denied += [[house.of(APP)]]
    for metadata in denied:
        assert await house.reason(path, metadata) == "CREDENTIAL_KIND_NOT_ACCEPTED", metadata


@pytest.mark.parametrize("path", TENANT)
async def test_a_second_valid_secret_does_no_harm(house: House, path: str) -> None:
    metadata = [ID, house.of(CLIENT), house.of(APP), ("authorization", f"Bearer {house.good[CLIENT]}")]
    assert await house.call(path, metadata, await right(house, path))


@pytest.mark.parametrize("path", [*TENANT, *OF_ADMIN])
async def test_the_caller_comes_before_the_request(house: House, path: str) -> None:
    """Bytes that are no message at all: the credentials are told, and only then the bytes."""
    good = [ADMIN] if ACCESS[path].admin else [ID, house.of(own(path))]
    raw = house.live.channel.unary_unary(path) if "Send" not in path and "Watch" not in path else None
    if raw is None:
        stream = house.live.channel.unary_stream(path)

        async def raw(request: bytes, metadata: Metadata) -> None:
            async for _ in stream(request, metadata=metadata):
                pass

    for metadata, reason in (([], "CREDENTIALS_MISSING"), (good, "INVALID_REQUEST")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await raw(b"\xff\xff\xff", metadata=metadata)
        assert told(refused.value)[1] == reason
