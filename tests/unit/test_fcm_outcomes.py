"""What FCM answers, and what that means; answers may be anything."""

import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.domain import SECOND
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.providers.engine import Reply
from bellhop_server.providers.fcm.outcomes import CODES, STATUSES, Outcome, Reach, Remedy, accepted, judge

NOW = 1_800_000_000 * SECOND
MESSAGE, PROJECT = Reach.MESSAGE, Reach.PROJECT
NONE, RENEW = Remedy.NONE, Remedy.RENEW
TYPE = "type.googleapis.com/"
NOT_A_TOKEN = "The registration token is not a valid FCM registration token"


def fcm_error(code: object) -> dict[str, Any]:
    return {"@type": f"{TYPE}google.firebase.fcm.v1.FcmError", "errorCode": code}


def bad_request(*fields: str) -> dict[str, Any]:
    violations = [{"field": field, "description": "is wrong"} for field in fields]
    return {"@type": f"{TYPE}google.rpc.BadRequest", "fieldViolations": violations}


def quota_failure(*violations: tuple[str, str]) -> dict[str, Any]:
    told = [{"subject": subject, "description": description} for subject, description in violations]
    return {"@type": f"{TYPE}google.rpc.QuotaFailure", "violations": told}


def error_info(reason: str) -> dict[str, Any]:
    return {"@type": f"{TYPE}google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}


def error(status: int, name: str, *details: dict[str, Any], message: str = "It is wrong.") -> bytes:
    told: dict[str, Any] = {"code": status, "message": message, "status": name}
    return json.dumps({"error": told | ({"details": details} if details else {})}).encode()


def judged(status: int, body: bytes = b"", *headers: tuple[bytes, bytes], size: int = 300) -> Outcome:
    return judge(Reply(1, status, headers, body), size, NOW)


# Google's tables, by what is to happen: (HTTP, body, verdict, reach, remedy, reason, retry_after).
TABLE = [
    (
        400,
        error(
            400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), bad_request("message.token"), message=NOT_A_TOKEN
        ),
        (Verdict.TOKEN_INVALID, MESSAGE, NONE, "INVALID_ARGUMENT", None),
    ),
    (
        400,
        error(400, "INVALID_ARGUMENT", bad_request("message.fid"), fcm_error("INVALID_ARGUMENT")),
        (Verdict.TOKEN_INVALID, MESSAGE, NONE, "INVALID_ARGUMENT", None),
    ),
    (
        400,
        error(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), message=NOT_A_TOKEN),
        (Verdict.TOKEN_INVALID, MESSAGE, NONE, "INVALID_ARGUMENT", None),
    ),
    (
        400,
        error(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), message="Invalid registration token"),
        (Verdict.TOKEN_INVALID, MESSAGE, NONE, "INVALID_ARGUMENT", None),
    ),
    # The field is a surer sign than the text.
    (
        400,
        error(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), bad_request("message.data"), message=NOT_A_TOKEN),
        (Verdict.PAYLOAD_INVALID, MESSAGE, NONE, "INVALID_ARGUMENT: message.data", None),
    ),
    (
        400,
        error(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), bad_request("message.token", "message.data")),
        (Verdict.PAYLOAD_INVALID, MESSAGE, NONE, "INVALID_ARGUMENT: message.token", None),
    ),
    (
        400,
        error(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), message="Recipient of the message is not set."),
        (Verdict.PAYLOAD_INVALID, MESSAGE, NONE, "INVALID_ARGUMENT", None),
    ),
    (
        400,
        error(400, "INVALID_ARGUMENT", bad_request("message.android.ttl"), message="Invalid value"),
        (Verdict.PAYLOAD_INVALID, MESSAGE, NONE, "INVALID_ARGUMENT: message.android.ttl", None),
    ),
    # Whoever only knows what a message looks like knows no tokens.
    (
        400,
        error(400, "INVALID_ARGUMENT", bad_request("message.token"), message="Invalid value"),
        (Verdict.PAYLOAD_INVALID, MESSAGE, NONE, "INVALID_ARGUMENT: message.token", None),
    ),
    (
        400,
        error(400, "INVALID_ARGUMENT", message=NOT_A_TOKEN),
        (Verdict.PAYLOAD_INVALID, MESSAGE, NONE, "INVALID_ARGUMENT", None),
    ),
    (401, error(401, "UNAUTHENTICATED"), (Verdict.CREDENTIALS_INVALID, PROJECT, RENEW, "UNAUTHENTICATED", None)),
    (
        401,
        error(401, "UNAUTHENTICATED", error_info("ACCESS_TOKEN_EXPIRED")),
        (Verdict.CREDENTIALS_INVALID, PROJECT, RENEW, "ACCESS_TOKEN_EXPIRED", None),
    ),
    (401, b"", (Verdict.CREDENTIALS_INVALID, PROJECT, RENEW, "HTTP 401", None)),
    (
        401,
        error(401, "UNAUTHENTICATED", fcm_error("THIRD_PARTY_AUTH_ERROR"), message="missing required authentication"),
        (Verdict.CREDENTIALS_INVALID, MESSAGE, NONE, "THIRD_PARTY_AUTH_ERROR", None),
    ),
    (
        401,
        error(401, "UNAUTHENTICATED", fcm_error("APNS_AUTH_ERROR")),
        (Verdict.CREDENTIALS_INVALID, MESSAGE, NONE, "APNS_AUTH_ERROR", None),
    ),
    (
        403,
        error(403, "PERMISSION_DENIED", fcm_error("SENDER_ID_MISMATCH")),
        (Verdict.TOKEN_MISMATCH, MESSAGE, NONE, "SENDER_ID_MISMATCH", None),
    ),
    (403, error(403, "PERMISSION_DENIED"), (Verdict.CONFIG_ERROR, PROJECT, NONE, "PERMISSION_DENIED", None)),
    (
        403,
        error(403, "PERMISSION_DENIED", error_info("SERVICE_DISABLED")),
        (Verdict.CONFIG_ERROR, PROJECT, NONE, "SERVICE_DISABLED", None),
    ),
    (403, b"<html>no</html>", (Verdict.CONFIG_ERROR, PROJECT, NONE, "HTTP 403", None)),
    (
        404,
        error(404, "NOT_FOUND", fcm_error("UNREGISTERED")),
        (Verdict.TOKEN_GONE_SINCE, MESSAGE, NONE, "UNREGISTERED", None),
    ),
    (404, error(404, "NOT_FOUND"), (Verdict.CONFIG_ERROR, PROJECT, NONE, "NOT_FOUND", None)),
    (404, b"<html>not here</html>", (Verdict.CONFIG_ERROR, PROJECT, NONE, "HTTP 404", None)),
    (
        429,
        error(429, "RESOURCE_EXHAUSTED", fcm_error("QUOTA_EXCEEDED")),
        (Verdict.THROTTLED_SENDER, PROJECT, NONE, "QUOTA_EXCEEDED", 60.0),
    ),
    (
        429,
        error(
            429, "RESOURCE_EXHAUSTED", fcm_error("QUOTA_EXCEEDED"), quota_failure(("project:7", "Messages per device"))
        ),
        (Verdict.THROTTLED_SENDER, PROJECT, NONE, "QUOTA_EXCEEDED", 60.0),
    ),
    (
        429,
        error(
            429, "RESOURCE_EXHAUSTED", fcm_error("QUOTA_EXCEEDED"), quota_failure(("device:abc", "Too many messages"))
        ),
        (Verdict.THROTTLED_TARGET, MESSAGE, NONE, "QUOTA_EXCEEDED", 60.0),
    ),
    (
        429,
        error(429, "RESOURCE_EXHAUSTED", quota_failure(("", "Device message rate exceeded"))),
        (Verdict.THROTTLED_TARGET, MESSAGE, NONE, "RESOURCE_EXHAUSTED", 60.0),
    ),
    (429, b"", (Verdict.THROTTLED_SENDER, PROJECT, NONE, "HTTP 429", 60.0)),
    (
        500,
        error(500, "INTERNAL", fcm_error("INTERNAL")),
        (Verdict.PROVIDER_UNAVAILABLE, MESSAGE, NONE, "INTERNAL", 10.0),
    ),
    (
        500,
        error(500, "UNKNOWN", fcm_error("UNSPECIFIED_ERROR")),
        (Verdict.PROVIDER_UNAVAILABLE, MESSAGE, NONE, "UNSPECIFIED_ERROR", 10.0),
    ),
    (500, error(500, "UNKNOWN"), (Verdict.PROVIDER_UNAVAILABLE, MESSAGE, NONE, "UNKNOWN", 10.0)),
    (
        502,
        b"<html>The server encountered a temporary error. Please try again in 30 seconds.</html>",
        (Verdict.PROVIDER_UNAVAILABLE, MESSAGE, NONE, "HTTP 502", 10.0),
    ),
    (
        503,
        error(503, "UNAVAILABLE", fcm_error("UNAVAILABLE")),
        (Verdict.PROVIDER_UNAVAILABLE, MESSAGE, NONE, "UNAVAILABLE", 10.0),
    ),
    (503, error(503, "UNAVAILABLE"), (Verdict.PROVIDER_UNAVAILABLE, MESSAGE, NONE, "UNAVAILABLE", 10.0)),
    (503, b"", (Verdict.PROVIDER_UNAVAILABLE, MESSAGE, NONE, "HTTP 503", 10.0)),
    (504, error(504, "DEADLINE_EXCEEDED"), (Verdict.PROVIDER_UNAVAILABLE, MESSAGE, NONE, "DEADLINE_EXCEEDED", 10.0)),
]


