"""P1 over the wire: an app that holds no secret logs its user in with a grant."""

import asyncio
import re
import time
from typing import Any

import grpc
import pytest

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.rpc.admission import Limits
from tests.system.live_server import (
    Live,
    Shop,
    as_admin,
    credentials,
    details,
    live_server,
    p8,
    refusal,
    settings_in,
    told,
)

pytestmark = pytest.mark.promise("P1")

INVALID = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID", {})
DENIED = (grpc.StatusCode.PERMISSION_DENIED, "DENIED_BY_POLICY", {"policy": "binding_policy"})

Metadata = tuple[tuple[str, str], ...]


def login(device_id: str = "phone", user_id: str = "anna", **binding: Any) -> reg.RegisterDeviceRequest:
    token = (device_id or "new").encode().hex()
    return reg.RegisterDeviceRequest(device_id=device_id, user_id=user_id, apns={"token": token}, **binding)


async def grant(live: Live, shop: Shop, **fields: Any) -> reg.CreateBindGrantResponse:
    request = reg.CreateBindGrantRequest(**{"user_id": "anna", "device_id": "phone", **fields})
    return await live.registry.CreateBindGrant(request, metadata=shop.sender)


def with_grant(shop: Shop, text: str, **secrets: str) -> Metadata:
    return credentials(shop.app_id, bind_grant=text, **secrets)


def over(made: reg.CreateBindGrantResponse) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """What is told of a grant that binds no more."""
    return grpc.StatusCode.UNAUTHENTICATED, "BIND_GRANT_EXPIRED", {"expire_time": made.expire_time.ToJsonString()}


async def set_policy(live: Live, policy: apps.BindingPolicy.ValueType) -> None:
    request = apps.UpdateApplicationRequest(app_id="shop", policy={"binding_policy": policy})
    changed = await live.applications.UpdateApplication(request, metadata=as_admin())
    assert changed.application.policy.binding_policy == policy


async def test_an_app_without_a_secret_from_its_start_to_the_logout(live: Live, shop: Shop) -> None:
    await set_policy(live, apps.BINDING_POLICY_GRANT)
    made = await grant(live, shop, session_id="web-7")
    assert re.fullmatch(r"[\x21-\x7e]{1,8192}", made.bind_grant)

    answer = await live.registry.RegisterDevice(login(), metadata=with_grant(shop, made.bind_grant))
    assert answer.created
    assert (answer.device.user_id, answer.device.session_id) == ("anna", "web-7")
    assert answer.device_secret.startswith("bhd_")
    # The answer was lost.
    again = await live.registry.RegisterDevice(login(), metadata=with_grant(shop, made.bind_grant))
    assert not again.created
    assert again.device.bind_time == answer.device.bind_time
    assert again.device_secret not in ("", answer.device_secret)

    own = credentials("shop", device_secret=again.device_secret)
    await live.registry.UpdateDevice(reg.UpdateDeviceRequest(device_id="phone", locale="de"), metadata=own)
    assert (await live.registry.UnregisterDevice(reg.UnregisterDeviceRequest(device_id="phone"), metadata=own)).existed
    refused = await refusal(live.registry.RegisterDevice(login(), metadata=with_grant(shop, made.bind_grant)))
    assert told(refused) == over(made)


async def test_how_long_it_lasts(live: Live, shop: Shop) -> None:
    for seconds, fields in ((300, {}), (10, {"ttl": {"seconds": 10}}), (3600, {"ttl": {"seconds": 3600}})):
        before = time.time()
        made = await grant(live, shop, **fields)
        assert before + seconds <= made.expire_time.seconds <= time.time() + seconds + 1
        assert made.expire_time.nanos == 0


async def test_what_is_wrong_with_a_request_for_one(live: Live, shop: Shop) -> None:
    wrong = {
        "user_id": "anonymous",
        "device_id": "a\nb",
        "session_id": "x" * 256,
        "ttl": {"seconds": 9, "nanos": 999_999_999},
    }
    error = await refusal(live.registry.CreateBindGrant(reg.CreateBindGrantRequest(**wrong), metadata=shop.sender))
    assert told(error)[1] == "INVALID_REQUEST"
    assert {each.field for each in details(error)["BadRequest"].field_violations} == set(wrong)
    for fields in ({"user_id": ""}, {"device_id": "x" * 129}, {"ttl": {"seconds": 3600, "nanos": 1}}):
        request = reg.CreateBindGrantRequest(**{"user_id": "anna", **fields})
        error = await refusal(live.registry.CreateBindGrant(request, metadata=shop.sender))
        assert told(error)[1] == "INVALID_REQUEST", fields


