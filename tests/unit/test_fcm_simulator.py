"""The simulated FCM: access tokens, the schema and rules of messages, devices, faults; over HTTP/1.1 and HTTP/2."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from bellhop_simulators import FcmSimulator, ManualClock, ServiceAccount
from tests.unit.apns_wire import WireClient
from tests.unit.http1_wire import Http1Client, Http1Reply

NOW = 1_800_000_000.0
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
TOKEN = "cPUhv_LpQ-6:APA91bHqL0"
GOOD = {"message": {"token": TOKEN, "data": {"alert": "hi"}}}
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"


def assertion(fcm: FcmSimulator, account: ServiceAccount | None = None, **changes: Any) -> str:
    """What a sender signs; `changes` of claims, `kid` and `key`; None leaves a claim out."""
    file = json.loads((account or fcm.account).service_account_json)
    kid, key = changes.pop("kid", file["private_key_id"]), changes.pop("key", file["private_key"])
    claims = {
        "iss": file["client_email"],
        "scope": SCOPE,
        "aud": file["token_uri"],
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
        **changes,
    }
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, key, algorithm="RS256", headers={"kid": kid} if kid else {})


@dataclass
class Sender:
    """A connection over HTTP/1.1, with an access token once it has one."""

    fcm: FcmSimulator
    http: Http1Client
    authorization: str = ""

    async def form(self, **fields: str) -> Http1Reply:
        form = {"content-type": "application/x-www-form-urlencoded"}
        return await self.http.call("POST", "/token", form, urlencode(fields).encode())

    async def authorize(self, account: ServiceAccount | None = None, **changes: Any) -> Http1Reply:
        reply = await self.form(grant_type=GRANT, assertion=assertion(self.fcm, account, **changes))
        if reply.status == 200:
            self.authorization = f"Bearer {json.loads(reply.body)['access_token']}"
        return reply

    async def post(self, body: bytes, project: str = "example-project") -> Http1Reply:
        return await self.http.call("POST", f"/v1/projects/{project}/messages:send", self.headers, body)

    async def send(self, request: Any = None, **more: str) -> Http1Reply:
        return await self.post(json.dumps(GOOD if request is None else request).encode(), **more)

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": self.authorization, "content-type": "application/json"}


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


def advance(fcm: FcmSimulator, seconds: float) -> None:
    clock = fcm._world.clock
    assert isinstance(clock, ManualClock)
    clock.advance(seconds)


def error(reply: Http1Reply) -> dict[str, Any]:
    """The error, checked to be one as Google tells it."""
    assert reply.headers["content-type"] == "application/json; charset=UTF-8"
    told: dict[str, Any] = json.loads(reply.body)["error"]
    assert told["code"] == reply.status
    assert told["message"]
    return told


def detail(reply: Http1Reply, kind: str) -> dict[str, Any] | None:
    return next((one for one in error(reply).get("details", []) if one["@type"] == kind), None)


def code(reply: Http1Reply) -> Any:
    """The FcmError's, None if there is none."""
    return (detail(reply, FCM_ERROR) or {}).get("errorCode")


def violations(reply: Http1Reply) -> list[tuple[str, str]]:
    found = detail(reply, BAD_REQUEST) or {"fieldViolations": []}
    return [(one["field"], one["description"]) for one in found["fieldViolations"]]


# Access tokens


