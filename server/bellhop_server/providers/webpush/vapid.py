"""VAPID (RFC 8292): the keys by which an application shows push services who it is, and the tokens signed by them."""

import re
from collections import OrderedDict
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jwt import encode

from bellhop_server.domain import SECOND
from bellhop_server.domain.application import VapidKey
from bellhop_server.ports import Clock
from bellhop_server.providers.webpush import base64url

# Seconds. Push services take a token up to a day before its end, so half of that leaves room for either clock.
LIFETIME = 12 * 3600
RENEW_AFTER = 6 * 3600.0
# Apple: not more often than hourly.
MIN_INTERVAL = 3600.0
LARGEST_SUBJECT = 256

# What is left of a token's time must be enough for requests on their way.
_MARGIN = 60
_KEPT = 4096

_SUBJECT = re.compile(
    r"(?:mailto:[^@<>?&,;\s]+@(?P<domain>[^@<>/?&,;:\s]+)|https://(?P<host>[^@<>/?#:\s]+)(?::[0-9]{1,5})?(?:[/?#][^<>\s]*)?)"
)
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")
_UNREAL = (".local", ".localhost", ".localdomain", ".invalid")


class KeyRefused(Exception):
    """The text of a key is not one that VAPID can use. The message is for the key's owner and never quotes it."""


def generate() -> VapidKey:
    """A new key pair."""
    return _key(ec.generate_private_key(ec.SECP256R1()))


def load(pem: str) -> VapidKey:
    """Reads a private key in PEM, on P-256 and not encrypted, whichever way it is packed. Raises KeyRefused."""
    if "ENCRYPTED" in pem:
        raise KeyRefused("is encrypted: a key without a password is needed")
    if "-----BEGIN PUBLIC KEY-----" in pem:
        raise KeyRefused("is a public key: the private one is needed")
    return _key(_private(pem))


def subject_problem(subject: str) -> str:
    """What is wrong with whom push services may write to, for its owner; empty: nothing.

    Apple answers BadJwtToken to a subject that cannot be real: without a domain of the Internet, with a space in it or
    angle brackets around the address.
    """
    if len(subject) > LARGEST_SUBJECT:
        return f"has more than {LARGEST_SUBJECT} characters"
    if not subject.isascii() or not subject.isprintable():
        return "holds characters other than printable ASCII"
    if " " in subject or "<" in subject or ">" in subject:
        return "holds a space or angle brackets, which Apple refuses: mailto:push@example.com"
    found = _SUBJECT.fullmatch(subject)
    if found is None:
        return "is neither mailto: with one address nor an https: URL"
    domain = (found["domain"] or found["host"]).lower()
    if not _DOMAIN.fullmatch(domain) or domain.endswith(_UNREAL):
        return "has no domain of the Internet in it, and Apple refuses that"
    return ""


class _Token(NamedTuple):
    """`ends`: seconds since the epoch, as it says itself; `made`: monotonic seconds."""

    header: bytes
    ends: int
    made: float


class VapidTokens:
    """Those of this process, one for each key, subject and origin; the ones used last are kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens: OrderedDict[tuple[str, str, str], _Token] = OrderedDict()

    def authorization(self, key: VapidKey, subject: str, origin: str) -> bytes:
        """The header's value for requests to `origin`: https://host, with a port if that is not 443.

        Raises KeyRefused when the stored key is not one.
        """
        name = (key.public_key, subject, origin)
        token = self._tokens.get(name)
        if token is None or not self._good(token):
            token = self._tokens[name] = self._make(key, subject, origin)
            if len(self._tokens) > _KEPT:
                self._tokens.popitem(last=False)
        self._tokens.move_to_end(name)
        return token.header

    def _good(self, token: _Token) -> bool:
        left = token.ends - self._clock.now() / SECOND
        if not _MARGIN < left <= LIFETIME + _MARGIN:
            # Its end is near, or the clock was set: then it is of no use, however young.
            return False
        return left > LIFETIME - RENEW_AFTER or self._clock.monotonic() - token.made < MIN_INTERVAL

    def _make(self, key: VapidKey, subject: str, origin: str) -> _Token:
        ends = self._clock.now() // SECOND + LIFETIME
        claims = {"aud": origin, "exp": ends, "sub": subject}
        text = encode(claims, _private(key.private_key), algorithm="ES256")
        return _Token(f"vapid t={text}, k={key.public_key}".encode(), ends, self._clock.monotonic())


def _private(pem: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyRefused("is not a readable private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyRefused("is not a key on the curve P-256")
    return key


def _key(private: ec.EllipticCurvePrivateKey) -> VapidKey:
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return VapidKey(base64url.encode(point), pem.decode())
