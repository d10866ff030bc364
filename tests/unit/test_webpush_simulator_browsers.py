"""The browsers of the simulated push services: subscribed by Python or by control calls, off and on, and over."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bellhop_simulators import ManualClock, WebPushSimulator
from bellhop_simulators.webpush import base64url
from bellhop_simulators.webpush.personas import PERSONAS
from tests.unit.http1_wire import Http1Client
from tests.unit.webpush_wire import MESSAGE, Sender, encrypted

DAY = 86_400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest_asyncio.fixture
async def push(clock: ManualClock) -> AsyncIterator[WebPushSimulator]:
    async with WebPushSimulator(clock=clock) as simulator:
        yield simulator


@pytest_asyncio.fixture
async def sender(push: WebPushSimulator) -> AsyncIterator[Sender]:
    async with await Http1Client.connect(push.url, push.ca_file) as client:
        yield Sender(push, client)


@pytest.mark.parametrize("persona", PERSONAS)
async def test_a_subscription_ends(push: WebPushSimulator, sender: Sender, persona: str) -> None:
    gone, expired = (push.subscriptions.subscribe(persona, push.key.public_key) for _ in range(2))
    gone.unsubscribe()
    expired.expire()

    assert [(await sender.push(browser)).status for browser in (gone, expired)] == [410, 404]
    push.faults.add({"status": 500, "accepted": True})
    assert (await sender.push(gone)).status == 500
    assert gone.messages == expired.messages == []


async def test_a_browser_that_is_off_gets_the_newest_of_a_topic(
    push: WebPushSimulator, sender: Sender, clock: ManualClock
) -> None:
    browser = push.subscriptions.subscribe("mozilla", push.key.public_key)
    browser.set_offline()
    for text, ttl, topic in (
        (b"plain", "60", None),
        (b"old score", "60", "score"),
        (b"never", "0", None),
        (b"short", "30", None),
        (b"new score", "60", "score"),
        (b"weather", "60", "weather"),
    ):
        assert (await sender.push(browser, encrypted(browser, text), ttl=ttl, topic=topic)).status == 201
    assert browser.messages == []
    clock.advance(30)

    arrived = browser.set_online()

    assert [message.text for message in arrived] == ["plain", "new score", "weather"]
    assert browser.messages == arrived
    assert (await sender.push(browser)).status == 201
    assert len(browser.messages) == 4
    assert browser.stored == browser.set_online() == []


async def test_an_unreadable_message_replaces_what_had_its_topic(push: WebPushSimulator, sender: Sender) -> None:
    browser = push.subscriptions.subscribe("mozilla", push.key.public_key)
    browser.set_offline()
    await sender.push(browser, topic="score")
    await sender.push(browser, b"nonsense", topic="score")

    assert browser.set_online() == []


async def test_a_message_is_taken_back(push: WebPushSimulator, sender: Sender) -> None:
    browser = push.subscriptions.subscribe("mozilla", push.key.public_key)
    browser.set_offline()
    first, second = [(await sender.push(browser)).headers["location"] for _ in range(2)]

    assert (await sender.call("GET", first)).status == 405
    assert (await sender.call("DELETE", first)).status == 204
    assert (await sender.call("DELETE", first)).status == 404
    assert (await sender.call("DELETE", first.replace("/mozilla/", "/fcm/"))).status == 404

    assert [message.message_id for message in browser.set_online()] == [second.rpartition("/")[2]]
    assert push.journal.accepted == 2
    assert len(push.journal.find(method="DELETE", status=204, accepted=False)) == 1


async def test_control_calls(push: WebPushSimulator, sender: Sender) -> None:
    push.faults.add({"status": 503})
    status, made = await sender.control(
        "POST", "/subscriptions", {"persona": "wns", "application_server_key": push.key.public_key}
    )
    assert status == 201
    assert set(made) == {"id", "endpoint", "expirationTime", "keys"}
    browser = push.subscriptions.get(made["id"])
    assert browser is not None
    assert made == {"id": browser.subscription_id, **browser.to_json()}
    push.faults.clear()
    assert (await sender.push(browser)).status == 201

    status, told = await sender.control("GET", f"/subscriptions/{made['id']}/messages")

    assert status == 200
    (message,) = told["messages"]
    assert json.loads(message["text"]) == {"title": "Grüße"}
    assert base64url.decode(message["data"]) == MESSAGE
    assert (message["ttl"], message["urgency"], message["topic"]) == (60, "normal", None)
    assert await sender.control("DELETE", f"/subscriptions/{made['id']}") == (204, None)
    assert (await sender.push(browser)).status == 410
    assert push.journal.total == 2


async def test_a_control_call_without_a_body_subscribes_at_mozilla(push: WebPushSimulator, sender: Sender) -> None:
    status, made = await sender.control("POST", "/subscriptions")
    assert (status, made["endpoint"].startswith(f"{push.url}/mozilla/wpush/v1/")) == (201, True)
    status, made = await sender.control("POST", "/subscriptions", {"persona": "fcm", "application_server_key": None})
    assert status == 201
    assert len(push.subscriptions) == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/subscriptions", b"", 405),
        ("POST", "/subscriptions", b"{", 400),
        ("POST", "/subscriptions", b"[]", 400),
        ("POST", "/subscriptions", b'{"person": "fcm"}', 400),
        ("POST", "/subscriptions", b'{"persona": "opera"}', 400),
        ("POST", "/subscriptions", b'{"persona": 1}', 400),
        ("POST", "/subscriptions", b'{"application_server_key": "BAAA"}', 400),
        ("POST", "/subscriptions", b'{"application_server_key": "%"}', 400),
        ("GET", "/subscriptions/abc/messages", b"", 404),
        ("DELETE", "/subscriptions/abc", b"", 404),
        ("GET", "/subscriptions/x/y", b"", 404),
    ],
)
async def test_wrong_control_calls(sender: Sender, method: str, path: str, body: bytes, status: int) -> None:
    assert (await sender.call(method, path, None, body)).status == status


async def test_wrong_methods_of_a_subscription(push: WebPushSimulator, sender: Sender) -> None:
    path = f"/subscriptions/{push.subscriptions.subscribe().subscription_id}"
    assert (await sender.call("GET", path)).status == 405
    assert (await sender.call("POST", f"{path}/messages")).status == 405


async def test_subscribing_needs_a_persona_and_a_point(push: WebPushSimulator) -> None:
    with pytest.raises(ValueError, match="opera"):
        push.subscriptions.subscribe("opera")
    with pytest.raises(ValueError, match="65 octets"):
        push.subscriptions.subscribe("fcm", "BAAA")
    browser = push.subscriptions.subscribe("fcm", push.key.public_key + "=")
    assert len(base64url.decode(browser.p256dh)) == 65
    assert len(base64url.decode(browser.auth)) == 16
    assert list(push.subscriptions) == [browser]
