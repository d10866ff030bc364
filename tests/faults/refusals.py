"""Keys, tokens and clocks that a provider does not take: the second part of the table."""

from typing import Any

from tests.faults.fault import Case, Fault, strike
from tests.faults.networks import Network

APNS, FCM, WEB_PUSH = Network.APNS, Network.FCM, Network.WEB_PUSH
OK = {"ACCEPTED": 40}
HOUR = 3600.0


def _called_bad(word: str, then: dict[str, Any], share: float, **more: Any) -> Case:
    bad = round(200 * share)
    return Case({"ACCEPTED": 200 - bad, word: bad}, strike(then, {"share": share}, None), 200, requests=200, **more)


KEYS = (
    Fault(
        "our token is refused once, as too old",
        {
            APNS: Case(OK, strike({"status": 403, "reason": "ExpiredProviderToken"}, {"request": 10})),
            FCM: Case(OK, strike({"status": 401}, {"request": 10})),
            WEB_PUSH: Case({"ACCEPTED": 39, "TOKEN_MISMATCH (errno 109)": 1}, strike({"status": 401}, {"request": 10})),
        },
    ),
    Fault("our token is past its time: 13 hours later", {each: Case(OK, later=13 * HOUR) for each in Network}),
    Fault(
        "our key is refused for good",
        {
            APNS: Case(
                {"CREDENTIALS_INVALID (InvalidProviderToken)": 40},
                strike({"status": 403, "reason": "InvalidProviderToken"}, None, None),
            ),
            FCM: Case({"CREDENTIALS_INVALID (UNAUTHENTICATED)": 40}, strike({"status": 401}, None, None)),
            WEB_PUSH: Case({"CREDENTIALS_INVALID (errno 109)": 40}, strike({"status": 401}, None, None), known=False),
        },
    ),
    Fault(
        "Google gives no access token (503)",
        {FCM: Case(OK, strike({"status": 503}, {"call": "token"}, 2), known=False, requests=40)},
    ),
    Fault(
        "Google gives no access token (invalid_grant)",
        {
            FCM: Case(
                {"CREDENTIALS_INVALID (invalid_grant)": 40},
                strike({"status": 400}, {"call": "token"}, None),
                known=False,
                requests=0,
            )
        },
    ),
    Fault(
        "the project's key of another platform is refused (401 with FcmError)",
        {
            FCM: Case(
                {"ACCEPTED": 39, "CREDENTIALS_INVALID (THIRD_PARTY_AUTH_ERROR)": 1},
                strike({"status": 401, "reason": "THIRD_PARTY_AUTH_ERROR"}),
                requests=40,
            )
        },
    ),
    Fault(
        "no permission (403 without FcmError)",
        {
            FCM: Case(
                {"CONFIG_ERROR (PERMISSION_DENIED)": 40}, strike({"status": 403, "reason": ""}, None, None), known=False
            )
        },
    ),
    Fault(
        "a wrong project (404 without FcmError)",
        {FCM: Case({"CONFIG_ERROR (NOT_FOUND)": 40}, strike({"status": 404, "reason": ""}, None, None), known=False)},
    ),
    Fault(
        "our clock is two hours ahead",
        {
            APNS: Case({"CREDENTIALS_INVALID (InvalidProviderToken)": 40}, skew=2 * HOUR),
            FCM: Case({"CREDENTIALS_INVALID (ClockSkew)": 40}, skew=2 * HOUR, known=False, requests=0),
            WEB_PUSH: Case(OK, skew=2 * HOUR),
        },
    ),
    Fault(
        "our clock is two hours behind",
        {
            APNS: Case({"EXPIRED (ExpiredProviderToken)": 40}, skew=-2 * HOUR, known=False, ttl=600),
            FCM: Case({"CREDENTIALS_INVALID (ClockSkew)": 40}, skew=-2 * HOUR, known=False, requests=0),
            WEB_PUSH: Case(OK, skew=-2 * HOUR),
        },
    ),
)

TOKENS = (
    Fault(
        "a device is gone since before it registered",
        {APNS: Case({"ACCEPTED": 39, "TOKEN_INVALID (Unregistered)": 1}, strike({"status": 410, "age": 86_400}))},
    ),
    Fault(
        "a device is gone",
        {
            APNS: Case(
                {"ACCEPTED": 39, "TOKEN_INVALID (Unregistered)": 1}, strike({"status": 410, "age": -600}), retired=True
            ),
            FCM: Case({"ACCEPTED": 39, "TOKEN_INVALID (UNREGISTERED)": 1}, strike({"status": 404}), retired=True),
            WEB_PUSH: Case({"ACCEPTED": 39, "TOKEN_INVALID (errno 106)": 1}, strike({"status": 410}), retired=True),
        },
    ),
    Fault(
        "a device is gone, and registers anew before that is told",
        {
            APNS: Case(
                {"ACCEPTED": 39, "TOKEN_INVALID (Unregistered)": 1},
                strike({"status": 410, "age": -600, "delay": 0.3}),
                returns=True,
            ),
            FCM: Case(
                {"ACCEPTED": 39, "TOKEN_INVALID (UNREGISTERED)": 1}, strike({"status": 404, "delay": 0.3}), returns=True
            ),
            WEB_PUSH: Case(
                {"ACCEPTED": 39, "TOKEN_INVALID (errno 106)": 1}, strike({"status": 410, "delay": 0.3}), returns=True
            ),
        },
    ),
    Fault(
        "1 % of the tokens are called bad",
        {
            APNS: _called_bad(
                "TOKEN_INVALID (BadDeviceToken)", {"status": 400, "reason": "BadDeviceToken"}, 0.01, retired=True
            ),
            FCM: _called_bad(
                "TOKEN_INVALID (INVALID_ARGUMENT)", {"status": 400, "field": "message.token"}, 0.01, retired=True
            ),
            WEB_PUSH: _called_bad(
                "TOKEN_MISMATCH (VapidPkHashMismatch)",
                {"status": 400, "reason": "VapidPkHashMismatch"},
                0.01,
                retired=True,
                persona="apple",
            ),
        },
    ),
    Fault(
        "60 % of the tokens are called bad",
        {
            APNS: _called_bad("TOKEN_INVALID (BadDeviceToken)", {"status": 400, "reason": "BadDeviceToken"}, 0.6),
            FCM: _called_bad("TOKEN_INVALID (INVALID_ARGUMENT)", {"status": 400, "field": "message.token"}, 0.6),
            WEB_PUSH: _called_bad(
                "TOKEN_MISMATCH (VapidPkHashMismatch)",
                {"status": 400, "reason": "VapidPkHashMismatch"},
                0.6,
                persona="apple",
            ),
        },
    ),
    Fault(
        "60 % of the tokens are called those of another sender",
        {
            APNS: _called_bad(
                "TOKEN_MISMATCH (DeviceTokenNotForTopic)", {"status": 400, "reason": "DeviceTokenNotForTopic"}, 0.6
            ),
            FCM: _called_bad(
                "TOKEN_MISMATCH (SENDER_ID_MISMATCH)", {"status": 403, "reason": "SENDER_ID_MISMATCH"}, 0.6
            ),
        },
    ),
)

REFUSALS = (*KEYS, *TOKENS)
