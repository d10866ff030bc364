"""Bytes as text: base64url without padding (RFC 4648 section 5), and whatever browsers and libraries write instead."""

import base64
import binascii
import re

_ANY = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")


def decode(text: str) -> bytes | None:
    """The bytes of a text in either alphabet of base64, padded or not; None: it is none."""
    if not _ANY.fullmatch(text):
        return None
    plain = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4))
    except binascii.Error:
        return None


def encode(raw: bytes) -> str:
    """The bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
