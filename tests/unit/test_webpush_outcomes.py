"""What push services answer, and what that means: the whole table, and answers that may be anything."""

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.domain import SECOND
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.providers.engine import Reply
from bellhop_server.providers.webpush.outcomes import (
    NUMBERS,
    PHRASES,
    REASONS,
    STATUSES,
    Meaning,
    Remedy,
    accepted,
    refused,
)

NOW = 1_800_000_000 * SECOND

BUG, GONE, DOUBT = Verdict.ADAPTER_BUG, Verdict.TOKEN_GONE_SINCE, Verdict.TOKEN_DOUBTED
MISMATCH, CREDENTIALS = Verdict.TOKEN_MISMATCH, Verdict.CREDENTIALS_INVALID
LARGE, AWAY, NOT_SENT = Verdict.PAYLOAD_TOO_LARGE, Verdict.PROVIDER_UNAVAILABLE, Verdict.NOT_SENT
SENDER, TARGET, BLOCKED = Verdict.THROTTLED_SENDER, Verdict.THROTTLED_TARGET, Verdict.ENDPOINT_BLOCKED

APPLE = [
    (400, "BadTtl", BUG),
    (400, "BadUrgency", BUG),
    (400, "BadWebPushRequest", BUG),
    (400, "BadWebPushTopic", BUG),
    (400, "IdleTimeout", NOT_SENT),
    (400, "VapidPkHashMismatch", MISMATCH),
    # Seen with either status.
    (403, "VapidPkHashMismatch", MISMATCH),
    (403, "BadAuthorizationHeader", DOUBT),
    (403, "BadJwtToken", CREDENTIALS),
    (400, "BadJwtToken", CREDENTIALS),
    (403, "BadVapidPublicKey", CREDENTIALS),
    (404, "BadPath", GONE),
    (405, "MethodNotAllowed", BUG),
    (410, "ExpiredToken", GONE),
    (410, "Unregistered", GONE),
    (413, "PayloadTooLarge", LARGE),
    (429, "TooManyRequests", TARGET),
    (500, "InternalServerError", AWAY),
    (503, "ServiceUnavailable", AWAY),
    (503, "Shutdown", NOT_SENT),
]

MOZILLA = [
    (400, 101, BUG),
    (404, 102, GONE),
    (410, 103, GONE),
    (413, 104, LARGE),
    (410, 105, GONE),
    (410, 106, GONE),
    (400, 108, BUG),
    (401, 109, DOUBT),
    (400, 110, BUG),
    (400, 111, BUG),
    (400, 112, BUG),
    (400, 113, BUG),
    (400, 114, BUG),
    (503, 201, AWAY),
    (503, 202, AWAY),
    (502, 900, AWAY),
    (502, 901, AWAY),
    (502, 902, AWAY),
    (502, 903, AWAY),
    (500, 999, AWAY),
]

# Google answers with texts, Microsoft with empty bodies, others with anything: (status, text, verdict, reason).
TEXTS = [
    (400, "UnauthorizedRegistration", CREDENTIALS, "UnauthorizedRegistration"),
    (400, "<HTML><BODY><H1>UnauthorizedRegistration</H1></BODY></HTML>", CREDENTIALS, "UnauthorizedRegistration"),
    (400, "InvalidTtlParameter", BUG, "InvalidTtlParameter"),
    (400, "invalid token", BUG, "HTTP 400"),
    (401, "", DOUBT, "HTTP 401"),
    (403, "invalid JWT provided", DOUBT, "HTTP 403"),
    (
        403,
        "the VAPID credentials in the authorization header do not correspond to the credentials used to create the "
        "subscriptions.\n",
        MISMATCH,
        "VapidKeyMismatch",
    ),
    (
        403,
        "the key in the authorization header does not correspond to the sender ID used to subscribe this user.",
        MISMATCH,
        "VapidKeyMismatch",
    ),
    (404, "A valid push subscription endpoint should be specified in the URL as such: ...", GONE, "HTTP 404"),
    (410, "push subscription has unsubscribed or expired.\n", GONE, "HTTP 410"),
    (410, "NotRegistered", GONE, "HTTP 410"),
    (413, "", LARGE, "HTTP 413"),
    (429, "Too Many Requests", SENDER, "HTTP 429"),
    (406, "", SENDER, "HTTP 406"),
    (507, '{"code":50701,"http":507,"error":"cannot publish to UnifiedPush topic"}', TARGET, "HTTP 507"),
    (502, "<html>502 Bad Gateway</html>", AWAY, "HTTP 502"),
    (500, "", AWAY, "HTTP 500"),
    (503, "", AWAY, "HTTP 503"),
    (599, "", AWAY, "HTTP 599"),
    (300, "", BLOCKED, "HTTP 300"),
    (301, "", BLOCKED, "HTTP 301"),
    (302, '{"reason":"Unregistered"}', BLOCKED, "HTTP 302"),
    (307, "", BLOCKED, "HTTP 307"),
    (308, "", BLOCKED, "HTTP 308"),
    (405, "", BUG, "HTTP 405"),
    (408, "", AWAY, "HTTP 408"),
    (418, "", BUG, "HTTP 418"),
    (421, "", NOT_SENT, "HTTP 421"),
    (425, "", AWAY, "HTTP 425"),
    (600, "", BUG, "HTTP 600"),
]


