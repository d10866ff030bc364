"""Errors as Google's APIs tell them: `{"error": {code, message, status, details}}`.

FCM's own details are in its reference ("ErrorCode", "FcmError"), the others in google/rpc/error_details.proto.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from bellhop_simulators.faults.playback import Answer
from bellhop_simulators.http.request import Header

JSON: Header = ("content-type", "application/json; charset=UTF-8")
HTML: Header = ("content-type", "text/html; charset=UTF-8")

STATUS_OF_HTTP = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
HTTP_OF_CODE = {
    "INVALID_ARGUMENT": 400,
    "THIRD_PARTY_AUTH_ERROR": 401,
    "SENDER_ID_MISMATCH": 403,
    "UNREGISTERED": 404,
    "QUOTA_EXCEEDED": 429,
    "INTERNAL": 500,
    "UNSPECIFIED_ERROR": 500,
    "UNAVAILABLE": 503,
}
"""The values of FcmError.errorCode, and with which status each comes."""

_TYPE = "type.googleapis.com/"
_MESSAGES = {
    "SENDER_ID_MISMATCH": "SenderId mismatch",
    "THIRD_PARTY_AUTH_ERROR": "Auth error from APNS or Web Push Service",
    "UNREGISTERED": "Requested entity was not found.",
    "NOT_FOUND": "Requested entity was not found.",
    "INTERNAL": "Internal error encountered.",
    "UNAVAILABLE": "The service is currently unavailable.",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error: `reason` is the FcmError's code, or the status of an error that has none."""

    status: int
    reason: str
    message: str
    details: list[dict[str, Any]] = field(default_factory=list)
    headers: tuple[Header, ...] = ()

    def answer(self) -> Answer:
        """As JSON."""
        name = STATUS_OF_HTTP.get(self.status, "UNKNOWN")
        error: dict[str, Any] = {"code": self.status, "message": self.message, "status": name}
        if self.details:
            error["details"] = self.details
        body = json.dumps({"error": error}, indent=2).encode()
        return Answer(self.status, [JSON, *self.headers], body, self.reason)


def of_fcm(code: str, message: str = "", *, status: int | None = None, violated: str = "") -> Refusal:
    """An error with an FcmError and, if a field is `violated`, a BadRequest that names it."""
    message = message or _MESSAGES.get(code, code)
    details = [{"@type": f"{_TYPE}google.firebase.fcm.v1.FcmError", "errorCode": code}]
    if violated:
        details.append(_bad_request([(violated, message)]))
    return Refusal(status or HTTP_OF_CODE.get(code, 500), code, message, details)


def of_schema(violations: list[tuple[str, str]]) -> Refusal:
    """The request is not what the API's schema has: (field, description) of each fault; no FcmError."""
    message = "\n".join(description for _, description in violations)
    return Refusal(400, "INVALID_ARGUMENT", message, [_bad_request(violations)])


def of_google(status: int, message: str = "", *, info: str = "", headers: tuple[Header, ...] = ()) -> Refusal:
    """An error of what stands before FCM: no FcmError, at most an ErrorInfo with the reason `info`."""
    name = STATUS_OF_HTTP.get(status, "UNKNOWN")
    details = []
    if info:
        details.append({"@type": f"{_TYPE}google.rpc.ErrorInfo", "reason": info, "domain": "googleapis.com"})
    return Refusal(status, name, message or _MESSAGES.get(name, name), details, headers)


def of_quota(subject: str, description: str, status: int = 429) -> Refusal:
    """Too much for `subject`."""
    refusal = of_fcm("QUOTA_EXCEEDED", description, status=status)
    violations = [{"subject": subject, "description": description}]
    refusal.details.append({"@type": f"{_TYPE}google.rpc.QuotaFailure", "violations": violations})
    return refusal


def page(status: int, text: str) -> Answer:
    """An error of the front end, which speaks HTML."""
    body = f"<!DOCTYPE html>\n<html lang=en>\n<title>Error {status}</title>\n<p><b>{status}.</b> {text}\n".encode()
    return Answer(status, [HTML], body, STATUS_OF_HTTP.get(status, ""))


def _bad_request(violations: list[tuple[str, str]]) -> dict[str, Any]:
    told = [{"field": name, "description": description} for name, description in violations]
    return {"@type": f"{_TYPE}google.rpc.BadRequest", "fieldViolations": told}


def of_oauth(status: int, code: str, description: str) -> Answer:
    """An error of the token endpoint (RFC 6749 section 5.2)."""
    return Answer(status, [JSON], json.dumps({"error": code, "error_description": description}).encode(), code)
