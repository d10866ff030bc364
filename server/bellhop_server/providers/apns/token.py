"""Provider tokens: the JWTs by which a team shows that it may send.

Apple, "Establishing a token-based connection to APNs": ES256, an hour old at most, and a new one at most every 20
minutes. That limit was seen to hold across the connections of one address too, so there is one token for each key and
environment, and whatever sends under that key shares it.
"""

import hashlib
import math
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt import encode

from bellhop_server.domain import SECOND
from bellhop_server.domain.application import ApnsCredential
from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.ports import Clock

RENEW_AFTER = 40 * 60.0
MIN_INTERVAL = 20 * 60.0
MAX_AGE = 60 * 60.0

# A token from the future is refused, and Apple's clock may be a little behind ours.
_BACKDATED = 10
# What is left of a token's hour must be enough for requests on their way.
_MARGIN = 60.0
_KEPT = 256

TokenKey = tuple[ApnsEnvironment, str, str, bytes]


class KeyRefused(Exception):
    """The text of a key is not one that APNs can use. The message never quotes it."""


def load_key(p8: str) -> ec.EllipticCurvePrivateKey:
    """The private key in a `.p8` file as Apple gives it out: PKCS #8 in PEM, on P-256, not encrypted.

    Raises KeyRefused.
    """
    if "-----BEGIN PRIVATE KEY-----" not in p8:
        raise KeyRefused("is not a .p8 file: PKCS #8 in PEM, not encrypted")
    try:
        key = load_pem_private_key(p8.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyRefused("is not a readable private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyRefused("is not a key on the curve P-256")
    return key


def check_key(credential: ApnsCredential) -> str:
    """What is wrong with the text of the key, for its owner; empty: nothing. Asks nobody."""
    try:
        load_key(credential.p8)
    except KeyRefused as error:
        return str(error)
    return ""


class _Jwt(NamedTuple):
    """`issued`: seconds since the epoch, as it says itself; `made`: monotonic seconds."""

    text: str
    issued: int
    made: float


class ProviderToken:
    """The token of one key in one environment."""

    def __init__(self, credential: ApnsCredential, clock: Clock) -> None:
        """Raises KeyRefused."""
        self._key = load_key(credential.p8)
        self._key_id = credential.key_id
        self._team_id = credential.team_id
        self._clock = clock
        self._jwt: _Jwt | None = None
        self._former: _Jwt | None = None
        self._fallen_back = False
        self._renewable = -math.inf

    def current(self) -> str:
        """The token to send now: a new one when it is time, or when the clock jumped and the old one is useless."""
        jwt, now = self._jwt, self._clock.monotonic()
        if jwt is None or not self._good(jwt):
            return self._renew(now)
        if max(self._age(jwt), now - jwt.made) >= RENEW_AFTER and now >= self._renewable:
            return self._renew(now)
        return jwt.text

    def expired(self) -> None:
        """APNs called the current token too old: makes another, unless this one is too young for that."""
        now = self._clock.monotonic()
        if now >= self._renewable:
            self._renew(now)

    def too_many(self) -> bool:
        """APNs refused the current token as an update too many: goes back to the one before, while that is good.

        False: there is none, and this is not the one before already.
        """
        if self._former is not None and self._good(self._former):
            self._jwt, self._former = self._former, None
            self._fallen_back = True
            self._renewable = self._clock.monotonic() + MIN_INTERVAL
        return self._fallen_back

    def idle(self) -> bool:
        """Whether the last one is over, so that nothing is lost by forgetting it."""
        return self._jwt is None or self._clock.monotonic() - self._jwt.made > MAX_AGE

    def _age(self, jwt: _Jwt) -> float:
        return self._clock.now() / SECOND - jwt.issued

    def _good(self, jwt: _Jwt) -> bool:
        return 0 <= self._age(jwt) < MAX_AGE - _MARGIN

    def _renew(self, now: float) -> str:
        issued = self._clock.now() // SECOND - _BACKDATED
        claims = {"iss": self._team_id, "iat": issued}
        text = encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})
        self._former, self._jwt = self._jwt, _Jwt(text, issued, now)
        self._fallen_back = False
        self._renewable = now + MIN_INTERVAL
        return text


class ProviderTokens:
    """All tokens of this process. They outlive the credentials that asked for them, as Apple's memory does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens: dict[TokenKey, ProviderToken] = {}

    def of(self, credential: ApnsCredential, environment: ApnsEnvironment) -> ProviderToken:
        """The one token for that key there. Raises KeyRefused."""
        key = token_key(credential, environment)
        token = self._tokens.get(key)
        if token is None:
            if len(self._tokens) >= _KEPT:
                self._tokens = {key: token for key, token in self._tokens.items() if not token.idle()}
            token = self._tokens[key] = ProviderToken(credential, self._clock)
        return token


def token_key(credential: ApnsCredential, environment: ApnsEnvironment) -> TokenKey:
    """What makes two credentials the same to APNs: also the text, or a slip could not be mended under the same id."""
    return environment, credential.team_id, credential.key_id, hashlib.sha256(credential.p8.encode()).digest()
