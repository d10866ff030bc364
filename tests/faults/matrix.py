"""The faults, and what whoever sends is told of each: the table that is played and the table that is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.networks import Network

APNS, FCM, WEB_PUSH = Network.APNS, Network.FCM, Network.WEB_PUSH

Strike = tuple[Mapping[str, Any], Mapping[str, Any], int | None]
"""`then`, `when` and `times` of a fault script (docs/simulators.md)."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault on one network.

    `told`: what is told, and to how many devices; None: some, since how many were on their way differs from run to run.
    `known`: each device has had a push accepted before. `skew`: seconds that our clock is ahead, from then on.
    `retired`: those told TOKEN_INVALID or TOKEN_MISMATCH are DEAD afterwards, else nobody is. `not_before`: seconds
    that must pass until all is told. `ttl`: seconds.
    """

    told: Mapping[str, int | None]
    strikes: Sequence[Strike] = ()
    devices: int = 40
    known: bool = True
    skew: float = 0.0
    retired: bool = False
    not_before: float = 0.0
    ttl: int = 86_400
    persona: str = "mozilla"

    @property
    def text(self) -> str:
        """For people."""
        told = ", ".join(what if many is None else f"{what} {many}" for what, many in self.told.items())
        if not any(what.startswith("TOKEN_") for what in self.told):
            return told
        return f"{told}; {'retired' if self.retired else 'nobody is retired'}"


@dataclass(frozen=True, slots=True)
class Fault:
    """A row."""

    name: str
    cases: Mapping[Network, Case] = field(default_factory=dict)


def strike(then: Mapping[str, Any], when: Mapping[str, Any] | None = None, times: int | None = 1) -> tuple[Strike, ...]:
    """One fault."""
    return ((then, when or {}, times),)


def _all(told: Mapping[str, int | None], strikes: Sequence[Strike], **more: Any) -> dict[Network, Case]:
    return {network: Case(told, strikes, **more) for network in Network}


OK = {"ACCEPTED": 40}
LOST = {"ACCEPTED": None, "UNKNOWN (ConnectionLost)": None}

FAULTS = (
    Fault("nothing", _all(OK, ())),
    Fault("one stream at first", {APNS: Case(OK, known=False)}),
    Fault(
        "the limit falls to one in flight",
        _all(OK, strike({"max_concurrent_streams": 1, "restore_after": 0.1}, {"request": 20})),
    ),
    Fault("streams refused (REFUSED_STREAM)", _all(OK, strike({"reset_stream": "REFUSED_STREAM"}, {"every": 4}, 8))),
    Fault(
        "GOAWAY in flight that covers a part", _all(OK, strike({"goaway": {"last_stream": "before"}}, {"request": 20}))
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
        "no answer", _all({"ACCEPTED": 37, "UNKNOWN (AnswerTimeout)": 3}, strike({"no_answer": True}, {"every": 5}, 3))
    ),
    Fault("a slow header", _all(OK, strike({"slow_headers": 0.1}, {"every": 5}, 8))),
    Fault(
        "the connection is reset once a request was read", _all(LOST, strike({"connection": "reset"}, {"request": 20}))
    ),
    Fault("TLS ends without GOAWAY", _all(LOST, strike({"connection": "close"}, {"request": 20}))),
    Fault(
        "our token expires in use",
        {
            APNS: Case(OK, strike({"status": 403, "reason": "ExpiredProviderToken"}, {"request": 10})),
            FCM: Case(OK, strike({"status": 401}, {"request": 10})),
            WEB_PUSH: Case({"ACCEPTED": 39, "TOKEN_MISMATCH (errno 109)": 1}, strike({"status": 401}, {"request": 10})),
        },
    ),
    Fault(
        "the phone is gone since before its registration",
        {APNS: Case({"ACCEPTED": 39, "TOKEN_INVALID (Unregistered)": 1}, strike({"status": 410, "age": 86_400}))},
    ),
    Fault(
        "the phone is gone",
        {
            APNS: Case(
                {"ACCEPTED": 39, "TOKEN_INVALID (Unregistered)": 1}, strike({"status": 410, "age": -600}), retired=True
            ),
            FCM: Case({"ACCEPTED": 39, "TOKEN_INVALID (UNREGISTERED)": 1}, strike({"status": 404}), retired=True),
            WEB_PUSH: Case({"ACCEPTED": 39, "TOKEN_INVALID (errno 106)": 1}, strike({"status": 410}), retired=True),
        },
    ),
    Fault(
        "429 with Retry-After in seconds", _all(OK, strike({"status": 429, "retry_after": 90}, None, 2), not_before=90)
    ),
    Fault(
        "429 with Retry-After as a date",
        _all(OK, strike({"status": 429, "retry_after_date": 90}, None, 2), not_before=85),
    ),
    Fault("a page of HTML with 502", _all(OK, strike({"status": 502, "body": "<html>502</html>"}, None, 3))),
    Fault("200 with nothing in it", _all(OK, strike({"status": 200, "body": ""}, None, 3))),
    Fault(
        "the account of another platform is refused (401 with FcmError)",
        {
            FCM: Case(
                {"ACCEPTED": 39, "CREDENTIALS_INVALID (THIRD_PARTY_AUTH_ERROR)": 1},
                strike({"status": 401, "reason": "THIRD_PARTY_AUTH_ERROR"}),
            )
        },
    ),
    Fault(
        "no permission (403 without FcmError)",
        {
            FCM: Case(
                {"ACCEPTED": None, "CONFIG_ERROR (PERMISSION_DENIED)": None},
                strike({"status": 403, "reason": ""}, None, None),
                known=False,
            )
        },
    ),
    Fault(
        "a wrong project (404 without FcmError)",
        {
            FCM: Case(
                {"ACCEPTED": None, "CONFIG_ERROR (NOT_FOUND)": None},
                strike({"status": 404, "reason": ""}, None, None),
                known=False,
            )
        },
    ),
    Fault("an answer of 200,000 bytes", _all(OK, strike({"status": 200, "body_size": 200_000}, None, 2))),
    Fault(
        "a redirect to 169.254.169.254",
        {
            APNS: Case(OK, strike({"status": 302, "headers": {"location": "http://169.254.169.254/"}})),
            FCM: Case(OK, strike({"status": 302, "headers": {"location": "http://169.254.169.254/"}})),
            WEB_PUSH: Case(
                {"ACCEPTED": 39, "ENDPOINT_BLOCKED (HTTP 302)": 1},
                strike({"status": 302, "headers": {"location": "http://169.254.169.254/"}}),
            ),
        },
    ),
    Fault(
        "1 % of the tokens are called bad",
        {
            APNS: Case(
                {"ACCEPTED": 198, "TOKEN_INVALID (BadDeviceToken)": 2},
                strike({"status": 400, "reason": "BadDeviceToken"}, {"share": 0.01}, None),
                200,
                retired=True,
            ),
            FCM: Case(
                {"ACCEPTED": 198, "TOKEN_INVALID (INVALID_ARGUMENT)": 2},
                strike({"status": 400, "field": "message.token"}, {"share": 0.01}, None),
                200,
                retired=True,
            ),
            WEB_PUSH: Case(
                {"ACCEPTED": 198, "TOKEN_MISMATCH (VapidPkHashMismatch)": 2},
                strike({"status": 400, "reason": "VapidPkHashMismatch"}, {"share": 0.01}, None),
                200,
                retired=True,
                persona="apple",
            ),
        },
    ),
    Fault(
        "60 % of the tokens are called bad",
        {
            APNS: Case(
                {"ACCEPTED": 80, "TOKEN_INVALID (BadDeviceToken)": 120},
                strike({"status": 400, "reason": "BadDeviceToken"}, {"share": 0.6}, None),
                200,
            ),
            FCM: Case(
                {"ACCEPTED": 80, "TOKEN_INVALID (INVALID_ARGUMENT)": 120},
                strike({"status": 400, "field": "message.token"}, {"share": 0.6}, None),
                200,
            ),
            WEB_PUSH: Case(
                {"ACCEPTED": 80, "TOKEN_MISMATCH (VapidPkHashMismatch)": 120},
                strike({"status": 400, "reason": "VapidPkHashMismatch"}, {"share": 0.6}, None),
                200,
                persona="apple",
            ),
        },
    ),
    Fault(
        "our clock is two hours ahead",
        {
            APNS: Case({"CREDENTIALS_INVALID (InvalidProviderToken)": 40}, skew=7200.0),
            FCM: Case({"CREDENTIALS_INVALID (ClockSkew)": 40}, skew=7200.0, known=False),
            WEB_PUSH: Case(OK, skew=7200.0),
        },
    ),
    Fault(
        "our clock is two hours behind",
        {
            APNS: Case({"EXPIRED (ExpiredProviderToken)": 40}, skew=-7200.0, known=False, ttl=600),
            FCM: Case({"CREDENTIALS_INVALID (ClockSkew)": 40}, skew=-7200.0, known=False),
            WEB_PUSH: Case(OK, skew=-7200.0),
        },
    ),
)
