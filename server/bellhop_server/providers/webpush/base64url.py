"""Octets as browsers write them: base64url without padding (RFC 7515 section 2)."""

import binascii

_ORDINARY = str.maketrans("-_", "+/")
_URL = bytes.maketrans(b"+/", b"-_")


def encode(data: bytes) -> str:
    """Without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_URL).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Ordinary base64 and padding are accepted too. Raises ValueError."""
    bare = text.rstrip("=").translate(_ORDINARY)
    return binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
