"""What a service worker gets, and the headers that go with it."""

import hashlib
import json
from typing import Any

import pytest

from bellhop_server.domain import DAY, SECOND
from bellhop_server.domain.application import VapidKey, WebPushCredential
from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.domain.notification import Notification, Priority, WebPushOverride
from bellhop_server.providers.webpush.encryption import LARGEST_PLAINTEXT
from bellhop_server.providers.webpush.payload import Rendered, render

NOW = 1_800_000_000 * SECOND
CREDENTIAL = WebPushCredential((VapidKey("public", "private"),), "mailto:push@example.com")
MOZILLA = "updates.push.services.mozilla.com"


def chunk(notification: Notification, priority: Priority = Priority.NORMAL, *, now_or_never: bool = False) -> Chunk:
    return Chunk("app", "web-push", 1, CREDENTIAL, notification, priority, now_or_never, [], 0.0)


def rendered(
    notification: Notification, priority: Priority = Priority.NORMAL, *, now_or_never: bool = False
) -> Rendered:
    result = render(chunk(notification, priority, now_or_never=now_or_never))
    assert isinstance(result, Rendered)
    return result


def body(**fields: Any) -> dict[str, Any]:
    decoded = json.loads(rendered(Notification(**fields)).plaintext)
    assert isinstance(decoded, dict)
    return decoded


def headers(notification: Notification, priority: Priority = Priority.NORMAL) -> dict[bytes, bytes]:
    fields = rendered(notification, priority).fields
    assert len(dict(fields)) == len(fields)
    return dict(fields)


def test_everything_that_a_browser_can_show() -> None:
    assert body(
        title="Tea",
        subtitle="is for others",
        body="ready",
        image_url="https://example.com/tea.png",
        link="https://example.com/tea",
        sound="default",
        badge=3,
        category="brew",
        collapse_key="tea/1",
        thread_id="kitchen",
        data={"cups": "2", "link": "mine"},
    ) == {
        "bellhop": 1,
        "title": "Tea",
        "options": {
            "body": "ready",
            "image": "https://example.com/tea.png",
            "tag": "tea/1",
            "data": {"cups": "2", "link": "mine", "bellhop": {"link": "https://example.com/tea"}},
        },
        "category": "brew",
        "badge": 3,
    }


def test_what_is_not_said_is_left_out() -> None:
    assert body(title="Tea") == {"bellhop": 1, "title": "Tea"}
    assert body(badge=0) == {"bellhop": 1, "badge": 0}
    assert body(silent=True, data={"a": "b"}) == {"bellhop": 1, "options": {"data": {"a": "b"}}, "silent": True}


def test_what_is_said_for_web_push_alone_wins() -> None:
    override = WebPushOverride(
        title="Chai", body="", options={"tag": "mine", "icon": "/i.png", "vibrate": [100, 50]}, collapse_key="other"
    )

    assert body(title="Tea", body="ready", collapse_key="tea", data={"a": "b"}, web_push=override) == {
        "bellhop": 1,
        "title": "Chai",
        "options": {"tag": "mine", "icon": "/i.png", "vibrate": [100, 50], "data": {"a": "b"}},
    }
    assert headers(Notification(collapse_key="tea", web_push=override))[b"topic"] == b"other"
    assert b"topic" not in headers(Notification(collapse_key="tea", web_push=WebPushOverride(collapse_key="")))


def test_options_are_merged_key_by_key_and_not_deeper() -> None:
    override = WebPushOverride(options={"data": {"only": "this"}, "body": None})

    assert body(body="ready", data={"a": "b"}, web_push=override)["options"] == {"data": {"only": "this"}, "body": None}


def test_a_raw_payload_is_the_whole_body() -> None:
    result = rendered(Notification(title="Tea", web_push=WebPushOverride(raw_payload="not { json ü")))

    assert result.plaintext == "not { json ü".encode()


