"""The simulated FCM: access tokens, who may send, devices; over HTTP/1.1 and HTTP/2."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from bellhop_simulators import FcmSimulator, ManualClock
from tests.unit.apns_wire import WireClient
from tests.unit.fcm_sender import (
    GOOD,
    GRANT,
    NOW,
    SCOPE,
    TOKEN,
    Sender,
    advance,
    assertion,
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
        ({"aud": "https://accounts.google.com/o/oauth2/token"}, "invalid_grant", "audience"),
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
        {"aud": "https://oauth2.googleapis.com/token"},
        {"aud": "https://localhost/token"},
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


# Devices


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
