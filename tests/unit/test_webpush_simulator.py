"""The simulated push services over real TLS: what they take, deliver and write down."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict

from bellhop.v1.applications_pb2 import SetCredentialRequest
from bellhop_simulators import ManualClock, Simulation, SimulationOptions, VapidKey, WebPushSimulator
from bellhop_simulators.webpush import base64url
from bellhop_simulators.webpush.personas import PERSONAS
from tests.unit.apns_wire import WireClient
from tests.unit.http1_wire import Http1Client
from tests.unit.webpush_wire import MESSAGE, Sender, encrypted, headers_for, push_over_http2

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
async def test_a_browser_gets_what_was_pushed(push: WebPushSimulator, sender: Sender, persona: str) -> None:
    browser = push.subscriptions.subscribe(persona, push.key.public_key)

    reply = await sender.push(browser, urgency="high", topic="news")

    assert (reply.status, reply.headers["ttl"], reply.body) == (201, "60", b"")
    assert reply.headers["location"].startswith(f"{push.url}/{persona}/m/")
    (message,) = browser.messages
    assert message.data == MESSAGE
    assert message.json() == {"title": "Grüße"}
    assert (message.ttl, message.urgency, message.topic, message.time) == (60, "high", "news", 1_800_000_000.0)
    (entry,) = push.journal.entries
    assert (entry.provider, entry.persona, entry.http) == ("web_push", persona, "HTTP/1.1")
    assert (entry.token, entry.topic, entry.status) == (browser.subscription_id, "news", 201)
    assert entry.accepted
    assert (entry.decrypted, entry.undecryptable) == (MESSAGE.decode(), None)
    assert entry.message_id == message.message_id == reply.headers["location"].rpartition("/")[2]


async def test_http2_is_spoken_as_well(push: WebPushSimulator) -> None:
    browser = push.subscriptions.subscribe("apple", push.key.public_key)
    async with await WireClient.connect(push) as client:
        await client.until(lambda: client.limit)
        good = await push_over_http2(client, push, browser)
        twice = await push_over_http2(client, push, browser, ("urgency", "low"), ("urgency", "high"))

    assert (good.status, good.headers["ttl"]) == (201, "60")
    assert (twice.status, twice.reason) == (400, "BadWebPushRequest")
    assert good.headers["apns-id"] != twice.headers["apns-id"]
    assert [entry.http for entry in push.journal.entries] == ["HTTP/2", "HTTP/2"]
    assert [message.text for message in browser.messages] == [MESSAGE.decode()]


async def test_each_refuses_in_its_own_words(push: WebPushSimulator, sender: Sender) -> None:
    told = {}
    for persona in PERSONAS:
        browser = push.subscriptions.subscribe(persona, VapidKey(ManualClock()).public_key)
        told[persona] = await sender.push(browser)
        assert browser.messages == []

    assert {persona: reply.status for persona, reply in told.items()} == {
        "mozilla": 401,
        "fcm": 403,
        "apple": 400,
        "wns": 403,
    }
    assert json.loads(told["mozilla"].body)["errno"] == 109
    assert b"do not correspond" in told["fcm"].body
    assert json.loads(told["apple"].body) == {"reason": "VapidPkHashMismatch"}
    assert told["wns"].body == b""
    assert told["wns"].headers["x-wns-notificationstatus"] == "dropped"
    assert [entry.reason for entry in push.journal.find(persona="apple")] == ["VapidPkHashMismatch"]
    assert push.journal.accepted == 0


async def test_the_audience_is_the_origin_that_was_called(push: WebPushSimulator, sender: Sender) -> None:
    browser = push.subscriptions.subscribe("mozilla", push.key.public_key)
    other = push.key.authorization("https://push.example.net/x")
    port = push.url.rpartition(":")[2]

    assert (await sender.push(browser, authorization=other)).status == 401
    assert (await sender.push(browser, host="push.example.net", authorization=other)).status == 201
    assert (await sender.push(browser, host="push.example.net:443", authorization=other)).status == 201
    by_name = push.key.authorization(f"https://localhost:{port}/x")
    assert (await sender.push(browser, host=f"LOCALHOST:{port}", authorization=by_name)).status == 201


async def test_tokens_go_by_the_clock(push: WebPushSimulator, sender: Sender, clock: ManualClock) -> None:
    browser = push.subscriptions.subscribe("mozilla", push.key.public_key)
    token = push.key.authorization(browser.endpoint)
    assert (await sender.push(browser, authorization=token)).status == 201
    clock.advance(DAY / 2 + 1)
    assert (await sender.push(browser, authorization=token)).status == 401
    clock.advance(-DAY - 2)
    assert (await sender.push(browser, authorization=token)).status == 401


async def test_what_no_browser_can_read_is_taken_and_written_down(push: WebPushSimulator, sender: Sender) -> None:
    browser, other = (push.subscriptions.subscribe("fcm", push.key.public_key) for _ in range(2))

    assert (await sender.push(browser, encrypted(other))).status == 201
    assert (await sender.push(browser, b"no header at all")).status == 201
    assert (await sender.push(browser, b"", content_encoding=None)).status == 201

    wrong, broken, empty = push.journal.entries
    assert wrong.accepted
    assert wrong.decrypted is None
    assert "authentication tag" in (wrong.undecryptable or "")
    assert "octets" in (broken.undecryptable or "")
    assert (empty.decrypted, empty.undecryptable) == (None, None)
    (message,) = browser.messages
    assert (message.data, message.text) == (None, None)
    line = json.loads(wrong.line())
    assert line["decrypted"] is None
    assert "authentication tag" in line["undecryptable"]
    assert base64url.decode(line["body_base64"])


async def test_the_signing_key_is_not_the_ecdh_key(push: WebPushSimulator, sender: Sender) -> None:
    browser = push.subscriptions.subscribe("fcm", push.key.public_key)

    reply = await sender.push(browser, encrypted(browser, key=push.key.private_key))

    assert reply.status == 400
    assert browser.messages == []


async def test_a_stranger_brings_his_own_keys(push: WebPushSimulator, sender: Sender) -> None:
    key = VapidKey(ManualClock(1_800_000_000.0))
    for path in (
        "/mozilla/wpush/v2/gAAAAABl",
        "/fcm/fcm/send/dHI:APA91b_X",
        "/apple/QGuQyav",
        "/wns/w/?token=BQ%2bA%3d",
    ):
        reply = await sender.push(push.url + path, b"x" * 200, key)
        assert reply.status == 201, path
        assert (await sender.call("DELETE", reply.headers["location"])).status == 204
        assert (await sender.push(push.url + path, b"x" * 4097, key)).status == 413
    first, *_ = push.journal.find(status=201)
    assert (first.token, first.decrypted) == ("gAAAAABl", None)
    assert "not known" in (first.undecryptable or "")
    assert push.journal.find(status=201)[3].token == "BQ%2bA%3d"
    assert (await sender.push(push.url + "/elsewhere/x", b"x", key)).status == 404
    assert (await sender.call("POST", "/")).status == 404


async def test_the_query_has_to_come_back_byte_for_byte(push: WebPushSimulator, sender: Sender) -> None:
    browser = push.subscriptions.subscribe("wns", push.key.public_key)
    assert "%2F" in browser.endpoint
    for altered in (browser.endpoint.replace("%2F", "/"), browser.endpoint.replace("%3D", "=")):
        assert altered != browser.endpoint
        reply = await sender.push(altered, encrypted(browser))
        assert reply.status == 404
        assert reply.headers["x-wns-error-description"]
    assert (await sender.push(browser)).status == 201


async def test_an_endpoint_bound_to_a_key_has_no_unbound_twin(push: WebPushSimulator, sender: Sender) -> None:
    bound = push.subscriptions.subscribe("mozilla", push.key.public_key)
    free = push.subscriptions.subscribe("mozilla")

    assert (await sender.push(bound.endpoint.replace("/v2/", "/v1/"), encrypted(bound))).status == 404
    assert (await sender.push(free, authorization=None)).status == 201
    assert (await sender.push(free)).status == 201
    assert (await sender.push(bound, authorization=None)).status == 401


async def test_the_ttl_in_the_answer_is_the_one_that_counts(push: WebPushSimulator, sender: Sender) -> None:
    for persona, ttl in (("mozilla", "2592000"), ("apple", "2592000"), ("wns", "2592000")):
        browser = push.subscriptions.subscribe(persona, push.key.public_key)
        assert (await sender.push(browser, ttl="9999999")).headers["ttl"] == ttl
        assert browser.messages[0].ttl == int(ttl)


async def test_faults_by_persona_host_and_subscription(push: WebPushSimulator, sender: Sender) -> None:
    browsers = {persona: push.subscriptions.subscribe(persona, push.key.public_key) for persona in PERSONAS}
    another = push.subscriptions.subscribe("mozilla", push.key.public_key)
    push.faults.add({"status": 406, "retry_after": 7}, {"persona": "wns"})
    push.faults.add({"status": 410}, {"token": another.subscription_id})
    push.faults.add({"status": 429}, {"host": "localhost"})

    throttled = await sender.push(browsers["wns"])
    assert (throttled.status, throttled.headers["retry-after"]) == (406, "7")
    assert throttled.headers["x-wns-notificationstatus"] == "channelthrottled"
    gone = await sender.push(another)
    assert (gone.status, json.loads(gone.body)["errno"]) == (410, 106)
    assert (await sender.push(browsers["mozilla"])).status == 201
    authorization = push.key.authorization("https://localhost/x")
    assert (await sender.push(browsers["apple"], host="localhost", authorization=authorization)).status == 429
    assert [browser.messages for browser in (browsers["wns"], another, browsers["apple"])] == [[], [], []]


async def test_a_redirect_to_where_nobody_should_go(push: WebPushSimulator, sender: Sender) -> None:
    browser = push.subscriptions.subscribe("fcm", push.key.public_key)
    inside = "http://169.254.169.254/latest/meta-data/"
    push.faults.add({"status": 302, "headers": {"Location": inside}}, {"persona": "fcm"})

    reply = await sender.push(browser)

    assert (reply.status, reply.headers["location"]) == (302, inside)
    assert browser.messages == []


async def test_taken_but_not_told(push: WebPushSimulator, sender: Sender) -> None:
    browser = push.subscriptions.subscribe("mozilla", push.key.public_key)
    push.faults.add({"connection": "reset"}, times=1)
    headers = headers_for(browser.endpoint, push.key, {})
    async with await Http1Client.connect(push.url, push.ca_file) as client:
        client.send("POST", browser.endpoint.removeprefix(push.url), headers, encrypted(browser))
        assert await client.ended() == "reset"

    (entry,) = push.journal.entries
    assert (entry.accepted, entry.status, entry.reason) == (True, None, "CONNECTION_RESET")
    assert len(browser.messages) == 1


async def test_a_fault_may_answer_201_or_withhold_the_message(push: WebPushSimulator, sender: Sender) -> None:
    browser = push.subscriptions.subscribe("apple", push.key.public_key)
    push.faults.add({"accepted": False}, times=1)
    push.faults.add({"status": 201}, times=1)
    push.faults.add({"status": 503, "reason": "Shutdown", "accepted": True}, times=1)

    lost, normal, hidden = [await sender.push(browser) for _ in range(3)]

    assert [reply.status for reply in (lost, normal, hidden)] == [201, 201, 503]
    assert (await sender.call("DELETE", lost.headers["location"])).status == 404
    assert normal.headers["ttl"] == "60"
    assert json.loads(hidden.body) == {"reason": "Shutdown"}
    assert len(browser.messages) == 2


async def test_many_at_once(push: WebPushSimulator) -> None:
    browsers = [push.subscriptions.subscribe("fcm", push.key.public_key) for _ in range(5)]

    async def push_all() -> None:
        async with await Http1Client.connect(push.url, push.ca_file) as client:
            for browser in browsers:
                assert (await Sender(push, client).push(browser)).status == 201

    await asyncio.gather(*(push_all() for _ in range(5)))

    assert [len(browser.messages) for browser in browsers] == [5] * 5
    assert push.journal.accepted == len({entry.message_id for entry in push.journal.entries}) == 25


async def test_a_simulation_has_it_with_its_credential() -> None:
    async with Simulation(SimulationOptions()) as simulation:
        told = simulation.description
        assert told["web_push_url"] == simulation.web_push.url
        request = ParseDict({"appId": "shop", **told["credentials"]["web_push"]}, SetCredentialRequest())
        assert request.web_push.vapid_private_key == simulation.web_push.key.pem
        assert request.web_push.subject == "mailto:push@example.com"
        assert simulation.web_push.journal is simulation.journal
        assert simulation.web_push.faults is simulation.faults
