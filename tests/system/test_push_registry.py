"""The PushRegistry service over the wire: who may, what comes back, what is told. Its rules have tests of their own."""

import grpc
import pytest

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2
from bellhop.v1 import push_registry_pb2 as reg
from tests.system.live_server import Live, Shop, as_admin, credentials, details, refusal, told


def login(device_id: str = "d1", user_id: str = "anna", **changes: object) -> reg.RegisterDeviceRequest:
    fields = {"apns": {"token": (device_id.encode().hex() + "AB")}}
    return reg.RegisterDeviceRequest(device_id=device_id, user_id=user_id, **{**fields, **changes})


async def test_what_was_registered_is_what_is_shown(live: Live, shop: Shop) -> None:
    request = login(
        apns={"token": "ABCD", "topic": "com.x", "environment": device_pb2.APNS_ENVIRONMENT_SANDBOX},
        locale="de_at",
        time_zone="Europe/Vienna",
        app_version="1.2",
        attributes={"k": "v"},
    )
    made = await live.registry.RegisterDevice(request, metadata=shop.client)
    assert made.created
    assert made.device_secret.startswith("bhd_")
    assert (made.device.locale, made.device.time_zone, made.device.app_version) == ("de-AT", "Europe/Vienna", "1.2")
    assert (made.device.apns_topic, made.device.apns_environment) == ("com.x", device_pb2.APNS_ENVIRONMENT_SANDBOX)
    got = await live.registry.GetDevice(reg.GetDeviceRequest(device_id="d1"), metadata=shop.sender)
    assert got.device == made.device
    listed = await live.registry.ListDevices(reg.ListDevicesRequest(user_id="anna"), metadata=shop.sender)
    assert list(listed.devices) == [made.device]


async def test_a_device_sees_itself_and_nobody_else(live: Live, shop: Shop) -> None:
    first = await live.registry.RegisterDevice(login("d1"), metadata=shop.client)
    await live.registry.RegisterDevice(login("d2"), metadata=shop.client)
    mine = credentials("shop", device_secret=first.device_secret)
    assert (await live.registry.GetDevice(reg.GetDeviceRequest(device_id="d1"), metadata=mine)).device.user_id == "anna"
    for other in ("d2", "nobody's"):
        error = await refusal(live.registry.GetDevice(reg.GetDeviceRequest(device_id=other), metadata=mine))
        assert told(error)[1] == "CREDENTIALS_INVALID"
    error = await refusal(live.registry.GetDevice(reg.GetDeviceRequest(device_id="nobody's"), metadata=shop.client))
    assert told(error) == (grpc.StatusCode.NOT_FOUND, "DEVICE_NOT_FOUND", {"device_id": "nobody's"})


async def test_the_first_use_of_a_fresh_device_secret_retires_the_one_before(live: Live, shop: Shop) -> None:
    old = (await live.registry.RegisterDevice(login(), metadata=shop.client)).device_secret
    new = (await live.registry.RegisterDevice(login(), metadata=shop.client)).device_secret
    check, nothing = live.registry.CheckCredential, reg.CheckCredentialRequest()
    kinds = (await check(nothing, metadata=credentials("shop", device_secret=old))).kinds
    assert list(kinds) == [reg.CREDENTIAL_KIND_DEVICE_SECRET]
    await check(nothing, metadata=credentials("shop", device_secret=new))
    error = await refusal(check(nothing, metadata=credentials("shop", device_secret=old)))
    assert told(error)[1] == "CREDENTIALS_INVALID"


async def test_a_device_changes_itself(live: Live, shop: Shop) -> None:
    made = await live.registry.RegisterDevice(
        login(locale="de", time_zone="Europe/Vienna", attributes={"a": "1", "b": "2"}), metadata=shop.client
    )
    update = reg.UpdateDeviceRequest(
        device_id="d1", locale="", app_version="2", set_attributes={"c": "3"}, remove_attributes=["a", "zz"]
    )
    mine = credentials("shop", device_secret=made.device_secret)
    device = (await live.registry.UpdateDevice(update, metadata=mine)).device
    assert (device.locale, device.time_zone, device.app_version) == ("", "Europe/Vienna", "2")
    assert dict(device.attributes) == {"b": "2", "c": "3"}


