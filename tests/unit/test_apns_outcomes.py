"""What APNs answers, and what that means; answers may be anything."""

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.domain import SECOND
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.providers.apns.outcomes import REASONS, Outcome, Remedy, judge
from bellhop_server.providers.engine import Reply

NOW = 1_800_000_000 * SECOND
ID = "00000000-0000-4000-8000-000000000001"


def told(status: int, body: bytes | dict[str, object] = b"", *headers: tuple[bytes, bytes]) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return judge(Reply(1, status, headers, raw), ID, NOW)


def answer(status: int, body: bytes | dict[str, object] = b"", *headers: tuple[bytes, bytes]) -> Answer:
    return told(status, body, *headers).answer


# The table of Apple's page, by what is to happen.
@pytest.mark.parametrize(
    ("status", "reason", "verdict", "remedy"),
    [
        (400, "BadCollapseId", Verdict.PAYLOAD_INVALID, Remedy.NONE),
        (400, "BadDeviceToken", Verdict.TOKEN_INVALID, Remedy.NONE),
        (400, "BadExpirationDate", Verdict.ADAPTER_BUG, Remedy.NONE),
        (400, "BadMessageId", Verdict.ADAPTER_BUG, Remedy.NONE),
        (400, "BadPriority", Verdict.ADAPTER_BUG, Remedy.NONE),
        (400, "BadTopic", Verdict.CONFIG_ERROR, Remedy.NONE),
        (400, "DeviceTokenNotForTopic", Verdict.TOKEN_MISMATCH, Remedy.NONE),
        (400, "DuplicateHeaders", Verdict.ADAPTER_BUG, Remedy.NONE),
        (400, "IdleTimeout", Verdict.NOT_SENT, Remedy.REPLACE),
        (400, "InvalidPushType", Verdict.ADAPTER_BUG, Remedy.NONE),
        (400, "MissingDeviceToken", Verdict.ADAPTER_BUG, Remedy.NONE),
        (400, "MissingTopic", Verdict.CONFIG_ERROR, Remedy.NONE),
        (400, "PayloadEmpty", Verdict.PAYLOAD_INVALID, Remedy.NONE),
        (400, "TopicDisallowed", Verdict.CONFIG_ERROR, Remedy.NONE),
        (403, "BadCertificate", Verdict.CREDENTIALS_INVALID, Remedy.NONE),
        (403, "BadCertificateEnvironment", Verdict.CREDENTIALS_INVALID, Remedy.NONE),
        (403, "BadEnvironmentKeyIdInToken", Verdict.CREDENTIALS_INVALID, Remedy.NONE),
        (403, "BadEnvironmentKeyInToken", Verdict.CREDENTIALS_INVALID, Remedy.NONE),
        (403, "ExpiredProviderToken", Verdict.THROTTLED_SENDER, Remedy.RENEW),
        (403, "Forbidden", Verdict.CREDENTIALS_INVALID, Remedy.NONE),
        (403, "InvalidProviderToken", Verdict.CREDENTIALS_INVALID, Remedy.RECONNECT),
        (403, "MissingProviderToken", Verdict.CREDENTIALS_INVALID, Remedy.NONE),
        (403, "TopicMismatch", Verdict.CONFIG_ERROR, Remedy.NONE),
        (403, "UnrelatedKeyIdInToken", Verdict.CREDENTIALS_INVALID, Remedy.RECONNECT),
        (404, "BadPath", Verdict.ADAPTER_BUG, Remedy.NONE),
        (405, "MethodNotAllowed", Verdict.ADAPTER_BUG, Remedy.NONE),
        (410, "ExpiredToken", Verdict.TOKEN_GONE_SINCE, Remedy.NONE),
        (410, "Unregistered", Verdict.TOKEN_GONE_SINCE, Remedy.NONE),
        (413, "PayloadTooLarge", Verdict.PAYLOAD_TOO_LARGE, Remedy.NONE),
        (429, "TooManyProviderTokenUpdates", Verdict.THROTTLED_SENDER, Remedy.FALL_BACK),
        (429, "TooManyRequests", Verdict.THROTTLED_TARGET, Remedy.NONE),
        (500, "InternalServerError", Verdict.PROVIDER_UNAVAILABLE, Remedy.NONE),
        (503, "ServiceUnavailable", Verdict.PROVIDER_UNAVAILABLE, Remedy.NONE),
        (503, "Shutdown", Verdict.NOT_SENT, Remedy.REPLACE),
    ],
)
def test_every_reason(status: int, reason: str, verdict: Verdict, remedy: Remedy) -> None:
    outcome = told(status, {"reason": reason})

    assert outcome == (Answer(verdict, status, reason, ID), remedy, True)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.ACCEPTED),
        (204, Verdict.ACCEPTED),
        (302, Verdict.PROVIDER_UNAVAILABLE),
        (400, Verdict.ADAPTER_BUG),
        (401, Verdict.CREDENTIALS_INVALID),
        (403, Verdict.CREDENTIALS_INVALID),
        (404, Verdict.ADAPTER_BUG),
        (408, Verdict.PROVIDER_UNAVAILABLE),
        (410, Verdict.TOKEN_GONE_SINCE),
        (413, Verdict.PAYLOAD_TOO_LARGE),
        (418, Verdict.ADAPTER_BUG),
        (429, Verdict.THROTTLED_SENDER),
        (500, Verdict.PROVIDER_UNAVAILABLE),
        (502, Verdict.PROVIDER_UNAVAILABLE),
        (599, Verdict.PROVIDER_UNAVAILABLE),
    ],
)
def test_reasons_that_apple_may_yet_invent_go_by_their_status(status: int, verdict: Verdict) -> None:
    outcome = told(status, {"reason": "SomethingNew"})

    assert outcome.answer.verdict is verdict
    assert outcome.remedy is Remedy.NONE
    if verdict is not Verdict.ACCEPTED:
        assert outcome.answer.reason == "SomethingNew"
        assert not outcome.known


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"BadDeviceToken"',
        b'{"reason":null}',
        b'{"reason":["BadDeviceToken"]}',
        b'{"reason":{"BadDeviceToken":1}}',
        b'{"reason":""}',
        b"<html>bad gateway</html>",
        b"\xff\xfe\x00",
        b"[" * 60_000,
        b'{"timestamp":' + b"9" * 60_000 + b"}",
    ],
)
def test_bodies_that_say_nothing(body: bytes) -> None:
    assert answer(502, body) == Answer(Verdict.PROVIDER_UNAVAILABLE, 502, "HTTP 502", ID)


