"""Apple's push service for the web: JSON with a `reason`, and stricter than the RFCs about who sends.

From Apple's "Sending web push notifications in web apps and browsers", and what senders met: `sub` has to be there, a
`mailto:` or `https:` of a real domain; Topic has no underscore. Where Apple does not say which status or reason it
gives one was chosen: 403 with what concerns the sender but `VapidPkHashMismatch`, 410 `Unregistered` and 404 `BadPath`
for subscriptions that are over, `BadWebPushRequest` for the rest.
"""

import json
import re

from bellhop_simulators.webpush.push import MAX_TTL, Push, Verdict
from bellhop_simulators.webpush.vapid import VapidFault

STATUS_OF_REASON = {
    "BadTtl": 400,
    "BadUrgency": 400,
    "BadWebPushRequest": 400,
    "BadWebPushTopic": 400,
    "VapidPkHashMismatch": 400,
    "BadAuthorizationHeader": 403,
    "BadJwtToken": 403,
    "BadVapidPublicKey": 403,
    "BadPath": 404,
    "MethodNotAllowed": 405,
    "Unregistered": 410,
    "PayloadTooLarge": 413,
}
_USUAL_REASON = {
    400: "BadWebPushRequest",
    403: "BadJwtToken",
    404: "BadPath",
    405: "MethodNotAllowed",
    410: "Unregistered",
    413: "PayloadTooLarge",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}
_REASON_OF_FAULT = {
    VapidFault.MISSING: "BadAuthorizationHeader",
    VapidFault.UNREADABLE: "BadAuthorizationHeader",
    VapidFault.NO_KEY: "BadAuthorizationHeader",
    VapidFault.BAD_KEY: "BadVapidPublicKey",
}
_SUBJECT = re.compile(r"(mailto:[^\s<>@]+@|https://)(?P<domain>[^\s<>@/:?#]+)([/:?#][^\s<>]*)?", re.IGNORECASE)
_PATH = re.compile(r"/apple/(?P<token>[A-Za-z0-9_-]+)")
_PREFIX = "/apple/"


class Apple:
    """The persona."""

    name = "apple"
    id_header = "apns-id"

    def path(self, subscription_id: str, *, bound: bool) -> str:
        """`/apple/...`, `bound` to a key or not."""
        return f"{_PREFIX}{subscription_id}"

    def token(self, path: str) -> str:
        """What names the subscription; empty if the path is no endpoint."""
        found = _PATH.fullmatch(path)
        return found["token"] if found else ""

    def judge(self, push: Push) -> Verdict:
        """What it answers."""
        reason = _refusal(push)
        if reason:
            return _error(STATUS_OF_REASON[reason], reason)
        return Verdict(201, ttl=min(push.ttl or 0, MAX_TTL))

    def scripted(self, status: int, reason: str | None) -> Verdict:
        """What a fault wants."""
        return _error(status, _USUAL_REASON.get(status, "") if reason is None else reason)


def _refusal(push: Push) -> str:
    if push.method != "POST":
        return "MethodNotAllowed"
    if not push.token:
        return "BadPath"
    fault = push.vapid.fault
    if fault is not None:
        return _REASON_OF_FAULT.get(fault, "BadJwtToken")
    if not is_real_subject(push.vapid.subject):
        return "BadJwtToken"
    if push.subscription is not None and push.subscription.state != "subscribed":
        return "BadPath" if push.subscription.state == "expired" else "Unregistered"
    if not push.key_fits:
        return "VapidPkHashMismatch"
    if push.too_large:
        return "PayloadTooLarge"
    return _header_reason(push)


def _header_reason(push: Push) -> str:
    if push.repeated or push.encoding_problem or push.signs_with_its_ecdh_key:
        return "BadWebPushRequest"
    if push.ttl is None or push.ttl < 0:
        return "BadTtl"
    if not push.urgency_known:
        return "BadUrgency"
    if not push.topic_fits or "_" in (push.topic or ""):
        return "BadWebPushTopic"
    return ""


def is_real_subject(subject: str | None) -> bool:
    """Whether `sub` is a `mailto:` or `https:` of a domain that others can reach."""
    found = _SUBJECT.fullmatch(subject or "")
    if found is None:
        return False
    domain = found["domain"].lower()
    return "." in domain.strip(".") and not domain.endswith((".local", ".localhost"))


def _error(status: int, reason: str) -> Verdict:
    if status < 400:
        return Verdict(status, reason)
    return Verdict(status, reason, [("content-type", "application/json")], json.dumps({"reason": reason}).encode())