@pytest.mark.promise("P2")
async def test_a_stranger_cannot_touch_a_known_device(live: Live, shop: Shop) -> None:
    await live.registry.RegisterDevice(login(), metadata=shop.client)
    request = reg.RegisterAnonymousDeviceRequest(device_id="d1", apns={"token": "ff"})
    error = await refusal(live.registry.RegisterAnonymousDevice(request, metadata=credentials("shop")))
    assert told(error) == (grpc.StatusCode.UNAUTHENTICATED, "DEVICE_PROOF_REQUIRED", {"device_id": "d1"})
    unregister = reg.UnregisterDeviceRequest(device_id="d1")
    wrong = credentials("shop", device_secret="x" * 40)
    assert told(await refusal(live.registry.UnregisterDevice(unregister, metadata=wrong)))[1] == "CREDENTIALS_INVALID"


async def test_policy_decides_who_registers_without_a_user(live: Live, shop: Shop) -> None:
    anonymous = reg.RegisterAnonymousDeviceRequest(apns={"token": "ff"})
    assert (await live.registry.RegisterAnonymousDevice(anonymous, metadata=credentials("shop"))).created
    for policy, may in ((apps.ANONYMOUS_POLICY_SECRET, True), (apps.ANONYMOUS_POLICY_OFF, False)):
        update = apps.UpdateApplicationRequest(app_id="shop", policy={"anonymous_policy": policy})
        await live.applications.UpdateApplication(update, metadata=as_admin())
        error = await refusal(live.registry.RegisterAnonymousDevice(anonymous, metadata=credentials("shop")))
        denied = (grpc.StatusCode.PERMISSION_DENIED, "DENIED_BY_POLICY", {"policy": "anonymous_policy"})
        assert told(error) == denied
        if may:
            await live.registry.RegisterAnonymousDevice(anonymous, metadata=shop.client)
        else:
            assert told(await refusal(live.registry.RegisterAnonymousDevice(anonymous, metadata=shop.client))) == denied


async def test_logging_out_is_repeatable(live: Live, shop: Shop) -> None:
    made = await live.registry.RegisterDevice(login(), metadata=shop.client)
    mine = credentials("shop", device_secret=made.device_secret)
    request = reg.UnregisterDeviceRequest(device_id="d1")
    assert (await live.registry.UnregisterDevice(request, metadata=mine)).existed
    assert not (await live.registry.UnregisterDevice(request, metadata=mine)).existed
    assert told(await refusal(live.registry.CheckCredential(reg.CheckCredentialRequest(), metadata=mine)))[1] == (
        "CREDENTIALS_INVALID"
    )


@pytest.mark.promise("P2")
async def test_a_user_is_logged_out_everywhere(live: Live, shop: Shop) -> None:
    for device_id in ("d1", "d2"):
        await live.registry.RegisterDevice(login(device_id), metadata=shop.client)
    await live.registry.RegisterDevice(login("d3", "bert"), metadata=shop.client)
    request = reg.UnregisterUserRequest(user_id="anna")
    assert (await live.registry.UnregisterUser(request, metadata=shop.client)).device_count == 2
    assert (await live.registry.UnregisterUser(request, metadata=shop.client)).device_count == 0
    listed = await live.registry.ListDevices(reg.ListDevicesRequest(), metadata=shop.sender)
    assert [device.device_id for device in listed.devices] == ["d3"]


