"""What a fault tells in FCM's name: the error that its status and reason stand for."""

from bellhop_simulators.faults.actions import Then
from bellhop_simulators.faults.conditions import Facts
from bellhop_simulators.faults.playback import Answer
from bellhop_simulators.fcm.errors import HTTP_OF_CODE, of_fcm, of_google, of_oauth, of_quota, page

USUAL_REASON = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "UNREGISTERED",
    429: "QUOTA_EXCEEDED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
"""The reason that a fault answers with when it gives a status alone."""
USUAL_REASON_OF_TOKEN = {
    400: "invalid_grant",
    401: "invalid_client",
    403: "access_denied",
    429: "rate_limit_exceeded",
    500: "internal_failure",
    503: "backend_error",
}
"""The same for requests for an access token."""

_QUOTAS = {
    "project": "Quota exceeded for quota metric 'Message sends' and limit 'Message sends per minute' of the project.",
    "device": "The rate of messages to this device is too high.",
    "topic": "The rate of messages to this topic's subscribers is too high.",
}


def of_send(then: Then, status: int, facts: Facts) -> Answer:
    """An error of messages:send. A reason that is no code of FcmError comes without one; 502 is a page."""
    if status == 502 and then.reason is None:
        return page(502, "The server encountered a temporary error. Please try again in 30 seconds.")
    reason = USUAL_REASON.get(status, "") if then.reason is None else then.reason
    if reason == "QUOTA_EXCEEDED" or then.quota is not None:
        quota = then.quota or "project"
        subject = {"project": f"project:{facts.project}", "device": f"token:{facts.token}"}.get(quota, f"{facts.topic}")
        return of_quota(subject, _QUOTAS[quota], status).answer()
    if reason in HTTP_OF_CODE:
        return of_fcm(reason, status=status, violated=then.field or "").answer()
    return of_google(status).answer()


def of_token(then: Then, status: int) -> Answer:
    """An error of the token endpoint (RFC 6749 section 5.2)."""
    if status == 502 and then.reason is None:
        return page(502, "The server encountered a temporary error. Please try again in 30 seconds.")
    reason = USUAL_REASON_OF_TOKEN.get(status, "server_error") if then.reason is None else then.reason
    return of_oauth(status, reason, "As the fault script has it.")