async def test_a_token_is_granted_and_dies_with_the_hour(fcm: FcmSimulator, sender: Sender) -> None:
    reply = await sender.authorize()
    granted = json.loads(reply.body)

    assert (granted["expires_in"], granted["token_type"], fcm.access_tokens.granted) == (3599, "Bearer", 2)
    advance(fcm, 3598)
    assert (await sender.send()).status == 200
    advance(fcm, 1)
    assert (await sender.send()).status == 401
    entry = fcm.journal.find(path="/token")[0]
    assert (entry.provider, entry.accepted, entry.status, entry.message_id) == ("fcm", False, 200, "")


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"aud": "https://oauth2.googleapis.com/token"}, "invalid_grant", "audience"),
        ({"aud": ["x"]}, "invalid_grant", "audience"),
        ({"iss": "nobody@example.com"}, "invalid_grant", "account not found"),
        ({"iss": None}, "invalid_grant", "account not found"),
        ({"kid": "other"}, "invalid_grant", "Signature"),
        ({"key": rsa.generate_private_key(65_537, 2048)}, "invalid_grant", "Signature"),
        ({"exp": int(NOW) + 3601}, "invalid_grant", "short-lived"),
        ({"exp": int(NOW) - 301, "iat": int(NOW) - 3000}, "invalid_grant", "short-lived"),
        ({"iat": int(NOW) + 301, "exp": int(NOW) + 600}, "invalid_grant", "short-lived"),
        ({"iat": int(NOW) - 7200, "exp": int(NOW) - 3600}, "invalid_grant", "short-lived"),
        ({"iat": int(NOW) + 7200, "exp": int(NOW) + 10800}, "invalid_grant", "short-lived"),
        ({"iat": None}, "invalid_grant", "short-lived"),
        ({"iat": True}, "invalid_grant", "short-lived"),
        ({"exp": None}, "invalid_grant", "short-lived"),
        ({"exp": float("inf")}, "invalid_grant", "short-lived"),
        ({"scope": "https://www.googleapis.com/auth/drive"}, "invalid_scope", "scope"),
        ({"scope": None}, "invalid_scope", "scope"),
    ],
)
async def test_an_assertion_is_refused(sender: Sender, changes: dict[str, Any], code: str, told: str) -> None:
    reply = await sender.authorize(**changes)

    answer = json.loads(reply.body)
    assert (reply.status, answer["error"]) == (400, code)
    assert told in answer["error_description"]
    assert sender.fcm.journal.entries[-1].reason == code
    assert sender.fcm.access_tokens.granted == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"kid": None},
        {"scope": f"openid {SCOPE}"},
        {"scope": "https://www.googleapis.com/auth/cloud-platform"},
        {"iat": int(NOW) + 299, "exp": int(NOW) + 3899},
        {"iat": int(NOW) - 3600, "exp": int(NOW)},
    ],
)
async def test_an_assertion_is_good(sender: Sender, changes: dict[str, Any]) -> None:
    assert (await sender.authorize(**changes)).status == 200


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": GRANT}, "invalid_request"),
        ({"grant_type": GRANT, "assertion": "x.y.z"}, "invalid_grant"),
    ],
)
async def test_a_form_is_refused(sender: Sender, form: dict[str, str], code: str) -> None:
    reply = await sender.form(**form)
    assert (reply.status, json.loads(reply.body)["error"]) == (400, code)


async def test_a_rotated_key_is_refused_and_its_tokens_are_not(fcm: FcmSimulator, sender: Sender) -> None:
    old = assertion(fcm)
    fcm.account.rotate()

    assert (await sender.form(grant_type=GRANT, assertion=old)).status == 400
    assert (await sender.send()).status == 200
    assert (await sender.authorize()).status == 200


async def test_a_revoked_account_is_out(fcm: FcmSimulator, sender: Sender) -> None:
    fcm.account.revoke()

    assert (await sender.send()).status == 401
    assert json.loads((await sender.authorize()).body)["error"] == "invalid_grant"


async def test_access_tokens_can_be_revoked(fcm: FcmSimulator, sender: Sender) -> None:
    fcm.access_tokens.revoke_all()
    assert (await sender.send()).status == 401
    fcm.access_tokens.lifetime = 60
    assert json.loads((await sender.authorize()).body)["expires_in"] == 60
    assert (await sender.send()).status == 200