@pytest.mark.parametrize(("status", "body", "meaning"), TABLE)
def test_the_whole_table(status: int, body: bytes, meaning: tuple[Verdict, Reach, Remedy, str, float | None]) -> None:
    verdict, reach, remedy, reason, retry_after = meaning
    answer = Answer(verdict, status, reason, retry_after=retry_after)

    assert judged(status, body) == Outcome(answer, reach, remedy, known=True)
    if body.startswith(b"{"):
        # As a list, and as a body in which the rest is of other types.
        assert judged(status, b"[%s]" % body) == judged(status, body)


def test_every_code_and_status_is_in_the_table() -> None:
    bodies = b"".join(body for _, body, _ in TABLE).decode()
    for word in (*CODES, *STATUSES):
        assert f'"{word}"' in bodies


@pytest.mark.parametrize(
    ("status", "verdict", "reach"),
    [
        (400, Verdict.PAYLOAD_INVALID, MESSAGE),
        (401, Verdict.CREDENTIALS_INVALID, MESSAGE),
        (403, Verdict.CONFIG_ERROR, MESSAGE),
        (404, Verdict.CONFIG_ERROR, MESSAGE),
        (409, Verdict.ADAPTER_BUG, MESSAGE),
        (413, Verdict.PAYLOAD_TOO_LARGE, MESSAGE),
        (429, Verdict.THROTTLED_SENDER, PROJECT),
        (500, Verdict.PROVIDER_UNAVAILABLE, MESSAGE),
        (503, Verdict.PROVIDER_UNAVAILABLE, MESSAGE),
    ],
)
def test_codes_that_google_may_yet_invent_go_by_their_status(status: int, verdict: Verdict, reach: Reach) -> None:
    outcome = judged(status, error(status, "SOMETHING", fcm_error("SOMETHING_NEW")))

    assert (outcome.answer.verdict, outcome.reach, outcome.remedy) == (verdict, reach, NONE)
    assert outcome.answer.reason == "SOMETHING_NEW"
    assert not outcome.known


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (302, Verdict.PROVIDER_UNAVAILABLE),
        (400, Verdict.ADAPTER_BUG),
        (401, Verdict.CREDENTIALS_INVALID),
        (403, Verdict.CONFIG_ERROR),
        (404, Verdict.CONFIG_ERROR),
        (405, Verdict.ADAPTER_BUG),
        (408, Verdict.PROVIDER_UNAVAILABLE),
        (410, Verdict.ADAPTER_BUG),
        (413, Verdict.PAYLOAD_TOO_LARGE),
        (429, Verdict.THROTTLED_SENDER),
        (500, Verdict.PROVIDER_UNAVAILABLE),
        (599, Verdict.PROVIDER_UNAVAILABLE),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"[[]]",
        b"[null]",
        b'"UNREGISTERED"',
        b'{"error":null}',
        b'{"error":"UNREGISTERED"}',
        b'{"error":[{"status":"NOT_FOUND"}]}',
        b'{"error":{"status":7,"message":[],"details":{}}}',
        b'{"error":{"details":["UNREGISTERED",null,7]}}',
        b'{"error":{"details":[{"@type":7,"errorCode":"UNREGISTERED"}]}}',
        b'{"error":{"details":[{"errorCode":"UNREGISTERED"}]}}',
        b"<html>bad gateway</html>",
        b"\xff\xfe\x00",
        b"[" * 60_000,
        b'{"error":{"code":' + b"9" * 60_000 + b"}}",
    ],
)
def test_bodies_that_say_nothing_leave_it_to_http(status: int, verdict: Verdict, body: bytes) -> None:
    answer = judged(status, body).answer

    assert answer.verdict is verdict
    assert answer.reason == f"HTTP {status}"