async def test_lists_are_filtered_counted_and_paged(live: Live, shop: Shop) -> None:
    for number in range(5):
        await live.registry.RegisterDevice(login(f"d{number}", f"user{number % 2}"), metadata=shop.client)
    await live.registry.RegisterAnonymousDevice(
        reg.RegisterAnonymousDeviceRequest(device_id="free", apns={"token": "ff"}), metadata=shop.client
    )
    bound = reg.ListDevicesRequest(anonymous=False, page_size=2, return_total_size=True)
    seen = []
    while True:
        page = await live.registry.ListDevices(bound, metadata=shop.sender)
        seen += [device.device_id for device in page.devices]
        assert page.total_size == 5
        bound.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert seen == [f"d{number}" for number in range(5)]
    free = await live.registry.ListDevices(reg.ListDevicesRequest(anonymous=True), metadata=shop.sender)
    assert [device.device_id for device in free.devices] == ["free"]
    assert not free.HasField("total_size")
    dead = reg.ListDevicesRequest(states=[device_pb2.DEVICE_STATE_DEAD])
    assert list((await live.registry.ListDevices(dead, metadata=shop.sender)).devices) == []


async def test_pages_are_cut_by_size(live: Live, shop: Shop) -> None:
    heavy = {f"k{number}": "𝕏" * 256 for number in range(50)}
    for number in range(50):
        await live.registry.RegisterDevice(login(f"d{number:02}", attributes=heavy), metadata=shop.client)
    seen, request = [], reg.ListDevicesRequest(page_size=1000)
    while True:
        page = await live.registry.ListDevices(request, metadata=shop.sender)
        assert page.ByteSize() <= 2 * 1024 * 1024 + 200
        seen += [device.device_id for device in page.devices]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
        assert len(page.devices) < 50
    assert seen == [f"d{number:02}" for number in range(50)]


@pytest.mark.promise("P1")
async def test_applications_do_not_meet(live: Live, shop: Shop) -> None:
    other = await live.shop("other")
    await live.registry.RegisterDevice(login(), metadata=shop.client)
    error = await refusal(live.registry.GetDevice(reg.GetDeviceRequest(device_id="d1"), metadata=other.client))
    assert told(error)[1] == "DEVICE_NOT_FOUND"
    assert not (
        await live.registry.UnregisterDevice(reg.UnregisterDeviceRequest(device_id="d1"), metadata=other.client)
    ).existed
    page = await live.registry.ListDevices(reg.ListDevicesRequest(), metadata=other.sender)
    assert list(page.devices) == []


async def test_a_topic_must_be_one_that_a_credential_serves(live: Live, shop: Shop) -> None:
    await live.credential(shop)
    error = await refusal(
        live.registry.RegisterDevice(login(apns={"token": "ab", "topic": "com.evil"}), metadata=shop.client)
    )
    (violation,) = details(error)["BadRequest"].field_violations
    assert violation.field == "apns.topic"
    right = login(apns={"token": "ab", "topic": "com.example.shop"})
    await live.registry.RegisterDevice(right, metadata=shop.client)


@pytest.mark.parametrize("credential", ["client", "sender"])
async def test_a_new_device_needs_a_target(live: Live, shop: Shop, credential: str) -> None:
    request = reg.RegisterDeviceRequest(device_id="d1", user_id="anna")
    error = await refusal(live.registry.RegisterDevice(request, metadata=getattr(shop, credential)))
    assert told(error) == (grpc.StatusCode.FAILED_PRECONDITION, "TARGET_REQUIRED", {"device_id": "d1"})


async def test_a_device_brings_its_own_secret(live: Live, shop: Shop) -> None:
    own = "a-secret-of-the-devices-own-making-0123"
    both = credentials("shop", client_secret=shop.client_secret, device_secret=own)
    made = await live.registry.RegisterDevice(login(), metadata=both)
    assert made.device_secret == ""
    mine = credentials("shop", device_secret=own)
    assert (await live.registry.GetDevice(reg.GetDeviceRequest(device_id="d1"), metadata=mine)).device == made.device
