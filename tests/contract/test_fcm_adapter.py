"""FCM with both engines: what becomes of a message, and what every answer of Google's comes to.

`Desk.send` compares every answer with the journal of the simulator.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bellhop_server.domain.application import FcmOffer
from bellhop_server.domain.delivery import Answer, ProviderRequest, Verdict
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.errors import InvalidRequest
from bellhop_server.domain.notification import FcmOverride, Notification
from tests.fcm_desk import Desk, fcm_desk, verdicts

ACCEPTED = Verdict.ACCEPTED


@pytest.fixture(params=["ngh2", "h2"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with fcm_desk(request.param) as desk:
        yield desk


@pytest.fixture
async def quick() -> AsyncIterator[Desk]:
    """One engine, for what has nothing to do with it."""
    async with fcm_desk() as desk:
        yield desk


async def test_nothing_goes_wrong(desk: Desk) -> None:
    chunk = desk.chunk(300)

    answers = await desk.send(chunk)

    assert verdicts(answers) == {ACCEPTED: 300}
    named = {entry.token: entry.message_id for entry in desk.fcm.journal.entries}
    for delivery, answer in zip(chunk.deliveries, answers, strict=True):
        assert answer.status == 200
        assert answer.provider_message_id == f"projects/example-project/messages/{named[delivery.address]}"
    assert desk.asked() == 1
    assert {entry.headers["content-type"] for entry in desk.fcm.journal.find(status=200)[1:]} == {"application/json"}


async def test_what_arrives(desk: Desk) -> None:
    full = Notification(
        title="Parcel",
        body="It is at the door.",
        image_url="https://shop.example/parcel.jpg",
        link="https://shop.example/parcel/7",
        sound="bell",
        badge=3,
        collapse_key="parcel-7",
        data={"parcel": "7"},
        fcm=FcmOverride(
            channel_id="parcels", icon="parcel", color="#336699", android={"notification": {"sticky": True}}
        ),
    )
    chunk = desk.chunk(notification=full)
    assert verdicts(await desk.send(chunk)) == {ACCEPTED: 1}

    (received,) = desk.fcm.devices.received(chunk.deliveries[0].address)
    assert received.message["notification"] == {
        "title": "Parcel",
        "body": "It is at the door.",
        "image": "https://shop.example/parcel.jpg",
    }
    assert received.message["android"]["notification"]["sticky"] is True
    assert received.message["data"]["bellhop_link"] == "https://shop.example/parcel/7"


async def test_installations_are_called_by_their_own_name(quick: Desk) -> None:
    chunk = quick.chunk(2, fid=True)
    assert verdicts(await quick.send(chunk)) == {ACCEPTED: 2}

    sent = [entry.body["message"] for entry in quick.fcm.journal.entries if entry.path != "/token"]
    assert sorted(each["fid"] for each in sent) == sorted(each.address for each in chunk.deliveries)
    assert not any("token" in each for each in sent)


async def test_a_silent_push_and_a_data_message(quick: Desk) -> None:
    silent = Notification(silent=True, data={"sync": "1"})
    by_app = Notification(title="Hello", fcm=FcmOverride(data_only=True))
    for notification in (silent, by_app):
        assert verdicts(await quick.send(quick.chunk(notification=notification))) == {ACCEPTED: 1}

    for entry in quick.fcm.journal.entries:
        if entry.path != "/token":
            assert "notification" not in entry.body["message"]


@pytest.mark.parametrize(
    ("then", "verdict", "reason", "stops"),
    [
        ({"status": 400, "reason": "INVALID_ARGUMENT"}, Verdict.PAYLOAD_INVALID, "INVALID_ARGUMENT", False),
        (
            {"status": 400, "reason": "INVALID_ARGUMENT", "field": "message.token"},
            Verdict.TOKEN_INVALID,
            "INVALID_ARGUMENT",
            False,
        ),
        (
            {"status": 400, "reason": "INVALID_ARGUMENT", "field": "message.android.ttl"},
            Verdict.PAYLOAD_INVALID,
            "INVALID_ARGUMENT: message.android.ttl",
            False,
        ),
        (
            {"status": 401, "reason": "THIRD_PARTY_AUTH_ERROR"},
            Verdict.CREDENTIALS_INVALID,
            "THIRD_PARTY_AUTH_ERROR",
            False,
        ),
        ({"status": 403, "reason": "SENDER_ID_MISMATCH"}, Verdict.TOKEN_MISMATCH, "SENDER_ID_MISMATCH", False),
        ({"status": 403, "reason": ""}, Verdict.CONFIG_ERROR, "PERMISSION_DENIED", True),
        ({"status": 404, "reason": "UNREGISTERED"}, Verdict.TOKEN_GONE_SINCE, "UNREGISTERED", False),
        ({"status": 404, "reason": ""}, Verdict.CONFIG_ERROR, "NOT_FOUND", True),
        ({"status": 404, "body": "<html>no</html>"}, Verdict.CONFIG_ERROR, "HTTP 404", True),
        ({"status": 429, "quota": "device"}, Verdict.THROTTLED_TARGET, "QUOTA_EXCEEDED", False),
        ({"status": 429, "quota": "project"}, Verdict.THROTTLED_SENDER, "QUOTA_EXCEEDED", True),
        ({"status": 500}, Verdict.PROVIDER_UNAVAILABLE, "INTERNAL", False),
        ({"status": 502}, Verdict.PROVIDER_UNAVAILABLE, "HTTP 502", False),
        ({"status": 503}, Verdict.PROVIDER_UNAVAILABLE, "UNAVAILABLE", False),
        ({"status": 504, "reason": ""}, Verdict.PROVIDER_UNAVAILABLE, "DEADLINE_EXCEEDED", False),
        ({"status": 500, "reason": "UNSPECIFIED_ERROR"}, Verdict.PROVIDER_UNAVAILABLE, "UNSPECIFIED_ERROR", False),
        ({"status": 200, "body": ""}, ACCEPTED, "", False),
        ({"status": 200, "body": "<html>"}, ACCEPTED, "", False),
        ({"no_answer": True}, Verdict.UNKNOWN, "AnswerTimeout", False),
        ({"reset_stream": "INTERNAL_ERROR"}, Verdict.UNKNOWN, "StreamReset", False),
    ],
)
@pytest.mark.parametrize("engine", ["ngh2", "h2"])
async def test_every_outcome(engine: str, then: dict[str, Any], verdict: Verdict, reason: str, stops: bool) -> None:
    async with fcm_desk(engine, limits={"answer": 0.3, "confirm": 0.05}) as desk:
        desk.fcm.faults.add(then, times=1)
        (answer,) = await desk.send(desk.chunk())

        assert (answer.verdict, answer.reason) == (verdict, reason)
        assert bool(desk.reasons()) == stops
        if not stops:
            assert verdicts(await desk.send(desk.chunk())) == {ACCEPTED: 1}


async def test_one_bad_token_holds_up_nobody(desk: Desk) -> None:
    chunk = desk.chunk(200)
    gone, other, bad, apple = (chunk.deliveries[number].address for number in (3, 50, 120, 199))
    desk.fcm.devices.unregister(gone)
    desk.fcm.devices.mismatch(other)
    desk.fcm.devices.invalid(bad)
    desk.fcm.devices.third_party_refuses(apple)

    answers = await desk.send(chunk)

    assert [answers[number].verdict for number in (3, 50, 120, 199)] == [
        Verdict.TOKEN_GONE_SINCE,
        Verdict.TOKEN_MISMATCH,
        Verdict.TOKEN_INVALID,
        Verdict.CREDENTIALS_INVALID,
    ]
    assert verdicts(answers)[ACCEPTED] == 196
    assert desk.asked() == 1, "a device's 401 is no fault of our token"
    assert desk.reasons() == []


async def test_what_is_too_large_is_not_sent(quick: Desk) -> None:
    large = Notification(title="x" * 5000)
    (answer,) = await quick.send(quick.chunk(notification=large))

    assert answer == Answer(Verdict.PAYLOAD_TOO_LARGE, reason="PayloadTooLarge")
    assert quick.sent() == quick.asked() == 0


async def test_what_only_google_finds_too_large(quick: Desk) -> None:
    """The simulator counts what Android adds."""
    notification = Notification(title="x" * 4000, fcm=FcmOverride(android={"notification": {"ticker": "y" * 500}}))
    (answer,) = await quick.send(quick.chunk(notification=notification))

    assert (answer.verdict, answer.status) == (Verdict.PAYLOAD_TOO_LARGE, 400)


async def test_a_message_that_the_schema_has_not(quick: Desk) -> None:
    notification = Notification(title="x", fcm=FcmOverride(android={"colour": "red"}))
    (answer,) = await quick.send(quick.chunk(notification=notification))

    assert (answer.verdict, answer.status) == (Verdict.PAYLOAD_INVALID, 400)


@pytest.mark.parametrize("wait", [{"retry_after": 120}, {"retry_after_date": 120}, {}], ids=["seconds", "date", "none"])
async def test_a_project_that_sent_too_much_waits(desk: Desk, wait: dict[str, Any]) -> None:
    desk.fcm.faults.add({"status": 429, **wait}, {"after": 50})
    pause = 120 if wait else 60

    answers = await desk.send(desk.chunk(1000))

    told = verdicts(answers)
    assert told[ACCEPTED] == 50
    assert told[Verdict.THROTTLED_SENDER] >= 1
    assert told[ACCEPTED] + told[Verdict.THROTTLED_SENDER] + told[Verdict.NOT_SENT] == 1000
    for answer in answers:
        if answer.verdict is not ACCEPTED:
            assert answer.reason == "QUOTA_EXCEEDED"
            assert answer.retry_after == pytest.approx(pause, abs=2)
    assert desk.reasons() == ["QUOTA_EXCEEDED"]

    desk.fcm.faults.clear()
    sent = desk.sent()
    for chunk in (desk.chunk(10), desk.chunk(10, app_id="other")):
        held = await desk.send(chunk)
        assert verdicts(held) == {Verdict.NOT_SENT: 10}
        assert all(answer.retry_after == pytest.approx(pause, abs=2) for answer in held)
    assert desk.sent() == sent, "nothing goes before, of no application"

    desk.clock.advance(pause + 2)
    assert verdicts(await desk.send(desk.chunk(10))) == {ACCEPTED: 10}
    assert desk.reasons() == []


async def test_one_device_that_got_too_much_is_spared_alone(desk: Desk) -> None:
    chunk = desk.chunk(20)
    desk.fcm.faults.add({"status": 429, "quota": "device", "retry_after": 90}, {"token": chunk.deliveries[7].address})

    answers = await desk.send(chunk)

    assert answers[7] == Answer(Verdict.THROTTLED_TARGET, 429, "QUOTA_EXCEEDED", retry_after=90)
    assert verdicts(answers)[ACCEPTED] == 19


async def test_what_concerns_the_project_stops_its_credential(desk: Desk) -> None:
    desk.fcm.faults.add({"status": 403, "reason": ""})
    answers = await desk.send(desk.chunk(500))

    assert verdicts(answers) == {Verdict.CONFIG_ERROR: 500}
    assert desk.sent() < 500
    assert desk.reasons() == ["PERMISSION_DENIED"]
    sent = desk.sent()
    assert verdicts(await desk.send(desk.chunk(5))) == {Verdict.CONFIG_ERROR: 5}
    assert desk.sent() == sent

    desk.fcm.faults.clear()
    desk.clock.advance(301)
    assert verdicts(await desk.send(desk.chunk(5))) == {ACCEPTED: 5}
    assert desk.reasons() == []


async def test_a_wrong_project_is_no_dead_device(quick: Desk) -> None:
    secret = quick.credential(project_id="no-such-project").secret
    answers = await quick.send(quick.chunk(3, credential=secret))

    assert verdicts(answers) == {Verdict.CONFIG_ERROR: 3}


async def test_an_outage_is_of_one_project(desk: Desk) -> None:
    other = desk.accepted(desk.fcm.accounts.add("other-project"))
    desk.fcm.faults.add({"status": 503}, {"project": "example-project"})

    answers = await desk.send(desk.chunk(500))
    told = verdicts(answers)
    assert told[Verdict.PROVIDER_UNAVAILABLE] >= 10
    assert told[Verdict.PROVIDER_UNAVAILABLE] + told[Verdict.NOT_SENT] == 500
    assert desk.reasons() == ["UNAVAILABLE"]

    elsewhere = desk.chunk(20, app_id="other", credential=other)
    assert verdicts(await desk.send(elsewhere)) == {ACCEPTED: 20}


async def test_a_project_is_sent_to_by_its_rate() -> None:
    async with fcm_desk(rate=100) as desk:
        first, second, late = await asyncio.gather(
            desk.send(desk.chunk(100)), desk.send(desk.chunk(20)), desk.send(desk.chunk(200, seconds=1.2))
        )

        assert verdicts(first) == {ACCEPTED: 100}
        assert verdicts(second) == {ACCEPTED: 20}
        assert {answer._replace(retry_after=None) for answer in late} == {
            Answer(Verdict.NOT_SENT, reason="RateLimited")
        }
        assert all(answer.retry_after and 0.5 < answer.retry_after < 1.3 for answer in late)


async def test_explained_as_it_is_sent(quick: Desk) -> None:
    chunk = quick.chunk(1, tokens=["eRk3nQ2dTuS:APA91bFv8sX"])
    (told,) = quick.provider.explain(chunk)
    await quick.send(chunk)

    assert isinstance(told, ProviderRequest)
    assert told.url == f"{quick.fcm.url}/v1/projects/example-project/messages:send"
    assert told.headers["authorization"] == "Bearer …"
    assert (told.body_size, told.body_limit) == (len("titleHello"), 4096)
    (entry,) = quick.fcm.journal.find(token="eRk3nQ2dTuS:APA91bFv8sX")
    explained = json.loads(told.body)["message"]
    assert explained.pop("token") == "eRk3nQ2d…"
    sent = entry.body["message"]
    del sent["token"]
    assert explained.keys() == sent.keys()
    assert explained["notification"] == sent["notification"]
    assert set(told.headers) <= set(entry.headers)


async def test_explained_as_it_would_be_answered(quick: Desk) -> None:
    chunk = quick.chunk(2, notification=Notification(title="Hello", data={"from": "x"}))
    assert quick.provider.explain(chunk) == [Answer(Verdict.PAYLOAD_INVALID, reason="ReservedDataKey")] * 2


async def test_nobody_but_google_knows_a_token(quick: Desk) -> None:
    assert await quick.provider.check_target(Target(Platform.FCM, "anything")) == []


async def test_a_key_file_with_another_token_endpoint_is_refused(quick: Desk) -> None:
    told = json.loads(quick.fcm.account.service_account_json)
    told["token_uri"] = "https://evil.example/token"
    with pytest.raises(InvalidRequest, match=r"fcm\.service_account_json"):
        quick.provider.accept(FcmOffer(json.dumps(told)), None)


async def test_a_provider_that_is_closed_sends_nothing(quick: Desk) -> None:
    await quick.provider.aclose()
    (answer,) = await quick.send(quick.chunk())
    assert answer == Answer(Verdict.NOT_SENT, reason="ShuttingDown")
