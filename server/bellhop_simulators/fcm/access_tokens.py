"""Access tokens: granted for a signed assertion (RFC 7523), good for an hour, revoked.

From Google's page "Using OAuth 2.0 for Server to Server Applications".
"""

import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import jwt
from jwt.types import Options

from bellhop_simulators.clock import Clock
from bellhop_simulators.fcm.service_accounts import ServiceAccount, ServiceAccounts

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES = frozenset(
    {"https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"}
)
LIFETIME = 3599.0
"""Seconds for which a token is good unless the simulator is told otherwise."""
MAX_ASSERTION = 3600.0
"""Seconds between `iat` and `exp` at most."""
MAX_SKEW = 300.0
"""Seconds by which the clock of whoever signs may be off."""

_FAR_FUTURE = 1e12


class AssertionRefused(Exception):
    """No token for this request: `code` of RFC 6749 section 5.2 and a description; answered with 400."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code


@dataclass(eq=False, slots=True)
class AccessToken:
    """One that was granted; `expires` in seconds since the epoch."""

    text: str
    account: ServiceAccount
    key_id: str
    expires: float
    revoked: bool = False


class AccessTokens:
    """All tokens of a run. Change `lifetime` (seconds) for those to come; `granted` counts."""

    def __init__(self, accounts: ServiceAccounts, clock: Clock) -> None:
        self.lifetime = LIFETIME
        self.granted = 0
        self._accounts = accounts
        self._clock = clock
        self._tokens: dict[str, AccessToken] = {}

    def grant(self, body: bytes, audiences: set[str]) -> AccessToken:
        """Answer a form; the assertion must be for one of `audiences`.

        Raises:
            AssertionRefused: with what Google says.
        """
        form = parse_qs(body.decode("utf-8", "replace"))
        if form.get("grant_type") != [GRANT_TYPE]:
            raise AssertionRefused("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', [''])[0]}")
        if len(form.get("assertion", [])) != 1:
            raise AssertionRefused("invalid_request", "Missing parameter: assertion")
        account, claims = self._verify(form["assertion"][0])
        self._check(claims, audiences)
        self._forget_expired()
        text = f"ya29.{secrets.token_urlsafe(48)}"
        token = AccessToken(text, account, account.private_key_id, self._clock.now() + self.lifetime)
        self._tokens[text] = token
        self.granted += 1
        return token

    def revoke_all(self) -> None:
        """None of those granted so far is good any more."""
        for token in self._tokens.values():
            token.revoked = True

    def find(self, authorization: str | None) -> AccessToken | None:
        """The good token of an `authorization` header; None if it is missing, unknown, expired or revoked."""
        scheme, _, text = (authorization or "").partition(" ")
        token = self._tokens.get(text.strip()) if scheme.lower() == "bearer" else None
        if token is None or token.revoked or token.account.revoked or token.expires <= self._clock.now():
            return None
        return token

    def _verify(self, assertion: str) -> tuple[ServiceAccount, dict[str, Any]]:
        # Time is judged by our own clock, the audience by who was called.
        unchecked: Options = {"verify_iat": False, "verify_exp": False, "verify_nbf": False, "verify_aud": False}
        try:
            unverified = jwt.decode(assertion, options={**unchecked, "verify_signature": False})
            header = jwt.get_unverified_header(assertion)
        except jwt.InvalidTokenError:
            raise AssertionRefused("invalid_grant", "Invalid JWT: not a JWT") from None
        account = self._accounts.get(str(unverified.get("iss")))
        if account is None or account.revoked:
            raise AssertionRefused("invalid_grant", "Invalid grant: account not found")
        try:
            if header.get("kid", account.private_key_id) != account.private_key_id:
                raise jwt.InvalidTokenError
            public_key = account.private_key.public_key()
            return account, jwt.decode(assertion, public_key, algorithms=["RS256"], options=unchecked)
        except jwt.InvalidTokenError:
            raise AssertionRefused("invalid_grant", "Invalid JWT Signature.") from None

    def _check(self, claims: dict[str, Any], audiences: set[str]) -> None:
        if not self._timely(claims.get("iat"), claims.get("exp")):
            told = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
            raise AssertionRefused("invalid_grant", told)
        if str(claims.get("aud")) not in audiences:
            raise AssertionRefused("invalid_grant", "Invalid JWT: Failed audience check.")
        scopes = claims.get("scope")
        if not isinstance(scopes, str) or SCOPES.isdisjoint(scopes.split()):
            raise AssertionRefused("invalid_scope", "Invalid OAuth scope or ID token audience provided.")

    def _timely(self, issued: Any, expires: Any) -> bool:
        if not _is_time(issued) or not _is_time(expires):
            return False
        now = self._clock.now()
        return bool(0 < expires - issued <= MAX_ASSERTION and issued - MAX_SKEW <= now < expires + MAX_SKEW)

    def _forget_expired(self) -> None:
        now = self._clock.now()
        self._tokens = {text: token for text, token in self._tokens.items() if token.expires > now}


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FAR_FUTURE
