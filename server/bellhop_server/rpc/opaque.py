"""Opaque tokens: a value and a checksum of what it belongs to, in URL-safe base64.

The checksum tells a token of ours, for the same purpose, from anything else. It is no signature: a token carries no
authority, whoever makes one up gets no more than with a request of their own.
"""

import base64
import binascii
import hashlib
from functools import lru_cache

_CHECKSUM_BYTES = 8


def seal(value: bytes, belongs_to: bytes) -> str:
    """The token of a value."""
    return base64.urlsafe_b64encode(_checksum(value, belongs_to) + value).rstrip(b"=").decode()


def unseal(token: str, belongs_to: bytes) -> bytes | None:
    """The value; None when the token is not ours or belongs to something else."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    value = raw[_CHECKSUM_BYTES:]
    return value if token == seal(value, belongs_to) else None


def _checksum(value: bytes, belongs_to: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=_CHECKSUM_BYTES, key=_key(belongs_to)).digest()


# The events of a message come close together.
@lru_cache(maxsize=4096)
def _key(belongs_to: bytes) -> bytes:
    return hashlib.sha256(belongs_to).digest()
