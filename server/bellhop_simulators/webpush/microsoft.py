"""Microsoft's push service (WNS as Edge uses it): empty bodies, and all it has to say in headers.

The token is in the query, which has to come back byte for byte: it holds escapes that a client must neither decode nor
escape again. They are in upper case, into which some HTTP libraries bring any (RFC 3986 section 6.2.2.1). A TTL of 0
goes with `X-WNS-Cache-Policy: no-cache` only, any other TTL not with it.
"""

import re

from bellhop_simulators.http.request import Header
from bellhop_simulators.webpush.push import MAX_TTL, Push, Verdict

_USUAL_DESCRIPTION = {
    400: "A header of the request is missing or wrong",
    401: "The request is not authenticated",
    403: "The sender may not use this channel",
    404: "The channel is not known",
    405: "Only POST is allowed",
    406: "The sender exceeds its throttle limit",
    410: "The channel has expired",
    413: "The payload is too large",
    500: "An internal failure kept the notification from being delivered",
    503: "The server is unavailable",
}
_CACHE_CONFLICT = "Ttl value conflicts with X-WNS-Cache-Policy."
_PATH = re.compile(r"/wns/w/\?token=(?P<token>(?:[A-Za-z0-9_.~+/=-]|%[0-9A-Fa-f]{2})+)")
_PREFIX = "/wns/"
_THROTTLED = (406, 429)


class Microsoft:
    """The persona."""

    name = "wns"
    id_header = "x-wns-msg-id"

    def path(self, subscription_id: str, *, bound: bool) -> str:
        """`/wns/w/?token=...`, `bound` to a key or not."""
        return f"{_PREFIX}w/?token=BQYAAAD%2F{subscription_id}%2B%3D%3D"

    def token(self, path: str) -> str:
        """What names the subscription, as it stands in the query; empty if the path is no endpoint."""
        found = _PATH.fullmatch(path)
        return found["token"] if found else ""

    def judge(self, push: Push) -> Verdict:
        """What it answers."""
        status, description = _refusal(push)
        if status:
            return _answer(status, description)
        return Verdict(201, headers=_facts(201, "", "received"), ttl=min(push.ttl or 0, MAX_TTL))

    def scripted(self, status: int, reason: str | None) -> Verdict:
        """What a fault wants; `reason` is the description."""
        return _answer(status, _USUAL_DESCRIPTION.get(status, "") if reason is None else reason)


def _refusal(push: Push) -> tuple[int, str]:
    if push.method != "POST":
        return 405, _USUAL_DESCRIPTION[405]
    if not push.token:
        return 404, _USUAL_DESCRIPTION[404]
    if push.vapid.fault is not None:
        return 401, f"{_USUAL_DESCRIPTION[401]}: {push.vapid.fault}"
    if push.subscription is not None and push.subscription.state != "subscribed":
        status = 404 if push.subscription.state == "expired" else 410
        return status, _USUAL_DESCRIPTION[status]
    if not push.key_fits:
        return 403, "The VAPID key is not the one of the channel"
    if push.too_large:
        return 413, _USUAL_DESCRIPTION[413]
    problem = _header_problem(push)
    return (400, problem) if problem else (0, "")


def _header_problem(push: Push) -> str:
    policy = push.headers.get("x-wns-cache-policy", "cache")
    if push.repeated:
        return f"{push.repeated} came twice"
    if push.encoding_problem:
        return push.encoding_problem
    if push.ttl is None or push.ttl < 0:
        return "TTL is missing or not a number of seconds"
    if policy not in ("cache", "no-cache"):
        return "X-WNS-Cache-Policy is neither cache nor no-cache"
    if (push.ttl == 0) != (policy == "no-cache"):
        return _CACHE_CONFLICT
    if not push.topic_fits:
        return "Topic is not of up to 32 characters of base64url"
    if not push.urgency_known:
        return f"Urgency {push.urgency} is not known"
    return "The body is encrypted with the VAPID key" if push.signs_with_its_ecdh_key else ""


def _answer(status: int, description: str) -> Verdict:
    if status < 400:
        return Verdict(status, description)
    notification = "channelthrottled" if status in _THROTTLED else "dropped"
    return Verdict(status, description, _facts(status, description, notification))


def _facts(status: int, description: str, notification: str) -> list[Header]:
    facts = [("x-wns-status", notification), ("x-wns-notificationstatus", notification)]
    # Faults and clients may say what no header can carry.
    carried = "".join(sign for sign in description if sign.isascii() and sign.isprintable()).strip()
    return [*facts, ("x-wns-error-description", carried)] if carried else facts
