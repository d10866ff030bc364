"""What a notification becomes on APNs: body and headers."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from bellhop_server.domain import SECOND
from bellhop_server.domain.application import ApnsCredential
from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.domain.notification import ApnsOverride, ApnsPushType, Notification, Priority
from bellhop_server.providers.apns.payload import Rendered, expiration, render

EXPIRES = 1_800_000_000
EXPIRE_TIME = EXPIRES * SECOND + 999_999
CHUNK = Chunk(
    app_id="shop",
    credential_id="apns",
    credential_version=1,
    credential=ApnsCredential("KEY1234567", "TEAM123456", "pem", ("com.example.shop",)),
    notification=Notification(title="Hello"),
    priority=Priority.NORMAL,
    now_or_never=False,
    deliveries=[],
    deadline=0.0,
)


def rendered(notification: Notification, **changes: Any) -> Rendered:
    result = render(replace(CHUNK, notification=notification, **changes))
    assert isinstance(result, Rendered), result
    return result


def payload(notification: Notification) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(rendered(notification).body)
    return decoded


def headers(notification: Notification, **changes: Any) -> dict[str, str]:
    result = rendered(notification, **changes)
    fields = [*result.fields, *([expiration(EXPIRE_TIME)] if result.kept else [])]
    assert len(dict(fields)) == len(fields)
    return {name.decode(): value.decode() for name, value in fields}


def refusal(notification: Notification) -> tuple[Verdict, str]:
    result = render(replace(CHUNK, notification=notification))
    assert isinstance(result, Answer), result
    return result.verdict, result.reason


def override(**changes: Any) -> Notification:
    return Notification(title="Hello", apns=ApnsOverride(**changes))


def test_every_neutral_field() -> None:
    notification = Notification(
        title="Order 7",
        subtitle="Shop",
        body="On its way",
        image_url="https://shop.example/7.png",
        link="shop://orders/7",
        sound="bell.caf",
        badge=3,
        category="ORDER",
        collapse_key="order-7",
        data={"order": "7", "when": "now"},
        thread_id="orders",
    )

    assert payload(notification) == {
        "aps": {
            "alert": {"title": "Order 7", "subtitle": "Shop", "body": "On its way"},
            "sound": "bell.caf",
            "badge": 3,
            "category": "ORDER",
            "thread-id": "orders",
        },
        "order": "7",
        "when": "now",
        "bellhop": {"image_url": "https://shop.example/7.png", "link": "shop://orders/7"},
    }
    assert headers(notification) == {
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": str(EXPIRES),
        "apns-collapse-id": "order-7",
    }


def test_what_is_empty_is_left_out() -> None:
    assert payload(Notification(title="Hello")) == {"aps": {"alert": {"title": "Hello"}}}
    assert "apns-collapse-id" not in headers(Notification(title="Hello"))


def test_a_badge_of_0_clears_and_none_leaves() -> None:
    assert payload(Notification(badge=0)) == {"aps": {"badge": 0}}
    assert "badge" not in payload(Notification(body="x"))["aps"]


def test_every_field_of_the_override() -> None:
    apns = ApnsOverride(
        title="Hallo",
        body="",
        title_loc_key="TITLE",
        title_loc_args=("Anna", "7"),
        loc_key="BODY",
        loc_args=("x",),
        launch_image="launch.png",
        mutable_content=True,
        content_available=True,
        payload={"order": 8, "deep": {"list": [1, None, 2.5, True]}},
        aps={"interruption-level": "time-sensitive", "relevance-score": 0.5},
    )
    notification = Notification(title="Hello", body="neutral", data={"order": "7", "kept": "yes"}, apns=apns)

    assert payload(notification) == {
        "aps": {
            "alert": {
                "title": "Hallo",
                "title-loc-key": "TITLE",
                "title-loc-args": ["Anna", "7"],
                "loc-key": "BODY",
                "loc-args": ["x"],
                "launch-image": "launch.png",
            },
            "content-available": 1,
            "mutable-content": 1,
            "interruption-level": "time-sensitive",
            "relevance-score": 0.5,
        },
        "order": 8,
        "kept": "yes",
        "deep": {"list": [1, None, 2.5, True]},
    }


def test_aps_of_the_override_wins_key_by_key_and_no_deeper() -> None:
    notification = replace(
        override(aps={"alert": {"body": "whole"}, "sound": {"critical": 1, "name": "default", "volume": 0.8}}),
        sound="bell.caf",
        badge=1,
    )

    assert payload(notification)["aps"] == {
        "alert": {"body": "whole"},
        "sound": {"critical": 1, "name": "default", "volume": 0.8},
        "badge": 1,
    }


def test_a_live_activity() -> None:
    state = {"timestamp": 1_800_000_000, "event": "update", "content-state": {"eta": 5}, "stale-date": 1_800_000_600}
    notification = Notification(apns=ApnsOverride(push_type=ApnsPushType.LIVE_ACTIVITY, aps=state))

    assert payload(notification) == {"aps": state}
    assert b'"timestamp":1800000000,' in rendered(notification).body


def test_silent_wakes_and_shows_nothing() -> None:
    notification = Notification(silent=True, data={"sync": "1"})

    assert payload(notification) == {"aps": {"content-available": 1}, "sync": "1"}
    assert headers(notification, priority=Priority.HIGH)["apns-push-type"] == "background"
    assert headers(notification, priority=Priority.HIGH)["apns-priority"] == "5"


@pytest.mark.parametrize(
    ("push_type", "name", "topic"),
    [
        (ApnsPushType.ALERT, "alert", "com.example.shop"),
        (ApnsPushType.BACKGROUND, "background", "com.example.shop"),
        (ApnsPushType.VOIP, "voip", "com.example.shop.voip"),
        (ApnsPushType.COMPLICATION, "complication", "com.example.shop.complication"),
        (ApnsPushType.FILE_PROVIDER, "fileprovider", "com.example.shop.pushkit.fileprovider"),
        (ApnsPushType.MDM, "mdm", "com.example.shop"),
        (ApnsPushType.LIVE_ACTIVITY, "liveactivity", "com.example.shop.push-type.liveactivity"),
        (ApnsPushType.LOCATION, "location", "com.example.shop.location-query"),
        (ApnsPushType.PUSH_TO_TALK, "pushtotalk", "com.example.shop.voip-ptt"),
        (ApnsPushType.WIDGETS, "widgets", "com.example.shop.push-type.widgets"),
        (ApnsPushType.CONTROLS, "controls", "com.example.shop.push-type.controls"),
    ],
)
def test_push_types_and_their_topics(push_type: ApnsPushType, name: str, topic: str) -> None:
    result = rendered(override(push_type=push_type))

    assert dict(result.fields)[b"apns-push-type"].decode() == name
    assert result.topic("com.example.shop") == topic
    assert result.topic(topic) == topic


def test_every_push_type_is_known() -> None:
    for push_type in ApnsPushType:
        assert rendered(override(push_type=push_type)).body


@pytest.mark.parametrize(
    ("priority", "own", "sent"),
    [
        (Priority.LOW, None, "5"),
        (Priority.NORMAL, None, "10"),
        (Priority.HIGH, None, "10"),
        (Priority.HIGH, Priority.LOW, "5"),
        (Priority.LOW, Priority.HIGH, "10"),
    ],
)
def test_priorities(priority: Priority, own: Priority | None, sent: str) -> None:
    assert headers(override(priority=own), priority=priority)["apns-priority"] == sent


def test_talk_is_now_or_never() -> None:
    talk = headers(override(push_type=ApnsPushType.PUSH_TO_TALK), priority=Priority.LOW)

    assert (talk["apns-priority"], talk["apns-expiration"]) == ("10", "0")


@pytest.mark.promise("P4")
def test_now_or_never_is_0_and_nothing_else_is() -> None:
    assert headers(override(), now_or_never=True)["apns-expiration"] == "0"
    assert expiration(0) == (b"apns-expiration", b"1")


@pytest.mark.parametrize(
    ("neutral", "own", "sent"),
    [
        ("a", None, "a"),
        ("a", "b", "b"),
        ("a", "", None),
        ("ы" * 32, None, "ы" * 32),
        (" a", None, sha256(b" a").hexdigest()),
        ("a ", None, sha256(b"a ").hexdigest()),
    ],
)
def test_collapse_ids(neutral: str, own: str | None, sent: str | None) -> None:
    notification = Notification(title="Hello", collapse_key=neutral, apns=ApnsOverride(collapse_key=own))

    assert headers(notification).get("apns-collapse-id") == sent


def test_a_collapse_id_over_64_bytes_is_not_sent() -> None:
    assert refusal(Notification(title="Hello", collapse_key="ы" * 33)) == (Verdict.PAYLOAD_INVALID, "BadCollapseId")


@pytest.mark.parametrize(
    ("push_type", "most"), [(None, 4096), (ApnsPushType.LIVE_ACTIVITY, 4096), (ApnsPushType.VOIP, 5120)]
)
def test_sizes_are_bytes_of_utf_8_without_escapes(push_type: ApnsPushType | None, most: int) -> None:
    frame = len(rendered(Notification(body="я", apns=ApnsOverride(push_type=push_type))).body) - len("я".encode())
    letters = (most - frame) // 2
    body = "я" * letters + "x" * (most - frame - 2 * letters)

    fits = Notification(body=body, apns=ApnsOverride(push_type=push_type))
    assert len(rendered(fits).body) == most
    assert refusal(replace(fits, body=body + "x")) == (Verdict.PAYLOAD_TOO_LARGE, "PayloadTooLarge")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_is_no_json_is_not_sent(value: object) -> None:
    assert refusal(override(payload={"x": value})) == (Verdict.PAYLOAD_INVALID, "BadRequestPayload")


def test_what_is_nested_too_deep_is_not_sent() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"x": deep}
    assert refusal(override(payload=deep)) == (Verdict.PAYLOAD_INVALID, "BadRequestPayload")


def test_nothing_is_not_sent() -> None:
    assert refusal(Notification()) == (Verdict.PAYLOAD_INVALID, "PayloadEmpty")
    assert refusal(Notification(apns=ApnsOverride(collapse_key="x"))) == (Verdict.PAYLOAD_INVALID, "PayloadEmpty")
    assert refusal(Notification(apns=ApnsOverride(push_type=ApnsPushType.MDM))) == (
        Verdict.PAYLOAD_INVALID,
        "PayloadEmpty",
    )


def test_types_that_live_without_content() -> None:
    assert payload(Notification(apns=ApnsOverride(push_type=ApnsPushType.LOCATION))) == {"aps": {}}
    mdm = ApnsOverride(push_type=ApnsPushType.MDM, payload={"mdm": "magic"})
    assert payload(Notification(apns=mdm)) == {"mdm": "magic"}


def test_quotes_controls_and_emoji_travel() -> None:
    text = 'say "hi"\\ \n\0 👋🏽 \u2028'
    assert payload(Notification(body=text))["aps"]["alert"]["body"] == text


def test_a_background_push_leaves_out_what_other_networks_show() -> None:
    notification = Notification(
        title="Hello",
        body="There",
        sound="bell.caf",
        badge=3,
        data={"order": "7"},
        apns=ApnsOverride(push_type=ApnsPushType.BACKGROUND),
    )

    assert payload(notification) == {"aps": {"content-available": 1}, "order": "7"}