def test_texts_are_utf8_and_take_no_more_bytes_than_they_need() -> None:
    assert rendered(Notification(title="„Tee“ 🍵")).plaintext == '{"bellhop":1,"title":"„Tee“ 🍵"}'.encode()


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_up_to_3993_bytes(letter: str) -> None:
    size = len(letter.encode())
    most = WebPushOverride(raw_payload=letter * (LARGEST_PLAINTEXT // size))
    more = WebPushOverride(raw_payload=letter * (LARGEST_PLAINTEXT // size + 1))

    assert rendered(Notification(web_push=most)).plaintext
    refused = Answer(Verdict.PAYLOAD_TOO_LARGE, reason="PayloadTooLarge")
    assert render(chunk(Notification(web_push=more))) == refused
    assert render(chunk(Notification(body=letter * LARGEST_PLAINTEXT))) == refused


def test_what_json_cannot_say() -> None:
    nested: dict[str, Any] = {}
    for _ in range(100_000):
        nested = {"x": nested}

    for options in ({"x": float("nan")}, {"x": float("inf")}, nested):
        answer = render(chunk(Notification(title="x", web_push=WebPushOverride(options=options))))
        assert answer == Answer(Verdict.PAYLOAD_INVALID, reason="NotJson")


@pytest.mark.parametrize(
    ("priority", "urgency"), [(Priority.LOW, b"low"), (Priority.NORMAL, b"normal"), (Priority.HIGH, b"high")]
)
def test_urgency(priority: Priority, urgency: bytes) -> None:
    assert headers(Notification(), priority)[b"urgency"] == urgency
    assert headers(Notification(web_push=WebPushOverride(priority=priority)))[b"urgency"] == urgency


def test_headers_of_an_encrypted_body() -> None:
    assert headers(Notification(title="x")) == {
        b"content-encoding": b"aes128gcm",
        b"content-type": b"application/octet-stream",
        b"urgency": b"normal",
    }


@pytest.mark.parametrize("key", ["a", "Tea1", "x" * 32])
def test_a_short_key_is_the_topic(key: str) -> None:
    assert headers(Notification(collapse_key=key))[b"topic"] == key.encode()


@pytest.mark.parametrize("key", ["x" * 33, "a_b", "a-b", "a b", "Tee ü", "a\r\nb", "٣", "a=", "chat/17"])
def test_any_other_key_becomes_one_that_all_take(key: str) -> None:
    topic = headers(Notification(collapse_key=key))[b"topic"]

    assert topic == hashlib.sha256(key.encode()).hexdigest()[:32].encode()
    assert len(topic) == 32
    assert body(collapse_key=key)["options"]["tag"] == key


@pytest.mark.parametrize(
    ("left", "ttl"),
    [(DAY, 86400), (SECOND, 1), (1, 1), (0, 1), (-DAY, 1), (28 * DAY, 2419200), (90 * DAY, 2419200), (2_500_000, 3)],
)
def test_ttl_is_the_seconds_that_are_left(left: int, ttl: int) -> None:
    assert rendered(Notification()).lasting(NOW + left, NOW, MOZILLA) == ((b"ttl", b"%d" % ttl),)


def test_now_or_never_is_ttl_0() -> None:
    assert rendered(Notification(), now_or_never=True).lasting(NOW + DAY, NOW, MOZILLA) == ((b"ttl", b"0"),)


@pytest.mark.parametrize("host", ["db5p.notify.windows.com", "127.0.0.1", "ntfy.sh", "mozilla.com.example.org"])
def test_microsoft_is_told_whether_to_cache(host: str) -> None:
    kept, now = rendered(Notification()), rendered(Notification(), now_or_never=True)

    assert dict(kept.lasting(NOW + DAY, NOW, host)) == {b"ttl": b"86400", b"x-wns-cache-policy": b"cache"}
    assert dict(now.lasting(NOW + DAY, NOW, host)) == {b"ttl": b"0", b"x-wns-cache-policy": b"no-cache"}


@pytest.mark.parametrize("host", [MOZILLA, "fcm.googleapis.com", "web.push.apple.com"])
def test_others_are_not(host: str) -> None:
    assert [name for name, _ in rendered(Notification()).lasting(NOW + DAY, NOW, host)] == [b"ttl"]