# Who may send


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        ("", 'Bearer realm="https://accounts.google.com/"'),
        ("Bearer x", 'Bearer realm="https://accounts.google.com/", error="invalid_token"'),
        ("key=AAAA", 'Bearer realm="https://accounts.google.com/", error="invalid_token"'),
    ],
)
async def test_without_a_good_token_nothing_goes(sender: Sender, authorization: str, challenge: str) -> None:
    sender.authorization = authorization
    reply = await sender.send({"nonsense": 1})

    assert (reply.status, error(reply)["status"], code(reply)) == (401, "UNAUTHENTICATED", None)
    assert reply.headers["www-authenticate"] == challenge
    entry = sender.fcm.journal.entries[-1]
    assert (entry.reason, entry.accepted) == ("UNAUTHENTICATED", False)


async def test_an_account_sends_for_its_projects_if_it_may(fcm: FcmSimulator, sender: Sender) -> None:
    fcm.accounts.add("other-project", sender_id="123456")

    for project, status, name in (
        ("other-project", 403, "PERMISSION_DENIED"),
        ("123456", 403, "PERMISSION_DENIED"),
        ("no-project", 404, "NOT_FOUND"),
    ):
        reply = await sender.send(project=project)
        assert (reply.status, error(reply)["status"], code(reply)) == (status, name, None)
    fcm.account.projects.add("other-project")
    assert (await sender.send(project="123456")).status == 200
    assert (await sender.send(project=fcm.account.sender_id)).status == 200
    fcm.account.permitted = False
    reply = await sender.send()
    assert (reply.status, code(reply), fcm.journal.entries[-1].project) == (403, None, "example-project")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("POST", "/v1/projects/example-project/messages"),
        ("POST", "/v1/projects//messages:send"),
        ("POST", "/fcm/send"),
        ("GET", "/v1/projects/example-project/messages:send"),
    ],
)
async def test_a_wrong_path_is_a_page(sender: Sender, method: str, path: str) -> None:
    reply = await sender.http.call(method, path, sender.headers, json.dumps(GOOD).encode())
    assert (reply.status, reply.headers["content-type"]) == (404, "text/html; charset=UTF-8")
    assert reply.body.startswith(b"<!DOCTYPE html>")


# Messages


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
        ({"message": {"android": {"priority": "high"}}}, "message.android.priority", "AndroidMessagePriority"),
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


