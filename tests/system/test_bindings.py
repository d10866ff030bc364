"""Bindings that end, over the wire: what is asked for, what comes back, what is told of bad values."""

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import grpc
import pytest

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.app.authenticating import Authenticating
from bellhop_server.store.registry import SqlDevices
from tests.system.live_server import Live, Shop, as_admin, credentials, details, refusal, told

pytestmark = pytest.mark.promise("P5")

STALE = (grpc.StatusCode.ABORTED, "STALE_BINDING")


def login(device_id: str = "d1", user_id: str = "anna", **binding: Any) -> reg.RegisterDeviceRequest:
    target = {"token": device_id.encode().hex()}
    return reg.RegisterDeviceRequest(device_id=device_id, user_id=user_id, apns=target, **binding)


async def test_a_login_has_a_name_and_an_end(live: Live, shop: Shop) -> None:
    request = login(session_id="web-7", binding_ttl={"seconds": 60})
    device = (await live.registry.RegisterDevice(request, metadata=shop.client)).device
    assert device.session_id == "web-7"
    assert device.binding_expire_time.ToMicroseconds() == device.bind_time.ToMicroseconds() + 60_000_000
    got = await live.registry.GetDevice(reg.GetDeviceRequest(device_id="d1"), metadata=shop.client)
    assert got.device == device
    forever = (await live.registry.RegisterDevice(login(), metadata=shop.client)).device
    assert forever.session_id == ""
    assert not forever.HasField("binding_expire_time")


async def test_the_policy_says_when_a_login_ends_that_does_not(live: Live, shop: Shop) -> None:
    request = apps.UpdateApplicationRequest(
        app_id="shop", policy={"default_binding_ttl": {"seconds": 90, "nanos": 5000}}
    )
    changed = await live.applications.UpdateApplication(request, metadata=as_admin())
    assert changed.application.policy == apps.ApplicationPolicy(
        binding_policy=apps.BINDING_POLICY_SECRET_OR_GRANT,
        anonymous_policy=apps.ANONYMOUS_POLICY_OPEN,
        default_binding_ttl={"seconds": 90, "nanos": 5000},
    )
    device = (await live.registry.RegisterDevice(login(), metadata=shop.client)).device
    assert device.binding_expire_time.ToMicroseconds() == device.bind_time.ToMicroseconds() + 90_000_005
    got = await live.applications.GetApplication(apps.GetApplicationRequest(app_id="shop"), metadata=as_admin())
    assert got.application == changed.application
    made = apps.CreateApplicationRequest(display_name="x", policy={"default_binding_ttl": {"seconds": 60}})
    created = await live.applications.CreateApplication(made, metadata=as_admin())
    assert created.application.policy.default_binding_ttl.seconds == 60


async def test_a_login_that_has_ended_is_seen_by_nobody(live: Live, shop: Shop) -> None:
    made = await live.registry.RegisterDevice(login(session_id="s", binding_ttl={"seconds": 60}), metadata=shop.client)
    # Instead of waiting a minute: the row as it would be by then.
    path = live.settings.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE devices SET binding_expire_time = binding_expire_time - 60000000")

    got = (await live.registry.GetDevice(reg.GetDeviceRequest(device_id="d1"), metadata=shop.sender)).device
    assert (got.user_id, got.session_id) == ("", "")
    assert not got.HasField("bind_time")
    assert not got.HasField("binding_expire_time")

    async def listed(**filters: Any) -> tuple[list[Any], int]:
        request = reg.ListDevicesRequest(return_total_size=True, **filters)
        page = await live.registry.ListDevices(request, metadata=shop.sender)
        return list(page.devices), page.total_size

    assert await listed(user_id="anna") == ([], 0)
    assert await listed(anonymous=False) == ([], 0)
    assert await listed(anonymous=True) == ([got], 1)
    assert await listed() == ([got], 1)
    assert (await live.registry.UnregisterUser(reg.UnregisterUserRequest(user_id="anna"), metadata=shop.client)) == (
        reg.UnregisterUserResponse(device_count=0)
    )

    mine = credentials("shop", device_secret=made.device_secret)
    anonymous = reg.RegisterAnonymousDeviceRequest(device_id="d1")
    again = await live.registry.RegisterAnonymousDevice(anonymous, metadata=mine)
    assert not again.created
    assert again.device_secret == ""
    assert (await live.registry.UnregisterDevice(reg.UnregisterDeviceRequest(device_id="d1"), metadata=mine)).existed


