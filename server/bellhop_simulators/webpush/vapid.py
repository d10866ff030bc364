"""VAPID (RFC 8292): who sends, read from a request and checked as far as all push services check it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import jwt
from jwt.types import Options

from bellhop_simulators.webpush import base64url
from bellhop_simulators.webpush.decryption import public_key

MAX_LIFETIME = 86_400.0
"""Seconds that `exp` may lie ahead (section 2)."""

_CACHED = 4096
_FAR_FUTURE = 1e12


class VapidFault(StrEnum):
    """What is wrong, in the order of the checks; the value is a text for humans."""

    MISSING = "no Authorization"
    UNREADABLE = "Authorization is neither `vapid t=..., k=...` nor `WebPush ...` with Crypto-Key"
    NO_KEY = "no public key"
    BAD_KEY = "the public key is not a P-256 point of 65 octets"
    NO_JWT = "not a JWT signed with ES256"
    SIGNATURE = "the signature is not of the key"
    AUDIENCE = "aud is not the origin of the endpoint"
    NO_EXPIRY = "exp is no number"
    EXPIRED = "exp has passed"
    TOO_LONG = "exp is more than 24 hours ahead"


@dataclass(frozen=True, slots=True)
class Vapid:
    """What a request says of its sender. `fault` is None if it is good; `public_key` is empty if it names none."""

    fault: VapidFault | None
    public_key: bytes = b""
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    fault: VapidFault | None
    public_key: bytes = b""
    claims: dict[str, Any] = field(default_factory=dict)


class VapidTokens:
    """Checks Authorization headers; a token that comes again costs no second signature check."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Token] = {}

    def check(self, authorization: str | None, crypto_key: str | None, origin: str, now: float) -> Vapid:
        """Read the headers of a push to an endpoint of `origin`, at `now` seconds since the epoch."""
        if authorization is None:
            return Vapid(VapidFault.MISSING)
        token, encoded = _parse(authorization, crypto_key)
        if not token:
            return Vapid(VapidFault.UNREADABLE)
        if not encoded:
            return Vapid(VapidFault.NO_KEY)
        read = self._read(token, encoded)
        subject = read.claims.get("sub")
        fault = read.fault or _judge(read.claims, origin, now)
        return Vapid(fault, read.public_key, subject if isinstance(subject, str) else None)

    def _read(self, token: str, encoded: str) -> _Token:
        read = self._seen.get((token, encoded))
        if read is None:
            read = _verify(token, encoded)
            if len(self._seen) >= _CACHED:
                self._seen.clear()
            self._seen[token, encoded] = read
        return read


def _parse(authorization: str, crypto_key: str | None) -> tuple[str, str]:
    """Token and encoded key; section 3, and the draft's `WebPush <jwt>` with `Crypto-Key: p256ecdsa=...`."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() == "vapid":
        parameters = _parameters(rest, ",")
        return parameters.get("t", ""), parameters.get("k", "")
    if scheme.lower() in ("webpush", "bearer"):
        return rest.strip(), _parameters((crypto_key or "").replace(";", ","), ",").get("p256ecdsa", "")
    return "", ""


def _parameters(text: str, separator: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in text.split(separator))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _verify(token: str, encoded: str) -> _Token:
    try:
        point = base64url.decode(encoded)
        key = public_key(point)
    except ValueError:
        return _Token(VapidFault.BAD_KEY)
    # Time and audience are judged by our own clock at each request.
    unchecked: Options = {
        "verify_exp": False,
        "verify_nbf": False,
        "verify_iat": False,
        "verify_aud": False,
        "verify_sub": False,
    }
    try:
        claims = jwt.decode(token, key, algorithms=["ES256"], options=unchecked)
    except jwt.InvalidSignatureError:
        return _Token(VapidFault.SIGNATURE, point)
    except jwt.InvalidTokenError:
        return _Token(VapidFault.NO_JWT, point)
    return _Token(None, point, claims)


def _judge(claims: dict[str, Any], origin: str, now: float) -> VapidFault | None:
    expiry = claims.get("exp")
    if claims.get("aud") != origin:
        return VapidFault.AUDIENCE
    if not isinstance(expiry, int | float) or isinstance(expiry, bool) or not abs(expiry) < _FAR_FUTURE:
        return VapidFault.NO_EXPIRY  # NaN and Infinity too, which Python reads.
    if expiry <= now:
        return VapidFault.EXPIRED
    return VapidFault.TOO_LONG if expiry > now + MAX_LIFETIME else None