async def test_what_devices_say(fcm: FcmSimulator, sender: Sender) -> None:
    for change, status, name, expected, field in (
        (fcm.devices.unregister, 404, "NOT_FOUND", "UNREGISTERED", None),
        (fcm.devices.mismatch, 403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", None),
        (fcm.devices.third_party_refuses, 401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", None),
        (fcm.devices.invalid, 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.token"),
    ):
        change(TOKEN)
        reply = await sender.send()
        assert (reply.status, error(reply)["status"], code(reply)) == (status, name, expected)
        assert [one for one, _ in violations(reply)] == ([field] if field else [])
        assert fcm.journal.entries[-1].reason == expected
    assert "www-authenticate" not in reply.headers
    fcm.devices.invalid("installation-id")
    reply = await sender.send({"message": {"fid": "installation-id"}})
    assert violations(reply)[0][0] == "message.fid"
    fcm.devices.register(TOKEN)
    assert (await sender.send()).status == 200
    assert len(fcm.devices.received(TOKEN)) == 1


async def test_a_device_keeps_a_hundred_messages(fcm: FcmSimulator, sender: Sender) -> None:
    for number in range(101):
        await sender.send({"message": {"token": TOKEN, "data": {"number": str(number)}}})

    received = fcm.devices.received(TOKEN)
    assert (len(received), received[0].message["data"]["number"]) == (100, "1")


# Faults


@pytest.mark.parametrize(
    ("then", "name", "expected"),
    [
        ({"status": 400}, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
        ({"status": 401}, "UNAUTHENTICATED", None),
        ({"status": 401, "reason": "THIRD_PARTY_AUTH_ERROR"}, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
        ({"status": 403}, "PERMISSION_DENIED", None),
        ({"status": 403, "reason": "SENDER_ID_MISMATCH"}, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
        ({"status": 404}, "NOT_FOUND", "UNREGISTERED"),
        ({"status": 404, "reason": ""}, "NOT_FOUND", None),
        ({"status": 429}, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
        ({"status": 500}, "INTERNAL", "INTERNAL"),
        ({"status": 500, "reason": "UNSPECIFIED_ERROR"}, "INTERNAL", "UNSPECIFIED_ERROR"),
        ({"status": 503}, "UNAVAILABLE", "UNAVAILABLE"),
        ({"status": 504}, "DEADLINE_EXCEEDED", None),
        ({"status": 418}, "UNKNOWN", None),
    ],
)
async def test_scripted_answers(sender: Sender, then: dict[str, Any], name: str, expected: str | None) -> None:
    sender.fcm.faults.add(then, times=1)

    reply = await sender.send()

    assert (reply.status, error(reply)["status"], code(reply)) == (then["status"], name, expected)
    entry = sender.fcm.journal.entries[-1]
    assert (entry.status, entry.reason, entry.accepted) == (then["status"], expected or name, False)
    assert (await sender.send()).status == 200


async def test_quotas_and_when_to_come_back(fcm: FcmSimulator, sender: Sender) -> None:
    fcm.faults.add({"status": 429, "retry_after": 60}, times=1)
    fcm.faults.add({"status": 429, "quota": "device", "retry_after_date": 90}, times=1)

    reply = await sender.send()
    quota = detail(reply, QUOTA_FAILURE)
    assert quota is not None
    assert (quota["violations"][0]["subject"], reply.headers["retry-after"]) == ("project:example-project", "60")
    reply = await sender.send()
    quota = detail(reply, QUOTA_FAILURE)
    assert quota is not None
    assert quota["violations"][0]["subject"] == f"token:{TOKEN}"
    assert parsedate_to_datetime(reply.headers["retry-after"]).timestamp() == NOW + 90


async def test_a_fault_can_name_the_field(sender: Sender) -> None:
    sender.fcm.faults.add({"status": 400, "field": "message.token"}, times=1)
    assert [field for field, _ in violations(await sender.send())] == ["message.token"]


async def test_pages_empty_bodies_and_redirects(fcm: FcmSimulator, sender: Sender) -> None:
    fcm.faults.add({"status": 502}, times=1)
    fcm.faults.add({"status": 200, "body": ""}, times=1)
    fcm.faults.add({"status": 200, "body": "[]"}, times=1)
    fcm.faults.add({"status": 302, "headers": {"location": "https://169.254.169.254/"}}, times=1)

    reply = await sender.send()
    assert (reply.status, reply.headers["content-type"]) == (502, "text/html; charset=UTF-8")
    assert ((await sender.send()).body, (await sender.send()).body) == (b"", b"[]")
    assert (await sender.send()).headers["location"] == "https://169.254.169.254/"
    assert [entry.accepted for entry in fcm.journal.find(method="POST")][1:] == [False, True, True, False]


async def test_faults_meet_messages_unless_they_name_the_call(fcm: FcmSimulator, sender: Sender) -> None:
    fcm.faults.add({"status": 503}, {"request": 1})
    fcm.faults.add({"status": 401, "reason": "invalid_client"}, {"call": "token"}, times=1)
    fcm.faults.add({"status": 500, "body": "oops"}, {"call": "token"}, times=1)
    fcm.faults.add({"status": 502}, {"call": ["send", "token"]}, times=1)

    reply = await sender.authorize()
    assert (reply.status, json.loads(reply.body)["error"]) == (401, "invalid_client")
    assert (await sender.authorize()).body == b"oops"
    assert (await sender.send()).status == 503
    assert (await sender.authorize()).status == 502
    assert (await sender.authorize()).status == 200
    assert (await sender.send()).status == 200
    assert fcm.access_tokens.granted == 2


@pytest.mark.parametrize(
    ("when", "status"),
    [
        ({"provider": "fcm"}, 503),
        ({"provider": ["apns", "web_push"]}, 200),
        ({"project": "example-project"}, 503),
        ({"project": "other"}, 200),
        ({"host": "localhost"}, 503),
        ({"host": "fcm.googleapis.com"}, 200),
        ({"token": TOKEN}, 503),
        ({"token": TOKEN.lower()}, 200),
        ({"environment": "production"}, 200),
        ({"app": ""}, 200),
        ({"persona": "mozilla"}, 200),
    ],
)
async def test_whom_a_fault_meets(sender: Sender, when: dict[str, Any], status: int) -> None:
    sender.fcm.faults.add({"status": 503}, when)
    assert (await sender.send()).status == status


async def test_a_fault_can_name_the_account(fcm: FcmSimulator, sender: Sender) -> None:
    fcm.faults.add({"status": 503}, {"key_id": fcm.account.private_key_id})
    assert (await sender.send()).status == 503


# HTTP/2


def head(fcm: FcmSimulator, sender: Sender) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/v1/projects/example-project/messages:send"),
        ("authorization", sender.authorization),
    ]


async def test_the_same_over_http2(fcm: FcmSimulator, sender: Sender) -> None:
    async with await WireClient.connect(fcm) as client:
        assert client.limit == 100
        streams = [client.send_raw(head(fcm, sender), json.dumps(GOOD).encode()) for _ in range(3)]
        replies = [await client.answer(stream) for stream in streams]
        assert [(reply.status, b"projects/" in reply.body) for reply in replies] == [(200, True)] * 3
        stream = client.send_raw(head(fcm, sender), b'{"message":{}}')
        assert (await client.answer(stream)).error["error"]["message"] == "Recipient of the message is not set."
    assert {entry.http for entry in fcm.journal.find(path="/v1/projects/example-project/messages:send")} == {"HTTP/2"}


async def test_streams_are_refused_reset_and_shut_down(fcm: FcmSimulator, sender: Sender) -> None:
    async with await WireClient.connect(fcm) as client:
        fcm.faults.add({"reset_stream": "REFUSED_STREAM"}, times=1)
        fcm.faults.add({"status": 503, "max_concurrent_streams": 1}, times=1)
        fcm.faults.add({"fragment": 5}, times=1)
        fcm.faults.add({"goaway": {"last_stream": "before"}}, times=1)
        replies = []
        for _ in range(3):
            replies.append(await client.answer(client.send_raw(head(fcm, sender), json.dumps(GOOD).encode())))
        last = client.send_raw(head(fcm, sender), json.dumps(GOOD).encode())
        assert await client.ended() == "closed"
    assert [(reply.status, reply.reset) for reply in replies] == [(None, 7), (503, None), (200, None)]
    assert replies[2].data_frames > 5
    assert client.limit == 1
    assert client.goaways[0].last_stream_id == last - 2
    assert [entry.accepted for entry in fcm.journal.entries][1:] == [False, False, True, False]


async def test_one_stream_from_the_start(sender: Sender) -> None:
    async with FcmSimulator(max_concurrent_streams=1) as fcm, await WireClient.connect(fcm) as client:
        assert client.limit == 1
        first, second = (client.send_raw(head(fcm, sender), b"{}") for _ in range(2))
        assert ((await client.answer(first)).status, (await client.answer(second)).reset) == (401, 7)


async def test_the_file_is_that_of_a_service_account(fcm: FcmSimulator) -> None:
    file = json.loads(fcm.account.service_account_json)

    assert file["type"] == "service_account"
    assert file["token_uri"] == fcm.token_url == f"{fcm.url}/token"
    assert (file["project_id"], file["client_email"]) == (fcm.account.project_id, fcm.account.client_email)
    assert fcm.account.credential() == {
        "credentialId": "fcm",
        "fcm": {"serviceAccountJson": fcm.account.service_account_json, "senderId": fcm.account.sender_id},
    }
    assert fcm.accounts.add("example-project").sender_id == fcm.account.sender_id
    with pytest.raises(ValueError, match="number"):
        fcm.accounts.add("x", sender_id="x")


async def test_the_machine_s_clock_rules_by_default() -> None:
    async with FcmSimulator() as fcm, await Http1Client.connect(fcm.url, fcm.ca_file) as http:
        now = int(time.time())
        assert (await Sender(fcm, http).authorize(iat=now, exp=now + 3600)).status == 200