@pytest.mark.parametrize(
    "request_",
    [
        login(user_id="ben"),
        login("tablet"),
        login(""),
        login(session_id="another"),
    ],
)
async def test_it_is_for_nothing_else(live: Live, shop: Shop, request_: reg.RegisterDeviceRequest) -> None:
    made = await grant(live, shop, session_id="web")
    metadata = with_grant(shop, made.bind_grant)
    assert told(await refusal(live.registry.RegisterDevice(request_, metadata=metadata))) == INVALID
    # That did not use it.
    await live.registry.RegisterDevice(login(), metadata=metadata)


async def test_a_forger_is_slowed_down_and_an_honest_caller_is_not(tmp_path: Any) -> None:
    async with live_server(settings_in(tmp_path), limits=Limits(wrong_credentials=2)) as live:
        shop = await live.shop()
        made = await grant(live, shop)
        forged = with_grant(shop, made.bind_grant[:-8] + "AAAAAAAA")
        reasons = [
            told(await refusal(live.registry.RegisterDevice(login(), metadata=metadata)))[1]
            for metadata in (forged, with_grant(shop, made.bind_grant, device_secret="x"), forged)
        ]
        assert reasons == ["CREDENTIALS_INVALID", "CREDENTIALS_INVALID", "AUTH_ATTEMPTS_EXCEEDED"]
        another = with_grant(shop, (await grant(live, shop, user_id="ben")).bind_grant)
        assert (
            told(await refusal(live.registry.RegisterDevice(login(), metadata=another)))[1] == "AUTH_ATTEMPTS_EXCEEDED"
        )
        await live.registry.RegisterDevice(login(), metadata=with_grant(shop, made.bind_grant))


async def test_a_grant_for_any_device_is_for_the_first_that_shows_it(live: Live, shop: Shop) -> None:
    made = await grant(live, shop, device_id="")
    calls = [
        live.registry.RegisterDevice(login(f"phone-{number}"), metadata=with_grant(shop, made.bind_grant))
        for number in range(8)
    ]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(refused) == 7
    assert [told(each) for each in refused] == [over(made)] * 7
    listed = await live.registry.ListDevices(reg.ListDevicesRequest(), metadata=shop.sender)
    assert len(listed.devices) == 1


async def test_a_device_without_a_name_gets_one(live: Live, shop: Shop) -> None:
    made = await grant(live, shop, device_id="")
    answer = await live.registry.RegisterDevice(login(""), metadata=with_grant(shop, made.bind_grant))
    assert re.fullmatch("[0-9a-f]{32}", answer.device.device_id)
    named = login(answer.device.device_id)
    again = await live.registry.RegisterDevice(named, metadata=with_grant(shop, made.bind_grant))
    assert again.device.bind_time == answer.device.bind_time


@pytest.mark.promise("P5")
@pytest.mark.parametrize("session", ["", "web"])
async def test_ending_logins_ends_grants_that_were_not_used_yet(live: Live, shop: Shop, session: str) -> None:
    made = await grant(live, shop, session_id="web")
    ending = reg.UnregisterUserRequest(user_id="anna", session_id=session)
    await live.registry.UnregisterUser(ending, metadata=shop.sender)
    metadata = with_grant(shop, made.bind_grant)
    assert told(await refusal(live.registry.RegisterDevice(login(), metadata=metadata))) == over(made)
    later = await grant(live, shop, session_id="web")
    await live.registry.RegisterDevice(login(), metadata=with_grant(shop, later.bind_grant))