def test_since_when_a_token_is_dead_is_told_in_milliseconds() -> None:
    assert answer(410, {"reason": "Unregistered", "timestamp": 1_454_402_113_123}).invalid_since == (
        1_454_402_113_123_000
    )


@pytest.mark.parametrize("timestamp", [None, "1454402113123", 1.5, True, 0, -1, 10**18, [1], float("inf")])
def test_times_that_are_none(timestamp: object) -> None:
    assert answer(410, {"reason": "ExpiredToken", "timestamp": timestamp}).invalid_since == 0


def test_only_a_dead_token_has_a_time() -> None:
    assert answer(400, {"reason": "BadDeviceToken", "timestamp": 1_454_402_113_123}).invalid_since == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"120", 120.0),
        (b"9999999999", 86_400.0),
        (formatdate(NOW / SECOND + 90, usegmt=True).encode(), 90.0),
        (formatdate(NOW / SECOND - 90, usegmt=True).encode(), 0.0),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        (b"", None),
        (b"-1", None),
        (b"1.5", None),
        (b"soon", None),
        (b"9" * 5000, None),
        (b"\xff", None),
        (b"Fri, 99 Dec 2026 23:59:59 GMT", None),
        (b"Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None),
        (b"Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
    ],
)
def test_retry_after_in_both_forms(value: bytes, seconds: float | None) -> None:
    for status in (429, 503):
        assert answer(status, b"", (b"retry-after", value)).retry_after == seconds


def test_reasons_are_short_and_printable() -> None:
    reason = answer(500, {"reason": "a\nb\x00c\x1b[31m" + "x" * 60_000}).reason
    assert reason.startswith("a b c [31mxxx")
    assert len(reason) == 256
    assert reason.isprintable()


def test_reasons_quote_no_token() -> None:
    jwt = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJURUFNIn0.c2lnbmF0dXJl-_"
    assert answer(500, {"reason": f"for {'AB' * 32} by {jwt}!"}).reason == "for … by …!"


@given(
    st.integers(100, 599),
    st.binary(max_size=200) | st.text(max_size=50).map(lambda t: json.dumps({"reason": t}).encode()),
)
def test_whatever_comes_there_is_an_answer(status: int, body: bytes) -> None:
    told_answer = answer(status, body, (b"retry-after", body[:20]))
    assert len(told_answer.reason) <= 256
    assert told_answer.reason.isprintable()
    assert (told_answer.verdict is Verdict.ACCEPTED) == (200 <= status < 300)


def test_no_reason_alone_accepts_a_push() -> None:
    assert Verdict.ACCEPTED not in {ruling.verdict for ruling in REASONS.values()}
