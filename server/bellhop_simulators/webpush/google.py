"""Google's push service (FCM as browsers know it): errors as short texts, told apart by their status."""

import html
import re

from bellhop_simulators.webpush.push import Push, Verdict

_MAX_TTL = 2_419_200  # 28 days.
_USUAL_TEXT = {
    400: "UnauthorizedRegistration",
    401: "the request was not authenticated",
    403: "invalid JWT provided",
    404: "A valid push subscription endpoint should be specified in the URL",
    405: "only POST",
    410: "push subscription has unsubscribed or expired",
    413: "the payload is too large",
    429: "too many requests",
    500: "internal error",
    503: "the service is unavailable",
}
_KEY_MISMATCH = (
    "the VAPID credentials in the authorization header do not correspond to the credentials used to create the "
    "subscriptions"
)
_PATH = re.compile(r"/fcm/(fcm/send|wp)/(?P<token>[A-Za-z0-9_:-]+)")
_PREFIX = "/fcm/"


class Google:
    """The persona."""

    name = "fcm"
    id_header = ""

    def path(self, subscription_id: str, *, bound: bool) -> str:
        """`/fcm/fcm/send/...`, `bound` to a key or not."""
        return f"{_PREFIX}fcm/send/{subscription_id}"

    def token(self, path: str) -> str:
        """What names the subscription; empty if the path is no endpoint."""
        found = _PATH.fullmatch(path)
        return found["token"] if found else ""

    def judge(self, push: Push) -> Verdict:
        """What it answers."""
        return self._refusal(push) or Verdict(201, ttl=push.ttl or 0)

    def scripted(self, status: int, reason: str | None) -> Verdict:
        """What a fault wants; `reason` is the text."""
        return _error(status, _USUAL_TEXT.get(status, "") if reason is None else reason)

    def _refusal(self, push: Push) -> Verdict | None:
        if push.method != "POST":
            return self.scripted(405, None)
        if not push.token:
            return self.scripted(404, None)
        if "authorization" not in push.headers:
            return self.scripted(400, None)
        if push.subscription is not None and push.subscription.state != "subscribed":
            return self.scripted(404 if push.subscription.state == "expired" else 410, None)
        if push.vapid.fault is not None:
            return _error(403, f"invalid JWT provided: {push.vapid.fault}")
        if not push.key_fits:
            return _error(403, _KEY_MISMATCH)
        if push.too_large:
            return self.scripted(413, None)
        if push.ttl is None or not 0 <= push.ttl <= _MAX_TTL:
            return _error(400, "InvalidTtlParameter")
        problem = _header_problem(push)
        return _error(400, problem) if problem else None


def _header_problem(push: Push) -> str:
    if push.repeated:
        return f"{push.repeated} came twice"
    if push.encoding_problem:
        return push.encoding_problem
    if not push.topic_fits:
        return "InvalidTopicParameter"
    if not push.urgency_known:
        return "InvalidUrgencyParameter"
    return "the body is encrypted with the VAPID key" if push.signs_with_its_ecdh_key else ""


def _error(status: int, text: str) -> Verdict:
    if status < 400:
        return Verdict(status, text)
    if status < 500 and status != 404:
        return Verdict(status, text, [("content-type", "text/plain; charset=utf-8")], f"{text}\n".encode())
    page = f"<html><head><title>{status}</title></head><body><h1>{html.escape(text)}</h1></body></html>\n"
    return Verdict(status, text, [("content-type", "text/html; charset=utf-8")], page.encode())