async def test_what_each_policy_takes(live: Live, shop: Shop) -> None:
    async def said(metadata: Metadata) -> Any:
        return told(await refusal(live.registry.RegisterDevice(login(), metadata=metadata)))

    granted = with_grant(shop, (await grant(live, shop)).bind_grant)
    await set_policy(live, apps.BINDING_POLICY_SECRET)
    assert await said(granted) == DENIED
    await live.registry.RegisterDevice(login(), metadata=shop.client)
    await live.registry.RegisterDevice(login(), metadata=shop.sender)

    await set_policy(live, apps.BINDING_POLICY_GRANT)
    assert await said(shop.client) == DENIED
    assert await said((("app-id", "shop"), ("authorization", f"Bearer {shop.client_secret}"))) == DENIED
    # A wrong credential is told as one, whatever the policy says.
    assert await said(credentials("shop", client_secret="x")) == INVALID
    await live.registry.RegisterDevice(login(), metadata=shop.sender)
    await live.registry.RegisterDevice(login(), metadata=granted)
    # The rest of what a client secret may do it may go on doing.
    anonymous = reg.RegisterAnonymousDeviceRequest(device_id="phone")
    await live.registry.RegisterAnonymousDevice(anonymous, metadata=shop.client)
    await live.registry.UnregisterUser(reg.UnregisterUserRequest(user_id="anna"), metadata=shop.client)


async def test_what_a_grant_is_can_be_asked(live: Live, shop: Shop) -> None:
    made = await grant(live, shop)
    asked = reg.CheckCredentialRequest()
    checked = await live.registry.CheckCredential(asked, metadata=with_grant(shop, made.bind_grant))
    assert checked == reg.CheckCredentialResponse(
        app_id="shop", kinds=[reg.CREDENTIAL_KIND_BIND_GRANT], expire_time=made.expire_time
    )
    both = with_grant(shop, made.bind_grant, client_secret=shop.client_secret)
    kinds = (await live.registry.CheckCredential(asked, metadata=both)).kinds
    assert list(kinds) == [reg.CREDENTIAL_KIND_CLIENT_SECRET, reg.CREDENTIAL_KIND_BIND_GRANT]
    await live.registry.RegisterDevice(login(), metadata=with_grant(shop, made.bind_grant))


async def test_grants_of_a_deleted_application_bind_nobody_in_the_next_of_its_name(live: Live, shop: Shop) -> None:
    made = await grant(live, shop)
    await live.applications.DeleteApplication(apps.DeleteApplicationRequest(app_id="shop"), metadata=as_admin())
    metadata = with_grant(shop, made.bind_grant)
    assert told(await refusal(live.registry.RegisterDevice(login(), metadata=metadata))) == INVALID
    await live.shop()
    assert told(await refusal(live.registry.RegisterDevice(login(), metadata=metadata))) == INVALID


async def test_the_next_server_takes_what_this_one_has_granted(tmp_path: Any) -> None:
    old, new = ("00" * 32, "11" * 32)
    async with live_server(settings_in(tmp_path, master_key=old)) as live:
        shop = await live.shop()
        first, second = [await grant(live, shop, device_id=name) for name in ("phone", "tablet")]
        await live.registry.RegisterDevice(login(), metadata=with_grant(shop, first.bind_grant))
    async with live_server(settings_in(tmp_path, master_key=f"{old},{new}")) as live:
        again = await live.registry.RegisterDevice(login(), metadata=with_grant(shop, first.bind_grant))
        assert not again.created
        await live.registry.RegisterDevice(login("tablet"), metadata=with_grant(shop, second.bind_grant))
    async with live_server(settings_in(tmp_path, master_key=f"{new},{old}")) as live:
        again = await live.registry.RegisterDevice(login("tablet"), metadata=with_grant(shop, second.bind_grant))
        assert not again.created


# What an app may ask before


async def test_what_an_app_needs_before_it_registers(live: Live, shop: Shop) -> None:
    config = reg.GetClientConfigRequest()
    app_alone = (("app-id", "shop"),)
    assert await live.registry.GetClientConfig(config, metadata=app_alone) == reg.GetClientConfigResponse()
    key = {"key_id": "ABCDE12345", "team_id": "ABCDE12345", "p8": p8()}
    request = apps.SetCredentialRequest(app_id="shop", apns={"key": key, "topics": ["com.example.shop"]})
    await live.applications.SetCredential(request, metadata=as_admin())
    told_now = await live.registry.GetClientConfig(config, metadata=app_alone)
    assert told_now == reg.GetClientConfigResponse(platforms=[1])
    for metadata in ((("app-id", "nobody"),), (("app-id", "x" * 500),)):
        assert told(await refusal(live.registry.GetClientConfig(config, metadata=metadata))) == INVALID
