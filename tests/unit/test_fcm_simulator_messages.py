"""The simulated FCM: which messages it takes, by schema, rules and size."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bellhop_simulators import FcmSimulator, ManualClock
from tests.unit.fcm_sender import (
    GOOD,
    NOW,
    TOKEN,
    Sender,
    code,
    error,
    violations,
)
from tests.unit.http1_wire import Http1Client


@pytest.fixture
async def fcm() -> AsyncIterator[FcmSimulator]:
    async with FcmSimulator(clock=ManualClock(NOW)) as simulator:
        yield simulator


@pytest.fixture
async def sender(fcm: FcmSimulator) -> AsyncIterator[Sender]:
    """One that is authorized."""
    async with await Http1Client.connect(fcm.url, fcm.ca_file) as http:
        connected = Sender(fcm, http)
        assert (await connected.authorize()).status == 200
        yield connected


async def test_a_message_is_taken_and_received(fcm: FcmSimulator, sender: Sender) -> None:
    for number in range(3):
        reply = await sender.send({"message": {"token": TOKEN, "data": {"number": str(number)}}})
        entry = fcm.journal.entries[-1]
        assert json.loads(reply.body) == {"name": f"projects/example-project/messages/{entry.message_id}"}
        assert (entry.token, entry.accepted, entry.status, entry.http) == (TOKEN, True, 200, "HTTP/1.1")

    received = fcm.devices.received(TOKEN)
    assert [one.message["data"]["number"] for one in received] == ["0", "1", "2"]
    assert [one.name.rpartition("/")[2] for one in received] == [
        entry.message_id for entry in fcm.journal.find(token=TOKEN)
    ]
    assert fcm.devices.received("another-token") == []


async def test_a_message_is_kept_as_it_was_sent(fcm: FcmSimulator, sender: Sender) -> None:
    await sender.send({"message": camel({"token": TOKEN, **EVERYTHING})})

    assert fcm.devices.received(TOKEN)[0].message == {"token": TOKEN, **EVERYTHING}


async def test_validating_delivers_nothing(fcm: FcmSimulator, sender: Sender) -> None:
    for key in ("validate_only", "validateOnly"):
        reply = await sender.send({**GOOD, key: True})
        assert json.loads(reply.body) == {"name": "projects/example-project/messages/fake_message_id"}
    fcm.devices.unregister(TOKEN)
    assert code(await sender.send({**GOOD, "validate_only": True})) == "UNREGISTERED"
    assert (fcm.journal.accepted, fcm.devices.received(TOKEN)) == (0, [])


EVERYTHING: dict[str, Any] = {
    "name": "ignored",
    "data": {"a": "1", "fromage": "x"},
    "notification": {"title": "t", "body": "b", "image": "https://example.com/i.png"},
    "android": {
        "collapse_key": "k",
        "priority": "HIGH",
        "ttl": "2419200.000s",
        "restricted_package_name": "com.example",
        "data": {"a": "1"},
        "direct_boot_ok": True,
        "bandwidth_constrained_ok": False,
        "restricted_satellite_ok": False,
        "fcm_options": {"analytics_label": "a-b_c.d~e%f"},
        "notification": {
            "title": "t",
            "body": "b",
            "icon": "i",
            "color": "#00aaFF",
            "sound": "default",
            "tag": "t",
            "click_action": "c",
            "body_loc_key": "k",
            "body_loc_args": ["a", "b"],
            "title_loc_key": "k",
            "title_loc_args": ["alone"],
            "channel_id": "c",
            "image": "i",
            "ticker": "t",
            "sticky": True,
            "event_time": "2026-10-02T15:01:23.045123456Z",
            "local_only": False,
            "notification_priority": "PRIORITY_MAX",
            "vibrate_timings": ["0.5s", "1s"],
            "default_vibrate_timings": False,
            "default_sound": True,
            "default_light_settings": False,
            "light_settings": {
                "color": {"red": 1, "green": 0.5, "blue": 0, "alpha": 1.0},
                "light_on_duration": "1s",
                "light_off_duration": "0.25s",
            },
            "visibility": "SECRET",
            "notification_count": "3",
            "proxy": "IF_PRIORITY_LOWERED",
            "bypass_proxy_notification": True,
        },
    },
    "apns": {
        "headers": {"apns-priority": "5"},
        "payload": {"aps": {"alert": {"title": "t"}, "badge": 1}},
        "fcm_options": {"analytics_label": "a", "image": "i"},
        "live_activity_token": "t",
    },
    "webpush": {
        "headers": {"TTL": "60"},
        "data": {"a": "1"},
        "notification": {"title": "t", "actions": [{"action": "a"}]},
        "fcm_options": {"link": "https://example.com", "analytics_label": "a"},
    },
    "fcm_options": {"analytics_label": "x" * 50},
}


def camel(value: Any) -> Any:
    """The same with names of fields in lowerCamelCase; what is a map by its nature stays."""
    if isinstance(value, dict):
        return {
            "".join([part.capitalize() if at else part for at, part in enumerate(name.split("_"))]): (
                one if name in ("data", "headers", "payload") else camel(one)
            )
            for name, one in value.items()
        }
    return [camel(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "message",
    [
        {"token": TOKEN, **EVERYTHING},
        camel({"token": TOKEN, **EVERYTHING}),
        {"token": TOKEN, "android": {"notification": {"title_loc_args": "alone", "visibility": 3}}},
        {"token": TOKEN, "android": {"priority": "high"}},
        {"fid": "cPUhv_LpQ-6cPUhv_LpQ-6"},
        {"topic": "news-_.~%1"},
        {"condition": "'a' in topics && ('b' in topics || !('c' in topics))"},
        {"token": TOKEN, "android": {"ttl": "0s", "priority": 1}},
        {"token": TOKEN, "android": None, "data": None, "notification": {}, "topic": None},
        {"token": TOKEN, "android_v2": {"ttl": "1s", "remote_notification": {"notification": {"title": "t"}}}},
        {"token": TOKEN, "android_v2": {"background_sync": {}, "collapse_key": "k"}},
        {"token": TOKEN, "data": {"a": "x" * 4095}},
        {"token": TOKEN, "data": {"": ""}, "apns": {"payload": {"a": "\ud800"}}},
    ],
)
async def test_a_message_is_good(sender: Sender, message: dict[str, Any]) -> None:
    reply = await sender.send({"message": message})
    assert (reply.status, reply.body[:10]) == (200, b'{\n  "name"')


@pytest.mark.parametrize(
    ("request_", "field", "told"),
    [
        ({"message": {}, "x": 1}, "", 'Unknown name "x": Cannot find field.'),
        ({"message": {"x": 1}}, "message", "Unknown name \"x\" at 'message': Cannot find field."),
        ({"message": {"Token": "x"}}, "message", 'Unknown name "Token"'),
        ({"message": {"android": {"notification": {"x": 1}}}}, "message.android.notification", 'Unknown name "x"'),
        ({"message": {"data": {"a": 5}}}, "message.data[0].value", "(TYPE_STRING), 5"),
        ({"message": {"data": {"a": "x", "b": None}}}, "message.data[1].value", "(TYPE_STRING), null"),
        ({"message": {"data": []}}, "message.data", "Invalid value"),
        ({"message": []}, "message", "Invalid value"),
        ({"message": {"token": 5}}, "message.token", "(TYPE_STRING), 5"),
        ({"message": {"notification": "x"}}, "message.notification", "google.firebase.fcm.v1.Notification"),
        ({"message": {"android": {"ttl": 5}}}, "message.android.ttl", "google.protobuf.Duration"),
        ({"message": {"android": {"ttl": "5"}}}, "message.android.ttl", "google.protobuf.Duration"),
        ({"message": {"android": {"ttl": "1h"}}}, "message.android.ttl", "google.protobuf.Duration"),
        ({"message": {"android": {"priority": "urgent"}}}, "message.android.priority", "AndroidMessagePriority"),
        ({"message": {"android": {"priority": 2}}}, "message.android.priority", "AndroidMessagePriority"),
        ({"message": {"android": {"direct_boot_ok": "yes"}}}, "message.android.direct_boot_ok", "TYPE_BOOL"),
        (
            {"message": {"android": {"notification": {"notification_count": 2**31}}}},
            "message.android.notification.notification_count",
            "TYPE_INT32",
        ),
        (
            {"message": {"android": {"notification": {"event_time": "today"}}}},
            "message.android.notification.event_time",
            "google.protobuf.Timestamp",
        ),
        (
            {"message": {"android": {"notification": {"body_loc_args": ["a", 1]}}}},
            "message.android.notification.body_loc_args[1]",
            "TYPE_STRING",
        ),
        (
            {"message": {"android": {"notification": {"light_settings": {"color": {"red": 10**400}}}}}},
            "message.android.notification.light_settings.color.red",
            "TYPE_FLOAT",
        ),
        ({"message": {"apns": {"payload": "x"}}}, "message.apns.payload", "google.protobuf.Struct"),
        ({"message": {"apns": {"headers": {"a": 1}}}}, "message.apns.headers[0].value", "TYPE_STRING"),
        (
            {"message": {"token": TOKEN, "topic": "a"}},
            "message",
            "oneof field 'target' is already set. Cannot set 'topic'",
        ),
        ({"message": {"token": TOKEN, "fid": "a"}}, "message", "Cannot set 'fid'"),
        ({"message": {"android": {}, "androidV2": {}}}, "message", "oneof field 'android_config'"),
        ({"message": {"fcm_options": {}, "fcmOptions": {}}}, "message", "already set"),
        ({"validate_only": "x"}, "validate_only", "TYPE_BOOL"),
        ([], "", "Root element must be a message"),
    ],
)
async def test_what_does_not_fit_the_schema(sender: Sender, request_: Any, field: str, told: str) -> None:
    reply = await sender.send(request_)

    assert (reply.status, error(reply)["status"], code(reply)) == (400, "INVALID_ARGUMENT", None)
    (violation,) = violations(reply)
    assert violation[0] == field
    assert told in violation[1]
    assert error(reply)["message"] == violation[1]


async def test_all_that_does_not_fit_is_told(sender: Sender) -> None:
    reply = await sender.send({"message": {"x": 1, "android": {"y": 1}, "data": {"a": 1}}})

    assert [field for field, _ in violations(reply)] == ["message", "message.android", "message.data[0].value"]
    assert error(reply)["message"].count("\n") == 2


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"message":NaN}', b"[" * 50_000, b'{"validate_only":' + b"1" * 5000 + b"}"]
)
async def test_what_is_no_json(sender: Sender, body: bytes) -> None:
    reply = await sender.post(body)
    assert (reply.status, error(reply)["status"], code(reply)) == (400, "INVALID_ARGUMENT", None)
    assert (await sender.send()).status == 200


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({}, "message"),
        ({"data": {"a": "b"}}, "message"),
        ({"token": ""}, "message.token"),
        ({"token": "short"}, "message.token"),
        ({"token": "has a blank in it"}, "message.token"),
        ({"token": TOKEN + "\n"}, "message.token"),
        ({"token": "x" * 4097}, "message.token"),
        ({"fid": "%%%%%%%%%%"}, "message.fid"),
        ({"topic": "/topics/news"}, "message.topic"),
        ({"topic": "x" * 901}, "message.topic"),
        ({"condition": ""}, "message.condition"),
        ({"condition": "'a' in topics &&"}, "message.condition"),
        ({"condition": "('a' in topics"}, "message.condition"),
        ({"condition": " || ".join(f"'{letter}' in topics" for letter in "abcdef")}, "message.condition"),
        *(
            ({"token": TOKEN, "data": {key: "x"}}, "message.data")
            for key in ("from", "message_type", "google", "google.x", "googleplex", "gcm", "gcm.notification")
        ),
        ({"token": TOKEN, "android": {"data": {"from": "x"}}}, "message.android.data"),
        ({"token": TOKEN, "webpush": {"data": {"gcm": "x"}}}, "message.webpush.data"),
        ({"token": TOKEN, "android": {"ttl": "-1s"}}, "message.android.ttl"),
        ({"token": TOKEN, "android": {"ttl": "2419200.1s"}}, "message.android.ttl"),
        ({"token": TOKEN, "fcm_options": {"analytics_label": "a b"}}, "message.fcm_options.analytics_label"),
        (
            {"token": TOKEN, "apns": {"fcm_options": {"analytics_label": "x" * 51}}},
            "message.apns.fcm_options.analytics_label",
        ),
        ({"token": TOKEN, "android": {"notification": {"color": "red"}}}, "message.android.notification.color"),
        ({"token": TOKEN, "webpush": {"fcm_options": {"link": "http://a"}}}, "message.webpush.fcm_options.link"),
    ],
)
async def test_what_fcm_refuses_in_a_message(sender: Sender, message: dict[str, Any], field: str) -> None:
    reply = await sender.send({"message": message})

    assert (reply.status, error(reply)["status"], code(reply)) == (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert [one for one, _ in violations(reply)] == [field]
    assert sender.fcm.journal.accepted == 0


@pytest.mark.parametrize(
    "message",
    [
        {"token": TOKEN, "data": {"a": "x" * 4096}},
        {"token": TOKEN, "data": {"a": "ж" * 2048}},
        {"token": TOKEN, "data": {"a": "x" * 2000}, "notification": {"body": "x" * 2100}},
        {"token": TOKEN, "android": {"data": {"a": "x" * 4096}}},
        {"token": TOKEN, "apns": {"payload": {"aps": {"alert": "x" * 4096}}}},
        {"token": TOKEN, "webpush": {"notification": {"body": "x" * 4096}}},
        {"topic": "news", "data": {"a": "x" * 2048}},
    ],
)
async def test_too_large_a_message_is_refused_without_details(sender: Sender, message: dict[str, Any]) -> None:
    reply = await sender.send({"message": message})

    assert (reply.status, error(reply)["status"]) == (400, "INVALID_ARGUMENT")
    assert "details" not in error(reply)


async def test_what_is_far_too_large_is_not_even_read(sender: Sender) -> None:
    reply = await sender.send({"message": {"token": TOKEN, "data": {"a": "x" * 100_000}}})
    assert (reply.status, reply.headers["content-type"]) == (413, "text/html; charset=UTF-8")