@pytest.mark.parametrize("code", [None, 7, [], {"a": 1}, ["UNREGISTERED"]])
def test_a_code_of_another_type_is_none(code: object) -> None:
    assert judged(404, error(404, "NOT_FOUND", fcm_error(code))).answer.verdict is Verdict.CONFIG_ERROR


def test_the_code_comes_before_http() -> None:
    outcome = judged(500, error(500, "INTERNAL", fcm_error("UNREGISTERED")))
    assert outcome.answer == Answer(Verdict.TOKEN_GONE_SINCE, 500, "UNREGISTERED")


@pytest.mark.parametrize("body", [b"", error(400, "INVALID_ARGUMENT", message="Message is too big")])
def test_without_a_word_a_large_body_is_too_large(body: bytes) -> None:
    assert judged(400, body, size=4097).answer.verdict is Verdict.PAYLOAD_TOO_LARGE
    assert judged(400, body, size=4096).answer.verdict is not Verdict.PAYLOAD_TOO_LARGE
    with_details = error(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"))
    assert judged(400, with_details, size=4097).answer.verdict is Verdict.PAYLOAD_INVALID


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"0", 0.0), (b"7", 7.0), (formatdate(NOW / SECOND + 90, usegmt=True).encode(), 90.0), (b"soon", None)],
)
def test_retry_after_in_both_forms(value: bytes, seconds: float | None) -> None:
    header = (b"retry-after", value)
    assert judged(429, b"", header).answer.retry_after == (60.0 if seconds is None else seconds)
    assert judged(503, b"", header).answer.retry_after == (10.0 if seconds is None else seconds)


