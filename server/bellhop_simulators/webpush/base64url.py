"""Binary as the Web Push documents write it: base64url without padding (RFC 7515 section 2)."""

import base64
import re

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


def encode(data: bytes) -> str:
    """`data` in base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """What `text` stands for; ordinary base64 and padding are tolerated, as push services do.

    Raises:
        ValueError: neither alphabet, or a length that no octets have.
    """
    bare = text.rstrip("=").replace("+", "-").replace("/", "_")
    if not _ALPHABET.fullmatch(bare):
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
