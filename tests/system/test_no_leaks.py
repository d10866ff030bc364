"""Markers in every secret, token and payload; everything goes wrong; logs, metrics and errors are searched for them."""

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server import logs
from bellhop_server.domain.application import Credential, ProbeResult
from bellhop_server.domain.delivery import Answer, Chunk
from bellhop_server.settings import Address
from tests.system.live_server import (
    KindProvider,
    Live,
    Shop,
    as_admin,
    credentials,
    live_server,
    metrics_of,
    p8,
    settings_in,
)

ADMIN_TOKEN = "marker-admin-token"
MASTER_KEY = "bWFya2VyLW1hc3Rlci1rZXktMzItYnl0ZXMtbG9uZyE="
DEVICE_SECRET = "marker-device-secret-of-the-callers-own"
BINDING_KEY = b"marker-binding-key-of-thirty-two"
WRONG_SECRET = "marker-wrong-secret-that-nobody-has"
TOKEN = "fade" * 16
PAYLOAD = "marker-payload"
P8 = p8()
P8_BODY = P8.splitlines()[1]


class CruelProvider(KindProvider):
    """Raises what a careless library would: text with everything in it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        self.asked.set()
        raise RuntimeError(f"{TOKEN} {PAYLOAD} {P8}")

    async def probe(self, credential: Credential) -> ProbeResult:
        if credential.credential_id == "cruel":
            raise RuntimeError(P8) from ValueError(credential.secret.p8)
        return ProbeResult(True, "", 1)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, down to debug."""
    root = logging.getLogger()
    ours = logging.getLogger("bellhop_server")
    before = root.handlers, root.level, ours.level
    stream = io.StringIO()
    logs.configure("debug", stream)
    yield stream
    root.handlers, root.level, ours.level = before
    structlog.reset_defaults()


async def error_of(call: Any) -> str:
    """Everything that a failed call says."""
    try:
        if isinstance(call, grpc.aio.UnaryStreamCall):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return f"{error.details()} {error.debug_error_string()} {tuple(error.trailing_metadata() or ())}"
    return ""


def register(device_id: str, **changes: Any) -> reg.RegisterDeviceRequest:
    fields = {
        "user_id": "anna",
        "apns": {"token": TOKEN},
        "attributes": {"k": PAYLOAD},
        "binding_key": BINDING_KEY,
    }
    return reg.RegisterDeviceRequest(device_id=device_id, **{**fields, **changes})


def send(**changes: Any) -> notes.SendRequest:
    shown = {"title": PAYLOAD, "data": {"k": PAYLOAD}, "apns": {"payload": {"k": PAYLOAD}}}
    fields = {"audience": {"users": {"user_ids": ["anna"]}}, "notification": shown}
    return notes.SendRequest(**{**fields, **changes})


def set_credential(name: str, key: str = P8) -> apps.SetCredentialRequest:
    apns = {"key": {"key_id": "ABCDE12345", "team_id": "ABCDE12345", "p8": key}, "topics": ["com.example.shop"]}
    return apps.SetCredentialRequest(app_id="shop", credential_id=name, apns=apns)


async def everything_goes_wrong(live: Live, shop: Shop, grant: str) -> list[str]:
    """Whatever is refused, with something secret in each request."""
    both = credentials("shop", client_secret=shop.client_secret, device_secret=DEVICE_SECRET)
    wrong = credentials("shop", app_secret=WRONG_SECRET)
    admin = as_admin(ADMIN_TOKEN)
    registry, notifier, applications = live.registry, live.notifier, live.applications
    calls: list[Callable[[], Any]] = [
        lambda: registry.RegisterDevice(register("d2", user_id="", locale="!"), metadata=both),
        lambda: registry.RegisterDevice(register("d2", apns={"token": f"{TOKEN}x"}), metadata=both),
        lambda: registry.RegisterDevice(register("d2"), metadata=wrong),
        lambda: registry.UpdateDevice(
            reg.UpdateDeviceRequest(device_id="d1"), metadata=credentials("shop", device_secret=WRONG_SECRET)
        ),
        lambda: registry.CheckCredential(
            reg.CheckCredentialRequest(), metadata=credentials("shop", client_secret=shop.app_secret)
        ),
        lambda: registry.ListDevices(reg.ListDevicesRequest(page_token=PAYLOAD), metadata=shop.sender),
        lambda: notifier.Send(send(request_id=f"{PAYLOAD} "), metadata=shop.sender),
        lambda: notifier.Send(send(notification={"image_url": PAYLOAD, "sound": PAYLOAD * 50}), metadata=shop.sender),
        lambda: notifier.Send(send(request_id="r1", options={"ttl": {"seconds": 1}}), metadata=shop.sender),
        lambda: notifier.Send(send(), metadata=shop.client),
        lambda: applications.SetCredential(set_credential("apns", P8[:-40]), metadata=admin),
        lambda: applications.SetCredential(set_credential("cruel"), metadata=admin),
        lambda: applications.SetCredential(set_credential("APNS"), metadata=admin),
        lambda: applications.ListApplications(apps.ListApplicationsRequest(), metadata=as_admin(WRONG_SECRET)),
        lambda: applications.ListApplications(apps.ListApplicationsRequest(), metadata=shop.sender),
        lambda: notifier.Send(send(), metadata=credentials("shop", app_secret=ADMIN_TOKEN)),
        lambda: notifier.Send(send(), metadata=credentials("shop", bind_grant=grant)),
        lambda: registry.RegisterDevice(register("d2"), metadata=credentials("shop", bind_grant=grant)),
        lambda: registry.RegisterDevice(register("d1", binding_key=BINDING_KEY * 2), metadata=shop.client),
    ]
    return [await error_of(call()) for call in calls]


