"""What a token is worth: OpenID Connect Core 1.0 section 3.1.3.7, RFC 9068, and Back-Channel Logout 1.0 section 2.6."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.types import Options

from bellhop_gateway.oidc.issuer import Issuer

LONGEST = 16 * 1024
SKEW = 60
"""Seconds that the provider's clock may differ from ours."""
LOGOUT_LIFE = 600
"""Seconds after its issue in which a logout token is taken, however long it says that it is good."""
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_SIGN_IN_TYPES = ("", "jwt", "at+jwt")
_LOGOUT_TYPES = ("", "jwt", "logout+jwt")
_LONGEST_USER = 512
_LONGEST_SESSION = 255
# What time it is, and whom a token is for, is looked at here: by our clock, and with more in mind.
_SIGNATURE_ALONE: Options = {
    "verify_signature": True,
    "verify_aud": False,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_iss": False,
}

_log = logging.getLogger(__name__)


class TokenRefused(Exception):
    """The token proves nothing. Its text is for the log, not for whoever showed it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is signed in, by which session (empty: it has no name), and since when (seconds since the epoch)."""

    user_id: str
    session_id: str
    issued: float


@dataclass(frozen=True, slots=True)
class Logout:
    """Whose sessions have ended: of a user, of one session, or of one session of a user; one of them may be empty.

    `token_id`: of the token that says so; empty: none does.
    """

    user_id: str
    session_id: str
    issued: float
    token_id: str = ""


class Tokens:
    """Verifies tokens of one provider for one audience."""

    def __init__(self, issuer: Issuer, audience: str, now: Callable[[], float]) -> None:
        """`now`: seconds since the epoch."""
        self._issuer = issuer
        self._audience = audience
        self._now = now

    async def sign_in(self, token: str) -> Identity:
        """Of an ID token, or of an access token that is one (RFC 9068). Raises TokenRefused, IssuerAway."""
        kind, claims = await self._verified(token, _SIGN_IN_TYPES)
        self._check_times(claims, ends=True)
        if "events" in claims:
            raise TokenRefused("it is a logout token, not one to sign in with")
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if len(audiences) > 1 and kind != "at+jwt" and claims.get("azp") != self._audience:
            raise TokenRefused("it was made for another party")
        user_id = _text(claims, "sub", _LONGEST_USER)
        if not user_id or user_id == "anonymous" or "\0" in user_id:
            raise TokenRefused("its subject cannot be a user")
        return Identity(user_id, _text(claims, "sid", _LONGEST_SESSION), float(claims["iat"]))

    async def logout(self, token: str) -> Logout:
        """Of a logout token. Raises TokenRefused, IssuerAway."""
        _, claims = await self._verified(token, _LOGOUT_TYPES)
        self._check_times(claims, ends=False)
        events = claims.get("events")
        if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
            raise TokenRefused("it does not say that somebody has logged out")
        if "nonce" in claims:
            raise TokenRefused("it has a nonce, as an ID token has")
        token_id, issued = _text(claims, "jti", _LONGEST_USER), float(claims["iat"])
        if not token_id:
            raise TokenRefused("it has no id")
        if issued <= self._now() - LOGOUT_LIFE - SKEW:
            raise TokenRefused("it is too old")
        user_id, session_id = _text(claims, "sub", _LONGEST_USER), _text(claims, "sid", _LONGEST_SESSION)
        if not user_id and not session_id:
            raise TokenRefused("it names nobody")
        return Logout(user_id, session_id, issued, token_id)

    async def _verified(self, token: str, kinds: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
        """Its type and its claims, signed by the issuer for the audience."""
        if len(token) > LONGEST:
            raise TokenRefused("it is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise TokenRefused("it is no signed token") from None
        algorithm, kid, kind = header.get("alg"), header.get("kid"), str(header.get("typ") or "")
        kind = kind.lower().removeprefix("application/")
        if kind not in kinds or "crit" in header or not isinstance(algorithm, str):
            raise TokenRefused("it is of another type")
        keys = await self._issuer.keys(kid if isinstance(kid, str) else None, algorithm)
        for key in keys:
            try:
                claims = jwt.decode(token, key.key, algorithms=[algorithm], options=_SIGNATURE_ALONE)
            except jwt.InvalidTokenError:
                continue
            self._check_parties(claims)
            return kind, claims
        raise TokenRefused("no key of the provider has signed it")

    def _check_parties(self, claims: dict[str, Any]) -> None:
        audience = claims.get("aud")
        if claims.get("iss") != self._issuer.name:
            raise TokenRefused("it is of another provider")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenRefused("it is for somebody else")

    def _check_times(self, claims: dict[str, Any], *, ends: bool) -> None:
        now = self._now()
        issued, end, begin = (_seconds(claims, name) for name in ("iat", "exp", "nbf"))
        if issued is None or issued > now + SKEW:
            raise TokenRefused("it was issued in the future, or nobody knows when")
        if begin is not None and begin > now + SKEW:
            raise TokenRefused("it is not good yet")
        if (end is None and ends) or (end is not None and end <= now - SKEW):
            raise TokenRefused("its time is over")


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise TokenRefused(f"its {name} is no time")
    return float(value)


def _text(claims: dict[str, Any], name: str, longest: int) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > longest:
        raise TokenRefused(f"its {name} is no text, or too long")
    return value
