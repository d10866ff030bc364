"""The simulated FCM: scripted faults, as a sender sees them."""

import json
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from bellhop_simulators import FcmSimulator, ManualClock
from tests.unit.fcm_sender import (
    NOW,
    QUOTA_FAILURE,
    TOKEN,
    Sender,
    code,
    detail,
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
