"""A whole server on a port of its own, an application on it, and a provider that takes everything."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import applications_pb2_grpc, notifier_pb2_grpc, push_registry_pb2_grpc
from bellhop_server.domain.application import (
    ApnsCredential,
    Breaker,
    Credential,
    CredentialOffer,
    ProbeResult,
    ProviderSecret,
)
from bellhop_server.domain.delivery import Answer, Chunk, ProviderRequest, Verdict
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.errors import InvalidRequest, Violation
from bellhop_server.main import Server, running_server
from bellhop_server.providers.apns.token import check_key
from bellhop_server.rpc.admission import Limits
from bellhop_server.settings import Address, Settings

ADMIN_TOKEN = "an-admin-token-for-tests"
TOKEN = "ab" * 32


class KindProvider:
    """Takes whatever it is given, and remembers it. Clear `answers`, and it thinks until they are set."""

    platform = Platform.APNS

    def __init__(self) -> None:
        self.probe_result = ProbeResult(True, "", 1)
        self.chunks: list[Chunk] = []
        self.forgotten: list[tuple[str, str]] = []
        self.probed = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        self.chunks.append(chunk)
        await self.answers.wait()
        for index, delivery in enumerate(chunk.deliveries):
            report(index, Answer(Verdict.ACCEPTED, 200, provider_message_id=delivery.provider_message_id))

    def accept(self, offer: CredentialOffer, present: ProviderSecret | None) -> ProviderSecret:
        assert isinstance(offer, ApnsCredential)
        if wrong := check_key(offer):
            raise InvalidRequest([Violation("apns.key.p8", wrong)])
        return offer

    async def check_target(self, target: Target) -> list[Violation]:
        return []

    def explain(self, chunk: Chunk) -> list[ProviderRequest | Answer]:
        request = ProviderRequest("https://kind.example", {}, chunk.notification.title, 1, 2)
        return [request for _ in chunk.deliveries]

    async def probe(self, credential: Credential) -> ProbeResult:
        self.probed.set()
        await self.answers.wait()
        return self.probe_result

    def breakers(self, app_id: str | None = None) -> list[Breaker]:
        return []

    def forget(self, app_id: str, credential_id: str) -> None:
        self.forgotten.append((app_id, credential_id))

    async def aclose(self) -> None:
        self.answers.set()


@dataclass(frozen=True)
class Live:
    """A server that runs, and stubs over one channel to it."""

    server: Server
    channel: grpc.aio.Channel
    provider: KindProvider
    settings: Settings
    stop: Callable[[], Awaitable[None]]
    """Ends the server, and returns when it has ended; the channel stays."""
    applications: "applications_pb2_grpc.ApplicationsAsyncStub" = field(init=False)
    registry: "push_registry_pb2_grpc.PushRegistryAsyncStub" = field(init=False)
    notifier: "notifier_pb2_grpc.NotifierAsyncStub" = field(init=False)

    def __post_init__(self) -> None:
        for name, stub in (
            ("applications", applications_pb2_grpc.ApplicationsStub),
            ("registry", push_registry_pb2_grpc.PushRegistryStub),
            ("notifier", notifier_pb2_grpc.NotifierStub),
        ):
            object.__setattr__(self, name, stub(self.channel))

    async def shop(self, app_id: str = "shop") -> "Shop":
        """Makes an application."""
        request = apps.CreateApplicationRequest(app_id=app_id, display_name="Shop")
        metadata = as_admin(self.server.admin_token)
        made = await self.applications.CreateApplication(request, metadata=metadata)
        return Shop(app_id, made.client_secret, made.app_secret)

    async def credential(self, shop: "Shop") -> None:
        """Gives an application a credential, so that something is sent for it."""
        key = {"key_id": "ABCDE12345", "team_id": "ABCDE12345", "p8": p8()}
        request = apps.SetCredentialRequest(app_id=shop.app_id, apns={"key": key, "topics": ["com.example.shop"]})
        await self.applications.SetCredential(request, metadata=as_admin())


@dataclass(frozen=True)
class Shop:
    """An application and its secrets."""

    app_id: str
    client_secret: str
    app_secret: str

    @property
    def client(self) -> tuple[tuple[str, str], ...]:
        """Metadata that binds devices."""
        return credentials(self.app_id, client_secret=self.client_secret)

    @property
    def sender(self) -> tuple[tuple[str, str], ...]:
        """Metadata that sends."""
        return credentials(self.app_id, app_secret=self.app_secret)


def credentials(app_id: str, **secrets: str) -> tuple[tuple[str, str], ...]:
    """Metadata with an application's id and secrets by kind."""
    return (("app-id", app_id), *((name.replace("_", "-"), text) for name, text in secrets.items()))


def p8() -> str:
    """A key as Apple hands them out."""
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def as_admin(token: str = ADMIN_TOKEN) -> tuple[tuple[str, str], ...]:
    """Metadata of the admin."""
    return (("authorization", f"Bearer {token}"),)


def settings_in(folder: Path, **changes: Any) -> Settings:
    """Of a server that nobody else meets."""
    fields = {
        "listen": Address("127.0.0.1", 0),
        "database_url": f"sqlite:///{folder / 'bellhop.db'}",
        "admin_token": ADMIN_TOKEN,
    }
    return Settings(**{**fields, **changes})


@asynccontextmanager
async def live_server(
    settings: Settings,
    *,
    limits: Limits | None = None,
    provider: KindProvider | None = None,
    channel_credentials: grpc.ChannelCredentials | None = None,
    options: tuple[tuple[str, Any], ...] = (),
) -> AsyncIterator[Live]:
    """A server and a channel to it, for as long as the context lasts."""
    provider = provider or KindProvider()
    async with AsyncExitStack() as stack:
        running = running_server(settings, providers={Platform.APNS: provider}, limits=limits or Limits())
        server = await stack.enter_async_context(running)
        if channel_credentials is None:
            channel = grpc.aio.insecure_channel(server.address, options=options)
        else:
            channel = grpc.aio.secure_channel(server.address, channel_credentials, options=options)
        async with channel:
            yield Live(server, channel, provider, settings, stack.aclose)


async def metrics_of(live: Live) -> str:
    """The metrics as Prometheus reads them."""

    def read() -> str:
        with urllib.request.urlopen(f"http://{live.server.metrics_address}/metrics") as answer:
            text: str = answer.read().decode()
        return text

    return await asyncio.to_thread(read)


async def counted(live: Live, line: str) -> None:
    """Returns once the metrics have that line."""
    while line not in (await metrics_of(live)).splitlines():
        pass


def told(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str, Mapping[str, str]]:
    """Code, reason (without its prefix) and metadata of a failed call."""
    info = details(error)["ErrorInfo"]
    assert info.domain == "bellhop"
    return error.code(), info.reason.removeprefix("ERROR_REASON_"), dict(info.metadata)


def details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The details of a failed call by the name of their type."""
    status = rpc_status.from_call(error)
    assert isinstance(status, status_pb2.Status), error
    assert status.code == error.code().value[0]
    found = {}
    for packed in status.details:
        name = packed.TypeName().rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name)()
        packed.Unpack(found[name])
    return found


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    """How a call fails, after whatever it streams."""
    return (await story(call))[1]


async def story(call: Any) -> tuple[list[Any], grpc.aio.AioRpcError]:
    """What a call that fails streams, and how it fails."""
    streamed = []
    try:
        if isinstance(call, grpc.aio.UnaryStreamCall):
            async for each in call:
                streamed.append(each)
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return streamed, error
    raise AssertionError("the call was not refused")
