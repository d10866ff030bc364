"""Asking Google for an access token: a signed assertion for it, and what comes back.

Google, "Using OAuth 2.0 for Server to Server Applications"; RFC 7523 for the request, RFC 6749 section 5 for the
answer. The endpoint is the one that is configured, whatever a key file says.
"""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from jwt import encode

from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.application import FcmCredential
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.ports import Clock
from bellhop_server.providers.backlog import Failure
from bellhop_server.providers.engine import Reply
from bellhop_server.providers.fcm.service_account import KeyRefused, load_key
from bellhop_server.providers.fcm.settings import FcmSettings
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.pool import Pool
from bellhop_server.providers.question import ask
from bellhop_server.providers.reasons import Reason, quote
from bellhop_server.providers.retry_after import retry_after

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SECONDS = 8.0
LIMITS = Limits(connections=1, setup=SECONDS, answer=SECONDS)

CLOCK_SKEW = "ClockSkew"
"""The reason when an assertion is refused and our clock is not Google's."""

# An assertion from the future is refused, and Google's clock may be a little behind ours.
_BACKDATED = 10
_HOUR = 3600
# Google is generous by about this much.
_MOST_SKEW = 300.0
# For answers that do not tell how long a token lasts, or tell nonsense.
_UNTOLD = 600.0
_LONGEST = 12 * 3600.0
_TOKEN = re.compile(r"[!-~]{1,4096}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Grant:
    """An access token, good for so many seconds from when it was asked for."""

    token: str = field(repr=False)
    lifetime: float


class TokenEndpoint:
    """Where access tokens come from. `pool` makes one to it; what is granted, or why not, is logged without secrets."""

    def __init__(self, settings: FcmSettings, clock: Clock, pool: Callable[[], Pool]) -> None:
        self._settings = settings
        self._clock = clock
        self._pool = pool

    def assertion(self, credential: FcmCredential) -> str:
        """What the account signs to be given a token. Raises KeyRefused."""
        issued = self._clock.now() // SECOND - _BACKDATED
        claims = {
            "iss": credential.client_email,
            "scope": SCOPE,
            "aud": self._settings.token_url,
            "iat": issued,
            "exp": issued + _HOUR,
        }
        key = load_key(credential.private_key)
        return encode(claims, key, algorithm="RS256", headers={"kid": credential.private_key_id})

    async def grant(self, credential: FcmCredential) -> Grant | Answer:
        """A new token, or why there is none: CREDENTIALS_INVALID is for good, NOT_SENT passes. Takes `SECONDS` at most,
        and a little for what is in between.
        """
        try:
            form = urlencode({"grant_type": GRANT_TYPE, "assertion": self.assertion(credential)}).encode()
        except KeyRefused:
            return Answer(Verdict.CREDENTIALS_INVALID, reason=Reason.KEY_UNREADABLE.value)
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", self._settings.token_origin.authority.encode()),
            (b":path", self._settings.token_path.encode()),
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"accept", b"application/json"),
        ]
        reply = await ask(self._pool(), headers, form, self._clock.monotonic() + SECONDS)
        result = read_grant(reply, self._clock.now())
        if isinstance(result, Answer):
            told = {"client_email": credential.client_email, "status": result.status, "reason": result.reason}
            detail = reply.detail if isinstance(reply, Failure) else _description(reply)
            _log.warning("Google gave no access token", extra={**told, "detail": quote(detail)})
        return result


def read_grant(reply: Reply | Failure, now: Micros) -> Grant | Answer:
    """What the token endpoint's answer means."""
    if isinstance(reply, Failure):
        return _passing(0, reply.reason.value)
    told = _object(reply.body)
    if reply.status == 200:
        return _read_token(told) or _passing(200, "unreadable")
    error = told.get("error")
    if reply.status in (400, 401, 403) and isinstance(error, str) and error:
        reason = CLOCK_SKEW if error == "invalid_grant" and _is_skewed(reply, now) else quote(error)
        return Answer(Verdict.CREDENTIALS_INVALID, reply.status, reason)
    return _passing(reply.status, f"HTTP {reply.status}", retry_after(reply.header(b"retry-after"), now))


def _read_token(told: dict[str, Any]) -> Grant | None:
    token, kind, lifetime = told.get("access_token"), told.get("token_type", "Bearer"), told.get("expires_in")
    if not (isinstance(token, str) and _TOKEN.fullmatch(token) and isinstance(kind, str) and kind.lower() == "bearer"):
        return None
    if isinstance(lifetime, bool) or not isinstance(lifetime, int | float) or not lifetime > 0:
        lifetime = _UNTOLD
    return Grant(token, min(lifetime, _LONGEST))


def _passing(status: int, reason: str, seconds: float | None = None) -> Answer:
    """Named so that nobody looks for the trouble at FCM itself."""
    return Answer(Verdict.NOT_SENT, status, f"AccessToken: {reason}", retry_after=seconds)


def _is_skewed(reply: Reply, now: Micros) -> bool:
    try:
        date = parsedate_to_datetime((reply.header(b"date") or b"").decode("ascii")).timestamp()
    except (ValueError, OverflowError):
        return False
    return abs(date - now / SECOND) > _MOST_SKEW


def _description(reply: Reply) -> str:
    description = _object(reply.body).get("error_description")
    return description if isinstance(description, str) else ""


def _object(body: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}