def reply(status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(1, status, headers, body)


def told(status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> tuple[Answer, Meaning]:
    return refused(reply(status, body, *headers), NOW)


def mozilla(status: int, errno: int | None, message: str = "") -> bytes:
    return json.dumps({"code": status, "errno": errno, "error": "", "message": message, "more_info": ""}).encode()


@pytest.mark.parametrize(("status", "reason", "verdict"), APPLE)
def test_every_reason_of_apple(status: int, reason: str, verdict: Verdict) -> None:
    answer, meaning = told(status, json.dumps({"reason": reason}).encode())

    assert answer == Answer(verdict, status, reason)
    assert meaning.known
    assert (meaning.remedy is Remedy.REPLACE) == (verdict is NOT_SENT)


@pytest.mark.parametrize(("status", "errno", "verdict"), MOZILLA)
def test_every_number_of_mozilla(status: int, errno: int, verdict: Verdict) -> None:
    answer, meaning = told(status, mozilla(status, errno, "some text with a secret"))

    assert answer == Answer(verdict, status, f"errno {errno}")
    assert meaning.known


@pytest.mark.parametrize(("status", "verdict"), [(400, BUG), (500, AWAY), (503, AWAY)])
def test_a_number_of_mozilla_that_is_null(status: int, verdict: Verdict) -> None:
    assert told(status, mozilla(status, None))[0] == Answer(verdict, status, f"HTTP {status}")


def test_mozilla_calls_another_key_unauthorized() -> None:
    answer, _ = told(401, mozilla(401, 109, "VAPID public key mismatch"))

    assert answer == Answer(MISMATCH, 401, "VapidKeyMismatch")


@pytest.mark.parametrize(("status", "text", "verdict", "reason"), TEXTS)
def test_texts_and_statuses(status: int, text: str, verdict: Verdict, reason: str) -> None:
    assert told(status, text.encode())[0] == Answer(verdict, status, reason)


@pytest.mark.parametrize(
    ("status", "description", "verdict", "reason"),
    [
        (400, b"Ttl value conflicts with X-WNS-Cache-Policy.", BUG, "CachePolicyConflict"),
        (400, b"something else", BUG, "HTTP 400"),
        (401, b"not authenticated", DOUBT, "HTTP 401"),
        (403, b"not allowed", DOUBT, "HTTP 403"),
        (404, b"The channel is not known", GONE, "HTTP 404"),
        (406, b"exceeds its throttle limit", SENDER, "HTTP 406"),
        (410, b"The channel has expired", GONE, "HTTP 410"),
        (413, b"", LARGE, "HTTP 413"),
    ],
)
def test_what_microsoft_says_in_headers(status: int, description: bytes, verdict: Verdict, reason: str) -> None:
    headers = [(b"x-wns-notificationstatus", b"dropped"), (b"x-wns-error-description", description)]

    assert told(status, b"", *headers)[0] == Answer(verdict, status, reason)


def test_the_whole_table_is_walked() -> None:
    assert {reason for _, reason, _ in APPLE} == set(REASONS)
    assert {errno for _, errno, _ in MOZILLA} == set(NUMBERS)
    assert {status for status, _, _, _ in TEXTS} >= set(STATUSES)
    walked = {reason for _, _, _, reason in TEXTS} | {"CachePolicyConflict"}
    assert walked >= {phrase.reason for phrase in PHRASES}


def test_what_nobody_has_seen_goes_by_its_status_and_keeps_its_word() -> None:
    answer, meaning = told(403, b'{"reason":"SomethingNew"}')
    assert answer == Answer(DOUBT, 403, "SomethingNew")

    answer, meaning = told(418, b'{"reason":"Teapot"}')
    assert answer == Answer(BUG, 418, "Teapot")
    assert not meaning.known


@pytest.mark.parametrize(
    "body",
    [
        b'{"reason":"a text with spaces"}',
        b'{"reason":"<script>"}',
        b'{"reason":"' + b"A" * 65 + b'"}',
        b'{"reason":null}',
        b'{"reason":["Unregistered"]}',
        b'{"errno":true}',
        b'{"errno":"103"}',
        b'{"errno":103.0}',
        b'{"errno":' + b"9" * 60_000 + b"}",
        b'["reason"]',
        b"null",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 60_000,
        b"",
    ],
)
def test_a_body_that_says_nothing(body: bytes) -> None:
    assert told(400, body)[0] == Answer(BUG, 400, "HTTP 400")


def test_a_phrase_is_one_of_refusals_only() -> None:
    assert told(404, b"key mismatch")[0].verdict is GONE
    assert told(500, b"do not correspond to the credentials")[0].verdict is AWAY
    assert told(403, b"UnauthorizedRegistration")[0].verdict is DOUBT


@pytest.mark.parametrize("status", [406, 429, 503, 507, 410])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"120", 120.0),
        (b"0", 0.0),
        (formatdate(1_800_000_090, usegmt=True).encode(), 90.0),
        (formatdate(1_700_000_000, usegmt=True).encode(), 0.0),
        (b"soon", None),
        (b"9999999999", 86400.0),
    ],
)
def test_retry_after_in_both_forms(status: int, value: bytes, seconds: float | None) -> None:
    assert told(status, b"", (b"retry-after", value))[0].retry_after == seconds


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_what_was_taken_has_the_url_of_its_resource(status: int) -> None:
    answer = accepted(reply(status, b"", (b"ttl", b"60"), (b"location", b"https://push.example.net/m/abc")))

    assert answer == Answer(Verdict.ACCEPTED, status, "", "https://push.example.net/m/abc")


