"""What a notification becomes on FCM, for an Android phone, an Apple device and a browser."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.domain import DAY, HOUR, SECOND
from bellhop_server.domain.application import FcmCredential
from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.domain.notification import (
    ApnsOverride,
    ApnsPushType,
    FcmOverride,
    Notification,
    Priority,
    WebPushOverride,
)
from bellhop_server.providers.fcm.payload import LARGEST, Rendered, render

NOW = 1_800_000_000 * SECOND
EXPIRES = NOW + HOUR
CHUNK = Chunk(
    app_id="shop",
    credential_id="fcm",
    credential_version=1,
    credential=FcmCredential("bellhop-shop", "robot@example.com", "key", "pem"),
    notification=Notification(title="Hello"),
    priority=Priority.NORMAL,
    now_or_never=False,
    deliveries=[],
    deadline=0.0,
)
FULL = Notification(
    title="Parcel",
    subtitle="Today",
    body="It is at the door.",
    image_url="https://shop.example/parcel.jpg",
    link="https://shop.example/parcel/7",
    sound="bell",
    badge=3,
    category="PARCEL",
    collapse_key="parcel-7",
    data={"parcel": "7"},
    thread_id="parcels",
)


def rendered(notification: Notification, **changes: Any) -> Rendered:
    result = render(replace(CHUNK, notification=notification, **changes))
    assert isinstance(result, Rendered), result
    return result


def body(result: Rendered, supplement: str = "", expire_time: int = EXPIRES, now: int = NOW) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(result.body(b'"token-1"', supplement, expire_time, now))
    assert decoded.keys() == {"message"}
    message: dict[str, Any] = decoded["message"]
    return message


def message(notification: Notification, **changes: Any) -> dict[str, Any]:
    return body(rendered(notification, **changes))


def refusal(notification: Notification) -> tuple[Verdict, str]:
    result = render(replace(CHUNK, notification=notification))
    assert isinstance(result, Answer), result
    return result.verdict, result.reason


def only_fcm(**changes: Any) -> Notification:
    return Notification(title="Hello", fcm=FcmOverride(**changes))


def test_every_neutral_field() -> None:
    assert message(FULL) == {
        "data": {
            "parcel": "7",
            "bellhop_link": "https://shop.example/parcel/7",
            "bellhop_category": "PARCEL",
        },
        "notification": {
            "title": "Parcel",
            "body": "It is at the door.",
            "image": "https://shop.example/parcel.jpg",
        },
        "android": {
            "priority": "HIGH",
            "ttl": "3600s",
            "collapse_key": "parcel-7",
            "notification": {"sound": "bell", "tag": "parcel-7", "notification_count": 3},
        },
        "apns": {
            "headers": {
                "apns-push-type": "alert",
                "apns-priority": "10",
                "apns-expiration": "1800003600",
                "apns-collapse-id": "parcel-7",
            },
            "payload": {
                "aps": {
                    "alert": {"title": "Parcel", "subtitle": "Today", "body": "It is at the door."},
                    "sound": "bell",
                    "badge": 3,
                    "category": "PARCEL",
                    "thread-id": "parcels",
                    "mutable-content": 1,
                }
            },
        },
        "webpush": {
            "headers": {"Urgency": "normal", "TTL": "3600", "Topic": "334f1995b88d693de5c34348d9e22fa2"},
            "notification": {"tag": "parcel-7"},
            "fcm_options": {"link": "https://shop.example/parcel/7"},
        },
        "token": "token-1",
    }


def test_a_title_alone_is_said_once() -> None:
    assert message(Notification(title="Hello")) == {
        "notification": {"title": "Hello"},
        "android": {"priority": "HIGH", "ttl": "3600s"},
        "apns": {"headers": {"apns-push-type": "alert", "apns-priority": "10", "apns-expiration": "1800003600"}},
        "webpush": {"headers": {"Urgency": "normal", "TTL": "3600"}},
        "token": "token-1",
    }


def test_what_is_silent_is_data_alone() -> None:
    silent = message(Notification(silent=True, data={"sync": "1"}), priority=Priority.HIGH)

    assert silent == {
        "data": {"sync": "1"},
        "android": {"priority": "NORMAL", "ttl": "3600s"},
        "apns": {
            "headers": {"apns-push-type": "background", "apns-priority": "5", "apns-expiration": "1800003600"},
            "payload": {"aps": {"content-available": 1}},
        },
        "webpush": {"headers": {"Urgency": "high", "TTL": "3600"}},
        "token": "token-1",
    }


def test_a_data_message_has_in_its_data_what_the_app_is_to_show() -> None:
    shown_by_app = message(replace(FULL, badge=0, fcm=FcmOverride(data_only=True, title="Your parcel")))

    assert "notification" not in shown_by_app
    assert shown_by_app["data"] == {
        "parcel": "7",
        "bellhop_title": "Your parcel",
        "bellhop_body": "It is at the door.",
        "bellhop_image_url": "https://shop.example/parcel.jpg",
        "bellhop_link": "https://shop.example/parcel/7",
        "bellhop_sound": "bell",
        "bellhop_badge": "0",
        "bellhop_category": "PARCEL",
        "bellhop_thread_id": "parcels",
    }
    assert shown_by_app["android"] == {"priority": "NORMAL", "ttl": "3600s", "collapse_key": "parcel-7"}
    assert shown_by_app["apns"]["payload"] == {"aps": {"content-available": 1}}
    assert shown_by_app["apns"]["headers"]["apns-push-type"] == "background"
    assert shown_by_app["webpush"].keys() == {"headers"}


@pytest.mark.parametrize(
    ("priority", "android", "apns", "urgency"),
    [
        (Priority.LOW, ("NORMAL", "NORMAL", "NORMAL"), "5", "low"),
        (Priority.NORMAL, ("HIGH", "NORMAL", "NORMAL"), "10", "normal"),
        (Priority.HIGH, ("HIGH", "HIGH", "NORMAL"), "10", "high"),
    ],
)
def test_priorities(priority: Priority, android: tuple[str, str, str], apns: str, urgency: str) -> None:
    shown = message(Notification(title="Hello"), priority=priority)
    by_app = message(only_fcm(data_only=True), priority=priority)
    silent = message(Notification(silent=True), priority=priority)

    assert tuple(each["android"]["priority"] for each in (shown, by_app, silent)) == android
    assert [each["apns"]["headers"]["apns-priority"] for each in (shown, by_app, silent)] == [apns, "5", "5"]
    assert {each["webpush"]["headers"]["Urgency"] for each in (shown, by_app, silent)} == {urgency}


def test_what_is_said_for_fcm_alone_wins() -> None:
    mine = FcmOverride(
        title="",
        body="Ours",
        data={"only": "this"},
        channel_id="parcels",
        icon="parcel",
        color="#336699",
        collapse_key="",
        priority=Priority.LOW,
    )
    told = message(replace(FULL, fcm=mine))

    assert told["notification"] == {"body": "Ours", "image": FULL.image_url}
    assert told["data"] == {"only": "this", "bellhop_link": FULL.link, "bellhop_category": "PARCEL"}
    assert told["android"] == {
        "priority": "NORMAL",
        "ttl": "3600s",
        "notification": {
            "sound": "bell",
            "channel_id": "parcels",
            "icon": "parcel",
            "color": "#336699",
            "notification_count": 3,
        },
    }
    assert "apns-collapse-id" not in told["apns"]["headers"]
    assert told["apns"]["payload"]["aps"]["alert"] == {"subtitle": "Today", "body": "Ours"}
    assert "notification" not in told["webpush"]


def test_the_android_block_is_merged_last_and_block_by_block() -> None:
    android = {
        "priority": "NORMAL",
        "restricted_package_name": "com.example",
        "notification": {"ticker": "Parcel", "tag": "mine"},
    }
    told = message(replace(FULL, fcm=FcmOverride(channel_id="parcels", android=android)))

    assert told["android"] == {
        "priority": "NORMAL",
        "ttl": "3600s",
        "collapse_key": "parcel-7",
        "restricted_package_name": "com.example",
        "notification": {
            "sound": "bell",
            "channel_id": "parcels",
            "tag": "mine",
            "notification_count": 3,
            "ticker": "Parcel",
        },
    }


def test_a_ttl_of_the_sender_s_own_stays() -> None:
    result = rendered(only_fcm(android={"ttl": "7s"}))

    for expire_time in (EXPIRES, EXPIRES + HOUR):
        told = body(result, expire_time=expire_time)
        assert told["android"]["ttl"] == "7s"
    assert told["webpush"]["headers"]["TTL"] == "7200"


def test_what_apple_alone_knows_comes_through_but_not_its_texts() -> None:
    apns = ApnsOverride(
        title="For Apple",
        body="For Apple",
        loc_key="PARCEL",
        mutable_content=True,
        content_available=True,
        push_type=ApnsPushType.ALERT,
        payload={"extra": {"a": [1]}},
        aps={"interruption-level": "time-sensitive"},
        ttl=1,
        collapse_key="for-apple",
        priority=Priority.LOW,
    )
    told = message(replace(FULL, apns=apns))["apns"]

    assert told["headers"]["apns-collapse-id"] == "parcel-7"
    assert told["headers"]["apns-priority"] == "10"
    assert told["headers"]["apns-expiration"] == "1800003600"
    assert told["payload"]["extra"] == {"a": [1]}
    aps = told["payload"]["aps"]
    assert (aps["alert"]["title"], aps["alert"]["loc-key"]) == ("Parcel", "PARCEL")
    assert (aps["mutable-content"], aps["content-available"]) == (1, 1)
    assert aps["interruption-level"] == "time-sensitive"


def test_options_of_a_browser_come_through() -> None:
    told = message(replace(FULL, web_push=WebPushOverride(title="no", options={"requireInteraction": True})))
    assert told["webpush"]["notification"] == {"tag": "parcel-7", "requireInteraction": True}


@pytest.mark.parametrize("link", ["shop:parcel/7", "http://shop.example/"])
def test_only_a_secure_link_opens_in_a_browser(link: str) -> None:
    told = message(Notification(title="Hello", link=link))
    assert "fcm_options" not in told["webpush"]
    assert told["data"] == {"bellhop_link": link}


@pytest.mark.parametrize(
    ("left", "ttl"),
    [(HOUR, 3600), (999_999, 1), (-HOUR, 0), (1_999_999, 2), (28 * DAY, 2_419_200), (90 * DAY, 2_419_200)],
)
def test_the_time_that_is_left(left: int, ttl: int) -> None:
    told = body(rendered(Notification(title="Hello")), expire_time=NOW + left)

    assert told["android"]["ttl"] == f"{ttl}s"
    assert told["webpush"]["headers"]["TTL"] == str(ttl)
    assert told["apns"]["headers"]["apns-expiration"] == (str((NOW + left) // SECOND) if ttl else "0")


def test_now_or_never() -> None:
    told = message(Notification(title="Hello"), now_or_never=True)

    assert told["android"]["ttl"] == "0s"
    assert told["webpush"]["headers"]["TTL"] == "0"
    assert told["apns"]["headers"]["apns-expiration"] == "0"


def test_the_time_is_each_device_s_own() -> None:
    result = rendered(Notification(title="Hello"))

    ttls = [body(result, expire_time=EXPIRES + n * SECOND, now=NOW + m)["android"]["ttl"] for n, m in [(0, 0), (5, 0)]]
    assert ttls == ["3600s", "3605s"]
    assert body(result, now=NOW + 60 * SECOND)["android"]["ttl"] == "3540s"


def test_tokens_and_installations() -> None:
    result = rendered(Notification(title="Hello"))

    assert body(result)["token"] == "token-1"
    installation = body(result, "fid")
    assert installation["fid"] == "token-1"
    assert "token" not in installation


@pytest.mark.parametrize("key", ["from", "message_type", "google", "google.sent", "googler", "gcm", "gcm.x", "gcm\n"])
def test_keys_that_google_keeps_for_itself(key: str) -> None:
    assert refusal(Notification(title="Hello", data={key: "x"})) == (Verdict.PAYLOAD_INVALID, "ReservedDataKey")
    assert refusal(only_fcm(data={key: "x"})) == (Verdict.PAYLOAD_INVALID, "ReservedDataKey")


@pytest.mark.parametrize("key", ["From", "fromage", "a.google", "bellhop_nonce"])
def test_keys_that_are_free(key: str) -> None:
    assert message(Notification(silent=True, data={key: "x"}))["data"] == {key: "x"}


def test_the_largest_that_google_takes() -> None:
    room = LARGEST - len("title" + "Hello" + "key")
    fits = Notification(title="Hello", data={"key": "ü" * (room // 2) + "x" * (room % 2)})

    assert rendered(fits).size == LARGEST
    one_more = replace(fits, data={"key": fits.data["key"] + "x"})
    assert refusal(one_more) == (Verdict.PAYLOAD_TOO_LARGE, "PayloadTooLarge")


def deep() -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for _ in range(100_000):
        nested = {"a": nested}
    return nested


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\ud800", deep()], ids=["nan", "inf", "surrogate", "deep"]
)
def test_what_json_cannot_say(value: object) -> None:
    assert refusal(only_fcm(android={"x": value})) == (Verdict.PAYLOAD_INVALID, "NotJson")


def test_a_topic_is_what_every_push_service_takes() -> None:
    for key in ("plain7", "parcel-7", "x" * 33, "späti", " "):
        topic = message(Notification(title="Hello", collapse_key=key))["webpush"]["headers"]["Topic"]
        assert re.fullmatch("[A-Za-z0-9]{1,32}", topic)
        assert (topic == key) == (key == "plain7")


@given(
    st.builds(
        Notification,
        title=st.text(max_size=20),
        body=st.text(max_size=20),
        link=st.sampled_from(["", "https://x.example/", "app:x"]),
        badge=st.none() | st.integers(0, 99),
        silent=st.booleans(),
        collapse_key=st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        data=st.dictionaries(st.sampled_from(["a", 'b"', "ü"]), st.text(max_size=20)),
        fcm=st.none() | st.builds(FcmOverride, data_only=st.booleans()),
    ),
    st.lists(st.tuples(st.integers(-(10**9), 10**14), st.sampled_from(["", "fid"])), min_size=1, max_size=4),
    st.booleans(),
)
def test_bodies_are_json_of_the_promised_size(
    notification: Notification, devices: list[tuple[int, str]], now_or_never: bool
) -> None:
    result = rendered(notification, now_or_never=now_or_never)

    for left, supplement in devices:
        raw = result.body(b'"token-1"', supplement, NOW + left, NOW)
        assert json.loads(raw)["message"]["fid" if supplement else "token"] == "token-1"
        assert len(raw) <= result.frame + len(b'"token-1"')