async def test_a_session_is_ended_alone(live: Live, shop: Shop) -> None:
    await live.registry.RegisterDevice(login("d1", session_id="web"), metadata=shop.client)
    await live.registry.RegisterDevice(login("d2", session_id="app"), metadata=shop.client)
    await live.registry.RegisterDevice(login("d3", "ben", session_id="web"), metadata=shop.client)
    request = reg.UnregisterUserRequest(user_id="anna", session_id="web")
    assert (await live.registry.UnregisterUser(request, metadata=shop.client)).device_count == 1
    assert (await live.registry.UnregisterUser(request, metadata=shop.client)).device_count == 0
    listed = await live.registry.ListDevices(reg.ListDevicesRequest(), metadata=shop.sender)
    assert [device.device_id for device in listed.devices] == ["d2", "d3"]
    # Whoever logs in from now on is not late.
    await live.registry.RegisterDevice(login("d1", session_id="web"), metadata=shop.client)


async def test_more_devices_than_one_transaction_takes_out(
    live: Live, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("binding_rows", "registry_group"):
        monkeypatch.setattr(f"bellhop_server.store.{module}.CHUNK", 2)
    for number in range(5):
        await live.registry.RegisterDevice(login(f"d{number}"), metadata=shop.client)
    request = reg.UnregisterUserRequest(user_id="anna")
    assert (await live.registry.UnregisterUser(request, metadata=shop.client)).device_count == 5


@pytest.mark.promise("P3")
async def test_a_late_call_is_told_what_is_known(live: Live, shop: Shop) -> None:
    await live.registry.RegisterDevice(login(binding_generation=4), metadata=shop.client)
    unregister = reg.UnregisterDeviceRequest(device_id="d1", binding_generation=5)
    assert (await live.registry.UnregisterDevice(unregister, metadata=shop.client)).existed
    known = (*STALE, {"device_id": "d1", "binding_generation": "5"})
    late = live.registry.RegisterDevice(login(binding_generation=4), metadata=shop.client)
    error = await refusal(late)
    assert told(error) == known
    assert "RetryInfo" not in details(error)
    anonymous = reg.RegisterAnonymousDeviceRequest(device_id="d1", apns={"token": "ab"}, binding_generation=4)
    assert told(await refusal(live.registry.RegisterAnonymousDevice(anonymous, metadata=shop.client))) == known
    unregister.binding_generation = 3
    assert told(await refusal(live.registry.UnregisterDevice(unregister, metadata=shop.client))) == known
    again = await live.registry.RegisterDevice(login(binding_generation=5), metadata=shop.client)
    assert again.created


@pytest.mark.promise("P3")
async def test_a_login_that_came_in_before_all_were_ended_binds_nobody(
    live: Live, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs in the middle of its authentication until the other call has returned."""
    authenticate = Authenticating.authenticate
    held, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(self: Authenticating, *arguments: Any) -> Any:
        if not held.is_set():
            held.set()
            await go_on.wait()
        return await authenticate(self, *arguments)

    monkeypatch.setattr(Authenticating, "authenticate", slowly)
    late = asyncio.ensure_future(refusal(live.registry.RegisterDevice(login(), metadata=shop.client)))
    await held.wait()
    await live.registry.UnregisterUser(reg.UnregisterUserRequest(user_id="anna"), metadata=shop.client)
    go_on.set()
    assert told(await late) == (*STALE, {"device_id": "d1"})
    listed = await live.registry.ListDevices(reg.ListDevicesRequest(), metadata=shop.sender)
    assert list(listed.devices) == []


@pytest.mark.promise("P3")
async def test_a_login_whose_caller_gave_up_before_its_turn_does_not_happen(
    live: Live, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute, begun, dropped = SqlDevices.execute, asyncio.Event(), asyncio.Event()

    async def noted(self: SqlDevices, *arguments: Any) -> Any:
        begun.set()
        try:
            return await execute(self, *arguments)
        except asyncio.CancelledError:
            dropped.set()
            raise

    monkeypatch.setattr(SqlDevices, "execute", noted)
    path = live.settings.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        first = asyncio.ensure_future(live.registry.RegisterDevice(login("first"), metadata=shop.client))
        await begun.wait()  # It stands at the door of the database, and whoever comes from now on stands behind it.
        begun.clear()
        given_up = asyncio.ensure_future(
            live.registry.RegisterDevice(login("given-up"), metadata=shop.client, timeout=0.5)
        )
        await begun.wait()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await given_up
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await dropped.wait()
    await first
    await live.registry.RegisterDevice(login("last"), metadata=shop.client)
    listed = await live.registry.ListDevices(reg.ListDevicesRequest(), metadata=shop.sender)
    assert [device.device_id for device in listed.devices] == ["first", "last"]


@pytest.mark.promise("P2")
async def test_a_logout_takes_out_the_expected_user_only(live: Live, shop: Shop) -> None:
    await live.registry.RegisterDevice(login("d1", "ben"), metadata=shop.client)
    request = reg.UnregisterDeviceRequest(device_id="d1", expected_user_id="anna")
    assert not (await live.registry.UnregisterDevice(request, metadata=shop.client)).existed
    request.expected_user_id = "ben"
    assert (await live.registry.UnregisterDevice(request, metadata=shop.client)).existed
    assert not (await live.registry.UnregisterDevice(request, metadata=shop.client)).existed


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("RegisterDevice", login(session_id="x" * 256), "session_id"),
        ("RegisterDevice", login(session_id="a\nb"), "session_id"),
        ("RegisterDevice", login(binding_ttl={"seconds": 59, "nanos": 999_999_999}), "binding_ttl"),
        ("RegisterDevice", login(binding_ttl={"seconds": 400 * 86400, "nanos": 1000}), "binding_ttl"),
        ("RegisterDevice", login(binding_ttl={"seconds": -60}), "binding_ttl"),
        ("RegisterDevice", login(binding_ttl={}), "binding_ttl"),
        ("RegisterDevice", login(binding_generation=0), "binding_generation"),
        (
            "RegisterAnonymousDevice",
            reg.RegisterAnonymousDeviceRequest(apns={"token": "ab"}, binding_generation=-1),
            "binding_generation",
        ),
        ("UnregisterDevice", reg.UnregisterDeviceRequest(device_id="d", binding_generation=0), "binding_generation"),
        ("UnregisterDevice", reg.UnregisterDeviceRequest(device_id="d", expected_user_id="a\0"), "expected_user_id"),
        ("UnregisterUser", reg.UnregisterUserRequest(user_id="anna", session_id="x" * 256), "session_id"),
    ],
)
async def test_bad_values_are_told_by_their_field(
    live: Live, shop: Shop, method: str, request_: Any, field: str
) -> None:
    error = await refusal(getattr(live.registry, method)(request_, metadata=shop.client))
    assert told(error)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert [each.field for each in details(error)["BadRequest"].field_violations] == [field]


@pytest.mark.parametrize("seconds", [59, 400 * 86400 + 1])
async def test_a_bad_policy_is_told(live: Live, shop: Shop, seconds: int) -> None:
    request = apps.UpdateApplicationRequest(app_id="shop", policy={"default_binding_ttl": {"seconds": seconds}})
    error = await refusal(live.applications.UpdateApplication(request, metadata=as_admin()))
    assert [each.field for each in details(error)["BadRequest"].field_violations] == ["policy.default_binding_ttl"]
