"""The faults of connections and of single answers: the first part of the table that is played and read."""

from collections.abc import Mapping
from typing import Any

from tests.faults.fault import Case, Fault, Share, Strike, strike
from tests.faults.networks import Network
from tests.faults.refusals import REFUSALS

APNS, FCM, WEB_PUSH = Network.APNS, Network.FCM, Network.WEB_PUSH
HTTP2 = ("ngh2", "h2")

OK = {"ACCEPTED": 40}
LOST = {"UNKNOWN (ConnectionLost)": Share.SOME, "ACCEPTED": Share.REST}


def _all(told: Mapping[str, int | Share], strikes: tuple[Strike, ...] = (), **more: Any) -> dict[Network, Case]:
    return {network: Case(told, strikes, **more) for network in Network}


def _redirected(told: Mapping[str, int | Share], **more: Any) -> Case:
    return Case(told, strike({"status": 302, "headers": {"location": "http://169.254.169.254/"}}), **more)


CONNECTIONS = (
    Fault("nothing", _all(OK, requests=40)),
    Fault(
        "one stream at first",
        {
            APNS: Case(OK, known=False, requests=40),
            FCM: Case(OK, known=False, streams=1, requests=40),
            WEB_PUSH: Case(OK, known=False, streams=1, requests=40, engines=HTTP2),
        },
    ),
    Fault(
        "the limit of streams falls to one in flight",
        _all(OK, strike({"max_concurrent_streams": 1, "restore_after": 0.1}, {"request": 20}), engines=HTTP2),
    ),
    Fault(
        "no stream is allowed any more",
        _all(OK, strike({"max_concurrent_streams": 0}, {"request": 20}), engines=HTTP2),
    ),
    Fault(
        "streams are refused (REFUSED_STREAM)",
        _all(OK, strike({"reset_stream": "REFUSED_STREAM"}, {"every": 4}, 8), engines=HTTP2),
    ),
    Fault(
        "streams are reset (INTERNAL_ERROR)",
        _all(
            {"ACCEPTED": 37, "UNKNOWN (StreamReset)": 3},
            strike({"reset_stream": "INTERNAL_ERROR"}, {"every": 10}, 3),
            engines=HTTP2,
        ),
    ),
    Fault(
        "GOAWAY in flight that covers a part",
        _all(OK, strike({"goaway": {"last_stream": "before"}}, {"request": 20}), engines=HTTP2),
    ),
    Fault("graceful GOAWAY", _all(OK, strike({"goaway": {"last_stream": "all"}}, {"request": 20}))),
    Fault(
        "a refusal in pieces",
        {
            APNS: Case(
                {"ACCEPTED": 39, "PAYLOAD_INVALID (BadCollapseId)": 1},
                strike({"status": 400, "reason": "BadCollapseId", "fragment": 3}),
            ),
            FCM: Case(
                {"ACCEPTED": 39, "PAYLOAD_INVALID (INVALID_ARGUMENT)": 1}, strike({"status": 400, "fragment": 3})
            ),
            WEB_PUSH: Case(
                {"ACCEPTED": 39, "PAYLOAD_TOO_LARGE (errno 104)": 1}, strike({"status": 413, "fragment": 3})
            ),
        },
    ),
    Fault(
        "no answer",
        _all({"ACCEPTED": 37, "UNKNOWN (AnswerTimeout)": 3}, strike({"no_answer": True}, {"every": 5}, 3), answer=1.0),
    ),
    Fault("a slow header", _all(OK, strike({"slow_headers": 0.1}, {"every": 8}, 4))),
    Fault(
        "the connection is reset once a request was read", _all(LOST, strike({"connection": "reset"}, {"request": 20}))
    ),
    Fault("TLS ends without GOAWAY", _all(LOST, strike({"connection": "close"}, {"request": 20}))),
)

ANSWERS = (
    Fault(
        "429 with Retry-After in seconds", _all(OK, strike({"status": 429, "retry_after": 90}, None, 2), not_before=90)
    ),
    Fault(
        "429 with Retry-After as a date",
        _all(OK, strike({"status": 429, "retry_after_date": 90}, None, 2), not_before=89),
    ),
    Fault(
        "406 with Retry-After, as Microsoft throttles",
        {WEB_PUSH: Case(OK, strike({"status": 406, "retry_after": 90}, None, 2), not_before=90, persona="wns")},
    ),
    Fault("503 for a while", _all(OK, strike({"status": 503}, None, 30))),
    Fault("a page of HTML with 502", _all(OK, strike({"status": 502, "body": "<html>502</html>"}, None, 3))),
    Fault("200 with nothing in it", _all(OK, strike({"status": 200, "body": ""}, None, 3), requests=40)),
    Fault("an answer of 200,000 bytes", _all(OK, strike({"status": 200, "body_size": 200_000}, None, 2), requests=40)),
    Fault(
        "a redirect to http://169.254.169.254/",
        {
            APNS: _redirected(OK),
            FCM: _redirected(OK),
            WEB_PUSH: _redirected({"ACCEPTED": 39, "ENDPOINT_BLOCKED (HTTP 302)": 1}, requests=40),
        },
    ),
    Fault(
        "one address of the service's name is private",
        {
            WEB_PUSH: Case(
                {"ACCEPTED": 25, "ENDPOINT_BLOCKED (AddressBlocked)": 15}, known=False, strangers=15, requests=25
            )
        },
    ),
    Fault(
        "the content is larger than the network takes",
        {
            APNS: Case({"PAYLOAD_TOO_LARGE (PayloadTooLarge)": 40}, body="x" * 4096, requests=0),
            FCM: Case({"PAYLOAD_TOO_LARGE (PayloadTooLarge)": 40}, body="x" * 4096, requests=0),
            WEB_PUSH: Case({"PAYLOAD_TOO_LARGE (PayloadTooLarge)": 40}, body="x" * 4096, requests=0),
        },
    ),
)

FAULTS = (*CONNECTIONS, *ANSWERS, *REFUSALS)