async def test_nothing_secret_is_logged_or_told(tmp_path: Path, log: io.StringIO) -> None:
    settings = settings_in(
        tmp_path, admin_token=ADMIN_TOKEN, master_key=MASTER_KEY, metrics_listen=Address("127.0.0.1", 0)
    )
    logging.getLogger("a.dependency").error("settings are %r", settings)
    cruel = CruelProvider()
    async with live_server(settings, provider=cruel) as live:
        shop = await live.shop()
        both = credentials("shop", client_secret=shop.client_secret, device_secret=DEVICE_SECRET)
        await live.registry.RegisterDevice(register("d1"), metadata=both)
        await live.applications.SetCredential(set_credential("apns"), metadata=as_admin(ADMIN_TOKEN))
        accepted = notes.SendRequest(accept_only=True)
        accepted.MergeFrom(send(request_id="r1"))
        assert await error_of(live.notifier.Send(accepted, metadata=shop.sender)) == ""
        request = reg.CreateBindGrantRequest(user_id="anna", device_id="d1")
        grant = (await live.registry.CreateBindGrant(request, metadata=shop.sender)).bind_grant
        errors = await everything_goes_wrong(live, shop, grant)
        assert all(errors)
        metrics = await metrics_of(live)
        await cruel.asked.wait()

    logged = log.getvalue()
    lines = [json.loads(line) for line in logged.splitlines()]
    incident = next(line for line in lines if line["event"] == "incident")
    assert incident["exception"][0] == "builtins.RuntimeError"
    assert incident["incident_id"] in errors[11]
    assert {"listening", "a provider failed"} <= {line["event"] for line in lines}
    secrets = {
        "admin token": ADMIN_TOKEN,
        "master key": MASTER_KEY,
        "client secret": shop.client_secret,
        "app secret": shop.app_secret,
        "device secret": DEVICE_SECRET,
        "wrong secret": WRONG_SECRET,
        "bind grant": grant.rpartition(".")[2],
        "binding key": BINDING_KEY.decode(),
        "token": TOKEN,
        "payload": PAYLOAD,
        "key": P8_BODY,
    }
    for name, text in secrets.items():
        places = {"logs": logged, "metrics": metrics, "errors": "\n".join(errors)}
        assert {place for place, said in places.items() if text in said} == set(), name


def test_an_exception_is_logged_as_where_it_went_and_not_what_it_said(log: io.StringIO) -> None:
    try:
        try:
            raise KeyError(TOKEN)
        except KeyError as error:
            raise ValueError(PAYLOAD) from error
    except ValueError:
        logging.getLogger("a.dependency").exception("it failed")
        structlog.stdlib.get_logger("bellhop_server").error("so did this", exc_info=True)
    for line in map(json.loads, log.getvalue().splitlines()):
        assert line["level"] == "error"
        first, where, second, _ = line["exception"]
        assert (first, second) == ("builtins.ValueError", "builtins.KeyError")
        assert f"{Path(__file__).name}:" in where
    assert TOKEN not in log.getvalue()
    assert PAYLOAD not in log.getvalue()


def test_a_log_line_is_one_json_object(log: io.StringIO) -> None:
    structlog.stdlib.get_logger("bellhop_server").info("two\nlines", number=3, text="ä\u2028")
    (line,) = log.getvalue().rstrip("\n").split("\n")
    entry = json.loads(line)
    assert (entry["event"], entry["number"], entry["text"]) == ("two\nlines", 3, "ä\u2028")
    assert (entry["level"], entry["logger"]) == ("info", "bellhop_server")
    assert entry["timestamp"].endswith("Z")
