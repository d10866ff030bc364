"""What APNs answers: a verdict as headers and body."""

import json
import uuid

from bellhop_simulators.apns.rules import Verdict
from bellhop_simulators.faults.actions import Then
from bellhop_simulators.faults.playback import Answer
from bellhop_simulators.http.request import Header

USUAL_REASON = {
    400: "BadDeviceToken",
    403: "InvalidProviderToken",
    404: "BadPath",
    405: "MethodNotAllowed",
    410: "Unregistered",
    413: "PayloadTooLarge",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}
"""The reason that a fault answers with when it gives a status alone."""


def scripted(then: Then, status: int, now: float) -> Verdict:
    """What a fault tells in place of the verdict, with `status`."""
    reason = USUAL_REASON.get(status, "") if then.reason is None else then.reason
    timestamp = then.timestamp
    if timestamp is None and (then.age is not None or status == 410):
        timestamp = int((now - (then.age or 0)) * 1000)
    return Verdict(status, reason, timestamp)


def answer(verdict: Verdict, environment: str, apns_id: str) -> Answer:
    """What goes out for `verdict`."""
    headers: list[Header] = [("apns-id", apns_id)]
    body = b""
    if verdict.status == 200:
        if environment == "sandbox":
            headers.append(("apns-unique-id", str(uuid.uuid4())))
    else:
        error: dict[str, object] = {"reason": verdict.reason}
        if verdict.timestamp is not None:
            error["timestamp"] = verdict.timestamp
        body = json.dumps(error).encode()
    return Answer(verdict.status, headers, body, verdict.reason)
