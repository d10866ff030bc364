"""Apple's rules for provider tokens ("Establishing a token-based connection to APNs").

An ES256 JWT with `kid`, `iss` (team) and `iat` (seconds); at most an hour old; on one connection a new one at most
every 20 minutes, always of the same team, and of keys related to the first.
"""

from dataclasses import dataclass, field
from typing import Any

import jwt
from jwt.types import Options

from bellhop_simulators.apns.keys import ApnsKey, ApnsKeys
from bellhop_simulators.clock import Clock

MAX_AGE = 3600.0
"""Seconds after `iat` in which a token is good."""
MIN_UPDATE_INTERVAL = 1200.0
"""Seconds between two tokens on one connection."""

_CACHED = 1024
_FAR_FUTURE = 1e12


@dataclass(slots=True)
class Session:
    """What the first accepted token of a connection fixed, and the tokens seen since."""

    team_id: str = ""
    key_id: str = ""
    topics: frozenset[str] = frozenset()
    tokens: set[str] = field(default_factory=set)
    updated: float = 0.0

    @property
    def authenticated(self) -> bool:
        """Whether a token was accepted."""
        return bool(self.tokens)


@dataclass(frozen=True, slots=True)
class _Claims:
    key: ApnsKey
    issued: float


class ProviderTokens:
    """Checks `authorization` headers."""

    def __init__(self, keys: ApnsKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._verified: dict[str, _Claims] = {}

    def check(self, session: Session, authorization: str | None, environment: str) -> str:
        """The reason for which APNs refuses; empty if it does not. `session` learns from what is accepted.

        A token that is refused as an update too many does not count as seen: it is refused until 20 minutes have passed
        since the last one accepted.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return "MissingProviderToken"
        claims = self._claims(token)
        if claims is None or claims.key.revoked:
            return "InvalidProviderToken"
        key, now = claims.key, self._clock.now()
        if environment not in key.environments:
            return "BadEnvironmentKeyIdInToken"
        if claims.issued > now:
            return "InvalidProviderToken"
        if now - claims.issued >= MAX_AGE:
            return "ExpiredProviderToken"
        if token in session.tokens:
            return ""
        if not session.authenticated:
            session.team_id, session.key_id, session.topics = key.team_id, key.key_id, frozenset(key.topics)
        elif key.team_id != session.team_id:
            return "InvalidProviderToken"
        elif not self._related(key, session.key_id):
            return "UnrelatedKeyIdInToken"
        elif now - session.updated < MIN_UPDATE_INTERVAL:
            return "TooManyProviderTokenUpdates"
        session.tokens.add(token)
        session.updated = now
        return ""

    def key_id(self, authorization: str | None) -> str:
        """The key that a token names, if its signature is right; else empty."""
        claims = self._verified.get((authorization or "").partition(" ")[2])
        return claims.key.key_id if claims else ""

    def _related(self, key: ApnsKey, first: str) -> bool:
        if key.key_id == first or key.related_to == first:
            return True
        known = self._keys.get(first)
        return known is not None and known.related_to == key.key_id

    def _claims(self, token: str) -> _Claims | None:
        known = self._verified.get(token)
        if known is None:
            known = self._verify(token)
            if known is not None:
                if len(self._verified) >= _CACHED:
                    self._verified.clear()
                self._verified[token] = known
        return known

    def _verify(self, token: str) -> _Claims | None:
        try:
            header: dict[str, Any] = jwt.get_unverified_header(token)
            key = self._keys.get(str(header.get("kid")))
            if key is None:
                return None
            # Time is judged by our own clock at each request, and there is no audience.
            unchecked: Options = {"verify_iat": False, "verify_exp": False, "verify_nbf": False, "verify_aud": False}
            claims = jwt.decode(token, key.private_key.public_key(), algorithms=["ES256"], options=unchecked)
        except jwt.InvalidTokenError:
            return None
        issued = claims.get("iat")
        if claims.get("iss") != key.team_id or not isinstance(issued, int | float) or isinstance(issued, bool):
            return None
        if not abs(issued) < _FAR_FUTURE:  # NaN and Infinity too, which Python reads.
            return None
        return _Claims(key, float(issued))
