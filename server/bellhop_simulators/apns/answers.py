"""What APNs answers: a verdict as headers and body, as it is or as a fault wants it."""

import json
import uuid
from email.utils import formatdate

from bellhop_simulators.apns.rules import Verdict
from bellhop_simulators.faults.actions import Goaway, Then
from bellhop_simulators.faults.playback import Answer
from bellhop_simulators.http2.header_blocks import Header

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


def answer(verdict: Verdict, environment: str, apns_id: str, then: Then, now: float) -> Answer:
    """What goes out for `verdict`, with the headers and the body of `then`."""
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
    if then.retry_after is not None:
        headers.append(("retry-after", str(then.retry_after)))
    if then.retry_after_date is not None:
        headers.append(("retry-after", formatdate(now + then.retry_after_date, usegmt=True)))
    headers += ((name.lower(), value) for name, value in then.headers.items())
    if then.body is not None:
        body = then.body.encode()
    if then.body_size is not None:
        body = b"x" * then.body_size
    return Answer(verdict.status, headers, body)


def goaway_debug(goaway: Goaway, now: float) -> bytes:
    """Debug data as Apple sends it: JSON with the reason and a time in milliseconds; or what the script gives."""
    if goaway.debug or not goaway.reason:
        return goaway.debug.encode()
    return json.dumps({"reason": goaway.reason, "timestamp": int(now * 1000)}).encode()