def test_names_of_fields_as_json_has_them() -> None:
    body = error(400, "INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), bad_request("message.Token"))
    assert judged(400, body).answer.verdict is Verdict.TOKEN_INVALID


def test_a_word_of_google_s_is_quoted_and_cut() -> None:
    reason = judged(418, error(418, "a\nb" + "z" * 1000)).answer.reason
    assert reason.startswith("a bzzz")
    assert len(reason) == 256


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"name":"projects/bellhop-shop/messages/0:1500415314455276%31bd1c96"}',) * 2,
        (b'{"name":"projects/bellhop-shop/messages/fake_message_id"}',) * 2,
        (b"", b""),
        (b"{}", b""),
        (b"[]", b""),
        (b"null", b""),
        (b"ok", b""),
        (b'{"name":7}', b""),
        (b'{"name":"a b"}', b""),
        (b'{"name":"projects/a/messages/b\\nc"}', b""),
        (b'{"name":"projects/a/messages/' + b"b" * 600 + b'"}', b""),
        (b'{"error":{"code":404}}', b""),
        (b"\xff", b""),
        (b"[" * 60_000, b""),
    ],
)
def test_what_is_accepted_is_accepted_whatever_its_body(body: bytes, name: bytes) -> None:
    answer = accepted(Reply(1, 200, [], body))

    told = json.loads(name)["name"] if name else ""
    assert answer == Answer(Verdict.ACCEPTED, 200, "", told)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["error", "details", "status", "code", "@type", "errorCode", "fieldViolations", "violations", "field", "subject"]
ALIKE = st.recursive(
    JSON
    | st.sampled_from([*CODES, *STATUSES, f"{TYPE}google.firebase.fcm.v1.FcmError", f"{TYPE}google.rpc.BadRequest"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.integers(300, 599), ALIKE | st.fixed_dictionaries({"error": ALIKE}))
def test_no_answer_is_beyond_it(status: int, body: object) -> None:
    outcome = judged(status, json.dumps(body).encode())

    assert outcome.answer.verdict is not Verdict.ACCEPTED
    assert outcome.answer.status == status
    assert outcome.answer.reason
