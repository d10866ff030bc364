"""Mozilla's push service (autopush): JSON errors with an `errno`, in the order of its HTTP documentation and source.

The URL first (102; a subscription that expired is one that cannot be read), then whoever sends (109), the subscription
(106), the size (104) and the headers. So a wrong key tells 401 even on a subscription that is gone. An endpoint of `v2`
is bound to a key; `v1` takes pushes without one. Where Mozilla has no number, `errno` is null: a method that is not
allowed, an unknown Urgency (which it ignores in truth; RFC 8030 section 5.3 has 400), a header that came twice, and a
body encrypted with the VAPID key.
"""

import json
import re

from bellhop_simulators.webpush.push import MAX_TTL, Push, Verdict
from bellhop_simulators.webpush.vapid import VapidFault

_ERRORS = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    410: "Gone",
    413: "Payload Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
_USUAL_ERRNO = {400: 110, 401: 109, 404: 102, 410: 106, 413: 104, 500: 999, 502: 902, 503: 201}
_MORE_INFO = "https://autopush.readthedocs.io/en/latest/http.html#error-codes"
_PATH = re.compile(r"/mozilla/wpush/v[12]/(?P<token>[A-Za-z0-9_=-]+)")
_PREFIX = "/mozilla/"


class Mozilla:
    """The persona."""

    name = "mozilla"
    id_header = ""

    def path(self, subscription_id: str, *, bound: bool) -> str:
        """`/mozilla/wpush/v1/...`, or `v2` if the subscription is `bound` to a key."""
        return f"{_PREFIX}wpush/v{2 if bound else 1}/{subscription_id}"

    def token(self, path: str) -> str:
        """What names the subscription; empty if the path is no endpoint."""
        found = _PATH.fullmatch(path)
        return found["token"] if found else ""

    def judge(self, push: Push) -> Verdict:
        """What it answers."""
        return self._refusal(push) or Verdict(201, ttl=min(push.ttl or 0, MAX_TTL))

    def scripted(self, status: int, reason: str | None) -> Verdict:
        """What a fault wants; `reason` is an errno, or a message beside the usual errno of the status."""
        if status < 400:
            return Verdict(status, reason or "")
        if reason is not None and reason.isascii() and reason.isdigit():
            return _error(status, int(reason), "")
        return _error(status, _USUAL_ERRNO.get(status), reason or "")

    def _refusal(self, push: Push) -> Verdict | None:
        state = push.subscription.state if push.subscription else "subscribed"
        if push.method != "POST":
            return _error(405, None, "only POST")
        if not push.token or state == "expired":
            return _error(404, 102, "Invalid URL endpoint")
        if push.vapid.fault is not None and (push.vapid.fault is not VapidFault.MISSING or _is_bound(push.path)):
            return _error(401, 109, f"Invalid VAPID: {push.vapid.fault}")
        if not push.key_fits:
            return _error(401, 109, "VAPID public key mismatch")
        if state == "unsubscribed":
            return _error(410, 106, "No such subscription")
        return self._headers_refusal(push)

    def _headers_refusal(self, push: Push) -> Verdict | None:
        if push.too_large:
            return _error(413, 104, f"{push.size} octets are too many")
        if push.repeated:
            return _error(400, None, f"{push.repeated} came twice")
        if push.ttl is None:
            return _error(400, 111, "TTL is missing or not an integer")
        if push.encoding_problem:
            return _error(400, 110, push.encoding_problem)
        if push.ttl < 0:
            return _error(400, 114, "TTL is negative")
        if not push.topic_fits:
            return _error(400, 113, "Topic is not of up to 32 characters of base64url")
        if not push.urgency_known:
            return _error(400, None, f"Urgency {push.urgency} is not known")
        if push.signs_with_its_ecdh_key:
            return _error(400, None, "the body is encrypted with the VAPID key")
        return None


def _is_bound(path: str) -> bool:
    return path.startswith(f"{_PREFIX}wpush/v2/")


def _error(status: int, errno: int | None, message: str) -> Verdict:
    error = _ERRORS.get(status, "")
    body = {"code": status, "errno": errno, "error": error, "message": message or error, "more_info": _MORE_INFO}
    headers = [("content-type", "application/json")]
    if status == 410:
        headers.append(("cache-control", "max-age=86400"))
    return Verdict(status, message or error if errno is None else str(errno), headers, json.dumps(body).encode())