def test_apple_gives_an_id() -> None:
    assert accepted(reply(201, b"", (b"apns-id", b"0-1-2"))) == Answer(Verdict.ACCEPTED, 201, "", "0-1-2")
    both = accepted(reply(201, b"", (b"apns-id", b"0-1-2"), (b"location", b"/m/1")))
    assert both.provider_message_id == "/m/1"


@pytest.mark.parametrize("location", [b"", b"x" * 513, b"a b", b"\xc3\xbc", b"a\x00b"])
def test_a_location_that_cannot_be_kept(location: bytes) -> None:
    assert accepted(reply(201, b"", (b"location", location))) == Answer(Verdict.ACCEPTED, 201)


def test_microsoft_may_take_and_drop() -> None:
    said = b"x-wns-notificationstatus"

    assert accepted(reply(201, b"", (said, b"received"))) == Answer(Verdict.ACCEPTED, 201)
    assert accepted(reply(201, b"", (said, b"dropped"))) == Answer(Verdict.ACCEPTED, 201, "dropped")
    assert accepted(reply(201, b"", (said, b"channelthrottled"))) == Answer(TARGET, 201, "channelthrottled")


@given(st.integers(100, 999), st.binary(max_size=300), st.binary(max_size=40))
def test_no_answer_is_too_strange(status: int, body: bytes, value: bytes) -> None:
    names = (b"retry-after", b"location", b"x-wns-error-description", b"x-wns-notificationstatus")
    answer, meaning = told(status, body, *((name, value) for name in names))

    assert isinstance(answer.verdict, Verdict)
    assert answer.verdict is meaning.verdict
    assert answer.reason.isprintable()
    assert len(answer.reason) <= 64
    assert isinstance(accepted(reply(status, body, *((name, value) for name in names))), Answer)
