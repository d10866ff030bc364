"""What the simulated APNs refuses, and what it takes."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bellhop_simulators import ApnsSimulator, ManualClock
from tests.unit.apns_wire import TOKEN, WireClient

SUFFIXED = {
    "alert": "com.example.app",
    "background": "com.example.app",
    "voip": "com.example.app.voip",
    "complication": "com.example.app.complication",
    "fileprovider": "com.example.app.pushkit.fileprovider",
    "liveactivity": "com.example.app.push-type.liveactivity",
    "location": "com.example.app.location-query",
    "pushtotalk": "com.example.app.voip-ptt",
    "widgets": "com.example.app.push-type.widgets",
    "controls": "com.example.app.push-type.controls",
    "mdm": "com.example.app",
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest.fixture
async def apns(clock: ManualClock) -> AsyncIterator[ApnsSimulator]:
    async with ApnsSimulator(clock=clock) as simulator:
        yield simulator


@pytest.fixture
async def client(apns: ApnsSimulator) -> AsyncIterator[WireClient]:
    async with await WireClient.connect(apns) as connected:
        yield connected


LIVE = {"timestamp": 1_800_000_000, "event": "update", "content-state": {"goals": 1}}
BODIES = {"background": b'{"aps":{"content-available":1}}', "liveactivity": json.dumps({"aps": LIVE}).encode()}


def padded(size: int) -> bytes:
    """A JSON object of `size` octets."""
    return b'{"aps":{},"x":"' + b"x" * (size - 17) + b'"}'


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        ({}, 200, ""),
        ({"apns_id": "not-a-uuid"}, 400, "BadMessageId"),
        ({"apns_id": "123e4567-e89b-12d3-a456-42665544000"}, 400, "BadMessageId"),
        ({"apns_id": "123e4567-e89b-12d3-a456-426655440000"}, 200, ""),
        ({"method": "GET"}, 405, "MethodNotAllowed"),
        ({"apns_topic": None}, 400, "MissingTopic"),
        ({"apns_topic": ""}, 400, "MissingTopic"),
        ({"apns_topic": "com.example app"}, 400, "BadTopic"),
        ({"apns_topic": "com.example.other"}, 403, "InvalidProviderToken"),
        ({"apns_collapse_id": "c" * 64}, 200, ""),
        ({"apns_collapse_id": "ж" * 32}, 200, ""),
        ({"apns_collapse_id": "c" * 65}, 400, "BadCollapseId"),
        ({"apns_collapse_id": "ж" * 33}, 400, "BadCollapseId"),
        ({"apns_priority": "1"}, 200, ""),
        ({"apns_priority": "5"}, 200, ""),
        ({"apns_priority": "10"}, 200, ""),
        ({"apns_priority": "7"}, 400, "BadPriority"),
        ({"apns_priority": "high"}, 400, "BadPriority"),
        ({"apns_push_type": "banner"}, 400, "InvalidPushType"),
        ({"apns_push_type": None}, 200, ""),
        ({"apns_push_type": "background", "apns_priority": "10"}, 400, "BadPriority"),
        ({"apns_push_type": "background"}, 400, "BadPriority"),
        ({"apns_push_type": "liveactivity", "apns_priority": "1"}, 400, "BadPriority"),
        ({"apns_push_type": "pushtotalk", "apns_priority": "5"}, 400, "BadPriority"),
        ({"apns_push_type": "pushtotalk", "apns_expiration": "1900000000"}, 400, "BadExpirationDate"),
        ({"apns_push_type": "pushtotalk"}, 400, "BadExpirationDate"),
        ({"apns_expiration": ""}, 400, "BadExpirationDate"),
        ({"apns_expiration": "0"}, 200, ""),
        ({"apns_expiration": "1900000000"}, 200, ""),
        ({"apns_expiration": "soon"}, 400, "BadExpirationDate"),
        ({"apns_expiration": "1.5"}, 400, "BadExpirationDate"),
        ({"apns_expiration": "-1"}, 400, "BadExpirationDate"),
        ({"path": "/3/device/"}, 400, "MissingDeviceToken"),
        ({"path": "/3/device"}, 400, "MissingDeviceToken"),
        ({"path": "/3/devices/" + TOKEN}, 404, "BadPath"),
        ({"path": "/4/broadcasts/apps/com.example.app"}, 404, "BadPath"),
        ({"path": "/3/device/" + TOKEN + "/x"}, 400, "BadDeviceToken"),
        ({"token": "xyz"}, 400, "BadDeviceToken"),
        ({"token": "abc"}, 400, "BadDeviceToken"),
        ({"token": "ab" * 256}, 200, ""),
        ({"token": "ab" * 257}, 400, "BadDeviceToken"),
        ({"token": "AB" * 32}, 200, ""),
        ({"authorization": None}, 403, "MissingProviderToken"),
        ({"authorization": "basic abc"}, 403, "MissingProviderToken"),
        ({"authorization": "bearer "}, 403, "MissingProviderToken"),
        ({"authorization": "bearer abc"}, 403, "InvalidProviderToken"),
        ({"authorization": "bearer a.b.c"}, 403, "InvalidProviderToken"),
    ],
)
async def test_headers_are_judged(client: WireClient, head: dict[str, Any], status: int, reason: str) -> None:
    reply = await client.push(**head)

    assert (reply.status, reply.reason) == (status, reason)
    assert len(reply.headers["apns-id"]) == 36
    assert client.apns.journal.accepted == (status == 200)


@pytest.mark.parametrize(("push_type", "topic"), SUFFIXED.items())
async def test_a_push_type_wants_its_suffix(client: WireClient, push_type: str, topic: str) -> None:
    head = {"apns_priority": "5" if push_type == "background" else "10", "apns_expiration": "0"}
    body = BODIES.get(push_type, b'{"aps":{"alert":"hi"}}')

    good = await client.push(body, apns_push_type=push_type, apns_topic=topic, **head)
    assert (good.status, good.reason) == (200, "")
    if push_type == "mdm":
        return
    for other in set(SUFFIXED.values()) - {topic}:
        bad = await client.push(body, apns_push_type=push_type, apns_topic=other, **head)
        assert bad.reason == "BadTopic", other


@pytest.mark.parametrize(
    ("body", "push_type", "status", "reason"),
    [
        (b"", "alert", 400, "PayloadEmpty"),
        (padded(4096), "alert", 200, ""),
        (padded(4097), "alert", 413, "PayloadTooLarge"),
        (padded(5120), "voip", 200, ""),
        (padded(5121), "voip", 413, "PayloadTooLarge"),
        (padded(200_000), "alert", 413, "PayloadTooLarge"),
        (b"{}", "alert", 200, ""),
        (b"{", "alert", 400, "BadRequestPayload"),
        (b"[]", "alert", 400, "BadRequestPayload"),
        (b'"text"', "alert", 400, "BadRequestPayload"),
        (b'{"a":NaN}', "alert", 400, "BadRequestPayload"),
        (b'{"a":"\xff"}', "alert", 400, "BadRequestPayload"),
        (b"[" * 4096, "alert", 400, "BadRequestPayload"),
    ],
)
async def test_payloads_are_judged(client: WireClient, body: bytes, push_type: str, status: int, reason: str) -> None:
    reply = await client.push(body, apns_push_type=push_type, apns_topic=SUFFIXED[push_type])

    assert (reply.status, reply.reason) == (status, reason)


@pytest.mark.parametrize(
    ("push_type", "aps", "good"),
    [
        ("background", {"content-available": 1}, True),
        ("background", {}, True),
        ("background", {"content-available": 1, "alert": "hi"}, False),
        ("background", {"content-available": 1, "sound": "default"}, False),
        ("background", {"content-available": 1, "badge": 0}, False),
        ("alert", {"alert": "hi", "sound": "default", "badge": 0}, True),
        ("liveactivity", LIVE, True),
        ("liveactivity", LIVE | {"event": "start"}, True),
        ("liveactivity", LIVE | {"event": "pause"}, False),
        ("liveactivity", LIVE | {"event": ["start"]}, False),
        ("liveactivity", LIVE | {"timestamp": "now"}, False),
        ("liveactivity", LIVE | {"content-state": "x"}, False),
        ("liveactivity", {key: value for key, value in LIVE.items() if key != "timestamp"}, False),
        ("liveactivity", {key: value for key, value in LIVE.items() if key != "event"}, False),
        ("liveactivity", {key: value for key, value in LIVE.items() if key != "content-state"}, False),
        ("liveactivity", {"timestamp": 1, "event": "end"}, True),
        ("liveactivity", {}, False),
        ("liveactivity", [], False),
    ],
)
async def test_contents_fit_their_push_type(client: WireClient, push_type: str, aps: object, good: bool) -> None:
    reply = await client.push(
        json.dumps({"aps": aps}).encode(), apns_push_type=push_type, apns_topic=SUFFIXED[push_type], apns_priority="5"
    )

    assert (reply.status, reply.reason) == ((200, "") if good else (400, "BadRequestPayload"))


async def test_a_repeated_header_is_refused(client: WireClient) -> None:
    reply = await client.push(extra=[("apns-priority", "10"), ("apns-priority", "10")])

    assert (reply.status, reply.reason) == (400, "DuplicateHeaders")
    assert client.apns.journal.entries[0].headers["apns-priority"] == "10, 10"


async def test_an_apns_id_is_echoed_and_made_when_missing(client: WireClient) -> None:
    given = "123e4567-e89b-12d3-a456-426655440000"

    assert (await client.push(apns_id=given)).headers["apns-id"] == given
    assert (await client.push(apns_id=given, token="zz")).headers["apns-id"] == given
    made = [(await client.push()).headers["apns-id"] for _ in range(2)]
    assert made[0] != made[1]


async def test_only_the_sandbox_tells_a_unique_id(apns: ApnsSimulator, client: WireClient) -> None:
    production = await client.push()
    async with await WireClient.connect(apns, sandbox=True) as other:
        sandbox = await other.push()

    assert "apns-unique-id" not in production.headers
    assert len(sandbox.headers["apns-unique-id"]) == 36
    assert [entry.environment for entry in apns.journal.entries] == ["production", "sandbox"]


async def test_a_token_is_good_in_its_own_environment_only(apns: ApnsSimulator, client: WireClient) -> None:
    apns.devices.restrict(TOKEN.upper(), environment="sandbox")

    assert (await client.push()).reason == "BadDeviceToken"
    async with await WireClient.connect(apns, sandbox=True) as other:
        assert (await other.push()).status == 200


async def test_a_token_of_another_app_is_refused(apns: ApnsSimulator, client: WireClient) -> None:
    apns.devices.restrict(TOKEN, bundle_ids=["com.example.other"])
    assert (await client.push()).reason == "DeviceTokenNotForTopic"

    apns.devices.restrict(TOKEN, bundle_ids=["com.example.app"])
    assert (await client.push(apns_push_type="voip", apns_topic="com.example.app.voip")).status == 200


async def test_a_dead_token_is_gone_with_milliseconds(
    apns: ApnsSimulator, client: WireClient, clock: ManualClock
) -> None:
    apns.devices.unregister(TOKEN, at=1_799_999_000.5)
    reply = await client.push()
    assert (reply.status, reply.error) == (410, {"reason": "Unregistered", "timestamp": 1_799_999_000_500})

    apns.devices.unregister(TOKEN, reason="ExpiredToken")
    assert (await client.push()).error == {"reason": "ExpiredToken", "timestamp": 1_800_000_000_000}

    apns.devices.register(TOKEN)
    assert (await client.push()).status == 200


async def test_an_offline_phone_keeps_the_newest_of_each_app_until_it_expires(
    apns: ApnsSimulator, client: WireClient, clock: ManualClock
) -> None:
    apns.devices.set_offline(TOKEN)
    now = int(clock.now())
    await client.push(b'{"n":1}', apns_expiration=str(now + 600), apns_collapse_id="a")
    await client.push(b'{"n":2}', apns_expiration=str(now + 60), apns_collapse_id="b")
    await client.push(b'{"n":3}', apns_expiration="0")
    assert [json.loads(kept.payload) for kept in apns.devices.stored(TOKEN)] == [{"n": 2}]

    clock.advance(61)
    assert apns.devices.set_online(TOKEN) == []
    apns.devices.set_offline(TOKEN)
    await client.push(b'{"n":4}')
    clock.advance(29 * 86_400)
    assert [json.loads(got.payload) for got in apns.devices.set_online(TOKEN)] == [{"n": 4}]
    assert apns.devices.stored(TOKEN) == []


async def test_what_is_refused_is_not_stored(apns: ApnsSimulator, client: WireClient) -> None:
    apns.devices.set_offline(TOKEN)
    await client.push(b"[]")
    apns.faults.add({"status": 503})
    await client.push()

    assert apns.devices.stored(TOKEN) == []


async def test_malformed_requests_are_reset(client: WireClient) -> None:
    good = client.head()
    for headers in (
        [*good, ("Apns-Priority", "10")],
        [*good, ("connection", "close")],
        [*good, ("apns-collapse-id", "a\r\nb")],
        [*good, ("content-length", "7")],
        [header for header in good if header[0] != ":path"],
        [*good, (":path", "/")],
        [*good[4:], *good[:4]],
    ):
        stream_id = client.send_raw(headers, b"{}")
        assert (await client.answer(stream_id)).reset == 1, headers
    assert client.apns.journal.by_reason == {"MALFORMED": 7}
    assert (await client.push(content_length="22")).status == 200


async def test_connections_are_counted(apns: ApnsSimulator, clock: ManualClock) -> None:
    for _ in range(3):
        async with await WireClient.connect(apns) as client:
            await client.push()
        clock.advance(25)
    async with await WireClient.connect(apns):
        assert len(apns.connections) == 4
        assert apns.connections.open[-1].number == 4
        assert apns.connections.busiest(60) == 3
        assert [record.requests for record in apns.connections.records] == [1, 1, 1, 0]
