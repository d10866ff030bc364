"""What each persona of the simulated Web Push refuses, in its order and its words."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bellhop_simulators import Faults, Journal, VapidKey
from bellhop_simulators.clock import ManualClock
from bellhop_simulators.faults.actions import Then
from bellhop_simulators.http.request import Request
from bellhop_simulators.webpush.browser import BrowserSubscription
from bellhop_simulators.webpush.conversation import WebPushConversation
from bellhop_simulators.webpush.personas import PERSONAS, persona_of
from bellhop_simulators.webpush.push import Push, repeated_header
from bellhop_simulators.webpush.vapid import Vapid, VapidFault
from bellhop_simulators.webpush.world import WebPushWorld

KEY, OTHER = b"\4" + b"k" * 64, b"\4" + b"o" * 64
GOOD = Vapid(None, KEY, "mailto:push@example.com")
BODY = bytes(20) + bytes([65]) + OTHER + bytes(40)


def push(persona: str = "mozilla", *, state: Any = "subscribed", bound: bytes | None = KEY, **changes: Any) -> Push:
    """A good push with these changes; a header that is None is left out."""
    subscription = BrowserSubscription("ab12", persona, "", bound, ManualClock())
    subscription.state = state
    headers: dict[str, str | None] = {
        "authorization": "vapid",
        "ttl": "60",
        "content-encoding": "aes128gcm",
        **changes.pop("headers", {}),
    }
    path = changes.pop("path", PERSONAS[persona].path("ab12", bound=bound is not None))
    body = changes.pop("body", BODY)
    good = Push(
        message_id="A",
        method="POST",
        authority="push.example.net",
        path=path,
        headers={name: value for name, value in headers.items() if value is not None},
        repeated="",
        body=body,
        size=len(body),
        token=PERSONAS[persona].token(path),
        vapid=GOOD,
        subscription=subscription,
    )
    return replace(good, **changes)


def answer(persona: str, /, **changes: Any) -> tuple[int, str]:
    verdict = PERSONAS[persona].judge(push(persona, **changes))
    return verdict.status, verdict.reason


@pytest.mark.parametrize("persona", PERSONAS)
def test_a_good_push_is_taken(persona: str) -> None:
    assert answer(persona) == (201, "")
    assert answer(persona, subscription=None) == (201, "")
    assert answer(persona, bound=None) == (201, "")
    assert answer(persona, body=b"", headers={"content-encoding": None}) == (201, "")
    assert answer(persona, headers={"topic": "a" * 32, "urgency": "very-low"}) == (201, "")
    assert answer(persona, body=BODY + bytes(4096 - len(BODY))) == (201, "")
    assert PERSONAS[persona].judge(push(persona)).ttl == 60


WRONG: dict[str, dict[str, Any]] = {
    "method": {"method": "GET"},
    "expired": {"state": "expired"},
    "gone": {"state": "unsubscribed"},
    "no authorization": {"headers": {"authorization": None}, "vapid": Vapid(VapidFault.MISSING)},
    "no key": {"vapid": Vapid(VapidFault.NO_KEY)},
    "bad key": {"vapid": Vapid(VapidFault.BAD_KEY)},
    "signature": {"vapid": Vapid(VapidFault.SIGNATURE, KEY)},
    "audience": {"vapid": Vapid(VapidFault.AUDIENCE, KEY)},
    "expired token": {"vapid": Vapid(VapidFault.EXPIRED, KEY)},
    "no sub": {"vapid": Vapid(None, KEY)},
    "local sub": {"vapid": Vapid(None, KEY, "mailto:a@mac.local")},
    "other key": {"bound": OTHER},
    "ECDH key": {"body": bytes(20) + bytes([65]) + KEY + bytes(40)},
    "too large": {"size": 4097},
    "no TTL": {"headers": {"ttl": None}},
    "TTL no number": {"headers": {"ttl": "1.5"}},
    "negative TTL": {"headers": {"ttl": "-1"}},
    "no encoding": {"headers": {"content-encoding": None}},
    "old encoding": {"headers": {"content-encoding": "aesgcm"}},
    "old headers": {"headers": {"encryption": "salt=abc"}},
    "long topic": {"headers": {"topic": "a" * 33}},
    "empty topic": {"headers": {"topic": ""}},
    "urgency": {"headers": {"urgency": "urgent"}},
    "repeated": {"repeated": "urgency"},
}
ANSWERS: dict[str, tuple[tuple[int, str], tuple[int, str], tuple[int, str], int]] = {
    # persona:             mozilla                          fcm                                      apple         wns
    "method": ((405, "only POST"), (405, "only POST"), (405, "MethodNotAllowed"), 405),
    "expired": ((404, "102"), (404, "A valid push subscription"), (404, "BadPath"), 404),
    "gone": ((410, "106"), (410, "push subscription has unsubscribed"), (410, "Unregistered"), 410),
    "no authorization": ((401, "109"), (400, "UnauthorizedRegistration"), (403, "BadAuthorizationHeader"), 401),
    "no key": ((401, "109"), (403, "invalid JWT provided"), (403, "BadAuthorizationHeader"), 401),
    "bad key": ((401, "109"), (403, "invalid JWT provided"), (403, "BadVapidPublicKey"), 401),
    "signature": ((401, "109"), (403, "invalid JWT provided"), (403, "BadJwtToken"), 401),
    "audience": ((401, "109"), (403, "invalid JWT provided"), (403, "BadJwtToken"), 401),
    "expired token": ((401, "109"), (403, "invalid JWT provided"), (403, "BadJwtToken"), 401),
    "no sub": ((201, ""), (201, ""), (403, "BadJwtToken"), 201),
    "local sub": ((201, ""), (201, ""), (403, "BadJwtToken"), 201),
    "other key": ((401, "109"), (403, "the VAPID credentials"), (400, "VapidPkHashMismatch"), 403),
    "ECDH key": ((400, "the body is encrypted"), (400, "the body is encrypted"), (400, "BadWebPushRequest"), 400),
    "too large": ((413, "104"), (413, "the payload is too large"), (413, "PayloadTooLarge"), 413),
    "no TTL": ((400, "111"), (400, "InvalidTtlParameter"), (400, "BadTtl"), 400),
    "TTL no number": ((400, "111"), (400, "InvalidTtlParameter"), (400, "BadTtl"), 400),
    "negative TTL": ((400, "114"), (400, "InvalidTtlParameter"), (400, "BadTtl"), 400),
    "no encoding": ((400, "110"), (400, "Content-Encoding is missing"), (400, "BadWebPushRequest"), 400),
    "old encoding": ((400, "110"), (400, "Content-Encoding aesgcm"), (400, "BadWebPushRequest"), 400),
    "old headers": ((400, "110"), (400, "aes128gcm takes no salt"), (400, "BadWebPushRequest"), 400),
    "long topic": ((400, "113"), (400, "InvalidTopicParameter"), (400, "BadWebPushTopic"), 400),
    "empty topic": ((400, "113"), (400, "InvalidTopicParameter"), (400, "BadWebPushTopic"), 400),
    "urgency": ((400, "Urgency urgent"), (400, "InvalidUrgencyParameter"), (400, "BadUrgency"), 400),
    "repeated": ((400, "urgency came twice"), (400, "urgency came twice"), (400, "BadWebPushRequest"), 400),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_told_in_the_words_of_each(wrong: str) -> None:
    mozilla, google, apple, microsoft = ANSWERS[wrong]
    for persona, (status, reason) in (("mozilla", mozilla), ("fcm", google), ("apple", apple)):
        told = answer(persona, **WRONG[wrong])
        assert told[0] == status, (persona, told)
        assert told[1].startswith(reason), (persona, told)
    status, description = answer("wns", **WRONG[wrong])
    assert status == microsoft
    assert bool(description) is (status != 201)


def test_mozilla_looks_at_the_sender_before_the_subscription() -> None:
    both: dict[str, Any] = {"vapid": Vapid(VapidFault.SIGNATURE, KEY), "headers": {"ttl": None}}
    assert answer("mozilla", **both, state="unsubscribed") == (401, "109")
    assert answer("mozilla", **both, state="expired") == (404, "102")
    assert answer("mozilla", state="unsubscribed", size=9999, headers={"ttl": None}) == (410, "106")
    assert answer("mozilla", size=9999, headers={"ttl": None}) == (413, "104")
    assert answer("mozilla", headers={"ttl": "-1", "content-encoding": None, "topic": "?"}) == (400, "110")
    assert answer("mozilla", headers={"ttl": "-1", "topic": "?"}) == (400, "114")


def test_mozillas_v1_takes_a_push_from_nobody() -> None:
    nobody: dict[str, Any] = {"headers": {"authorization": None}, "vapid": Vapid(VapidFault.MISSING)}
    assert answer("mozilla", bound=None, **nobody) == (201, "")
    assert answer("mozilla", bound=None, vapid=Vapid(VapidFault.SIGNATURE, KEY)) == (401, "109")


def test_mozilla_answers_json() -> None:
    gone = PERSONAS["mozilla"].judge(push(state="unsubscribed"))
    error = json.loads(gone.body)
    assert (error["code"], error["errno"], error["error"]) == (410, 106, "Gone")
    assert ("cache-control", "max-age=86400") in gone.headers
    repeated = json.loads(PERSONAS["mozilla"].judge(push(repeated="ttl")).body)
    assert (repeated["code"], repeated["errno"]) == (400, None)


def test_google_bounds_the_ttl_and_the_others_cut_it() -> None:
    for ttl, taken in (("2419200", 2_419_200), ("2419201", None), ("9" * 30, None)):
        verdict = PERSONAS["fcm"].judge(push("fcm", headers={"ttl": ttl}))
        assert (verdict.status, verdict.ttl) == ((201, taken) if taken else (400, 0))
    for persona in ("mozilla", "apple"):
        for ttl, kept in (("0", 0), ("2592000", 2_592_000), ("2592001", 2_592_000), ("9" * 30, 2_592_000)):
            assert PERSONAS[persona].judge(push(persona, headers={"ttl": ttl})).ttl == kept


def test_google_answers_texts() -> None:
    mismatch = PERSONAS["fcm"].judge(push("fcm", bound=OTHER))
    assert b"do not correspond" in mismatch.body
    missing = PERSONAS["fcm"].judge(push("fcm", state="expired"))
    assert missing.body.startswith(b"<html>")
    assert b"A valid push subscription endpoint should be specified in the URL" in missing.body
    assert b"<script>" not in PERSONAS["fcm"].scripted(503, "<script>").body


def test_apple_takes_no_underscore_in_a_topic() -> None:
    assert answer("apple", headers={"topic": "a_b"}) == (400, "BadWebPushTopic")
    assert answer("apple", headers={"topic": "a-b"}) == (201, "")
    assert answer("fcm", headers={"topic": "a_b"}) == (201, "")


@pytest.mark.parametrize(
    ("ttl", "policy", "status"),
    [
        ("0", None, 400),
        ("0", "cache", 400),
        ("0", "no-cache", 201),
        ("60", None, 201),
        ("60", "cache", 201),
        ("60", "no-cache", 400),
        ("60", "maybe", 400),
    ],
)
def test_wns_holds_ttl_against_the_cache_policy(ttl: str, policy: str | None, status: int) -> None:
    verdict = PERSONAS["wns"].judge(push("wns", headers={"ttl": ttl, "x-wns-cache-policy": policy}))

    told = dict(verdict.headers)
    assert (verdict.status, verdict.body) == (status, b"")
    assert told["x-wns-status"] == told["x-wns-notificationstatus"] == ("received" if status == 201 else "dropped")
    if status == 400 and policy != "maybe":
        assert told["x-wns-error-description"] == "Ttl value conflicts with X-WNS-Cache-Policy."


def test_wns_says_nothing_that_a_header_cannot_carry() -> None:
    verdict = PERSONAS["wns"].judge(push("wns", headers={"urgency": "\r\nx: y ü\t"}))
    assert dict(verdict.headers)["x-wns-error-description"] == "Urgency x: y  is not known"
    assert dict(PERSONAS["wns"].scripted(406, None).headers)["x-wns-notificationstatus"] == "channelthrottled"
    assert "x-wns-error-description" not in dict(PERSONAS["wns"].scripted(500, "\n").headers)


def test_a_fault_speaks_in_the_form_of_its_persona() -> None:
    mozilla = PERSONAS["mozilla"]
    assert json.loads(mozilla.scripted(410, "103").body)["errno"] == 103
    assert json.loads(mozilla.scripted(410, None).body)["errno"] == 106
    assert json.loads(mozilla.scripted(400, "database conflict").body)["message"] == "database conflict"
    assert json.loads(mozilla.scripted(418, None).body)["errno"] is None
    assert json.loads(PERSONAS["apple"].scripted(503, "Shutdown").body) == {"reason": "Shutdown"}
    for persona in PERSONAS.values():
        for status in (200, 201, 302):
            assert persona.scripted(status, None).body == b""
        assert persona.scripted(429, None).status == 429


@pytest.mark.parametrize(
    ("path", "persona", "token"),
    [
        ("/mozilla/wpush/v2/gAAA_-=", "mozilla", "gAAA_-="),
        ("/mozilla/wpush/v1/abc", "mozilla", "abc"),
        ("/mozilla/wpush/v3/abc", "mozilla", ""),
        ("/mozilla/wpush/v2/", "mozilla", ""),
        ("/mozilla/wpush/v2/a/b", "mozilla", ""),
        ("/fcm/fcm/send/dHI:APA91b-_x", "fcm", "dHI:APA91b-_x"),
        ("/fcm/wp/dHI:APA91b", "fcm", "dHI:APA91b"),
        ("/fcm/send/abc", "fcm", ""),
        ("/apple/QGuQyavXutnMH", "apple", "QGuQyavXutnMH"),
        ("/apple/", "apple", ""),
        ("/apple/a?b=c", "apple", ""),
        ("/wns/w/?token=BQYA%2fab%2b%3d", "wns", "BQYA%2fab%2b%3d"),
        ("/wns/w/?token=", "wns", ""),
        ("/wns/w/?token=a&b=c", "wns", ""),
        ("/wns/w/?token=%2", "wns", ""),
        ("/elsewhere/abc", None, ""),
        ("/", None, ""),
        ("*", None, ""),
    ],
)
def test_paths(path: str, persona: str | None, token: str) -> None:
    found = persona_of(path)

    assert (found.name if found else None) == persona
    assert (found.token(path) if found else "") == token


def test_a_header_that_comes_twice() -> None:
    once = [("ttl", "1"), ("urgency", "low"), ("x-other", "1"), ("x-other", "2")]
    assert repeated_header(once) == ""
    assert repeated_header([*once, ("urgency", "low")]) == "urgency"


WORLD = WebPushWorld(ManualClock(), Journal(), Faults())
WORLD.subscriptions.origin = "https://push.test"
SIGNER = VapidKey(WORLD.clock)
PATHS = [
    WORLD.subscriptions.subscribe(persona, SIGNER.public_key).endpoint.removeprefix("https://push.test")
    for persona in PERSONAS
]
TEXT = st.text(max_size=30)
NAMES = ["ttl", "topic", "urgency", "content-encoding", "crypto-key", "encryption", "x-wns-cache-policy"]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["POST", "GET", "DELETE"]),
    st.one_of(st.sampled_from(PATHS), TEXT),
    st.one_of(st.just(SIGNER.authorization("https://push.test/")), TEXT),
    st.lists(st.tuples(st.sampled_from(NAMES), st.one_of(TEXT, st.sampled_from(["60", "aes128gcm", "٣"])))),
    st.binary(max_size=150),
)
def test_whatever_comes_is_answered(
    method: str, path: str, authorization: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    pseudo = [(":method", method), (":scheme", "https"), (":authority", "push.test"), (":path", path)]
    request = Request(1, [*pseudo, ("authorization", authorization), *headers], body, len(body), complete=True)

    case = WebPushConversation(WORLD).judge(request)
    if case.taken:
        case.deliver()
    answer = case.answer(Then())

    assert 200 <= answer.status < 500
    assert not any(sign in value for _, value in answer.headers for sign in "\r\n\0")
