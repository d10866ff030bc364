"""Encryption of one push (RFC 8291) into one record of `aes128gcm` (RFC 8188).

Nearly all of its time goes into the key pair that each message needs of its own, and into the exchange with the
browser's.
"""

import os
from hmac import digest
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bellhop_server.providers.webpush import base64url

LARGEST_BODY = 4096
"""Bytes that a push service may not refuse (RFC 8030 section 7.2), and the size of our records."""
OVERHEAD = 103
"""Bytes of header, delimiter and tag."""
LARGEST_PLAINTEXT = LARGEST_BODY - OVERHEAD

_CURVE = ec.SECP256R1()
_EXCHANGE = ec.ECDH()
_POINT = 65
_AUTH = 16
_SALT = 16
# The one and only block of HKDF-Expand ends with its number (RFC 5869 section 2.3).
_KEY_INFO = b"WebPush: info\0"
_CEK_INFO = b"Content-Encoding: aes128gcm\0\1"
_NONCE_INFO = b"Content-Encoding: nonce\0\1"
_RECORD_AND_ID_LENGTH = LARGEST_BODY.to_bytes(4, "big") + bytes([_POINT])
_LAST_RECORD = b"\2"


class Recipient(NamedTuple):
    """A browser's keys: its public key, also as a point of 65 octets, and its secret of 16."""

    key: ec.EllipticCurvePublicKey
    point: bytes
    auth: bytes


def recipient(p256dh: str, auth: str) -> Recipient:
    """Reads the keys of a subscription, base64 of either alphabet. Raises ValueError, with a text for their owner."""
    point = _decode("p256dh", p256dh, _POINT)
    secret = _decode("auth", auth, _AUTH)
    try:
        # This refuses what is not on the curve.
        key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)
    except ValueError:
        raise ValueError("p256dh is not a point on P-256") from None
    return Recipient(key, point, secret)


def encrypt(plaintext: bytes, to: Recipient) -> bytes:
    """The body of a push of up to `LARGEST_PLAINTEXT` bytes. Raises ValueError for more."""
    return seal(plaintext, to, ec.generate_private_key(_CURVE), os.urandom(_SALT))


def seal(plaintext: bytes, to: Recipient, key: ec.EllipticCurvePrivateKey, salt: bytes) -> bytes:
    """As `encrypt`, with the message's own key pair and salt given. Neither may ever be used again."""
    if len(plaintext) > LARGEST_PLAINTEXT:
        raise ValueError(f"a push carries {LARGEST_PLAINTEXT} bytes at most")
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = digest(to.auth, key.exchange(_EXCHANGE, to.key), "sha256")
    keying = digest(shared, _KEY_INFO + to.point + point + b"\1", "sha256")
    secret = digest(salt, keying, "sha256")
    cek = digest(secret, _CEK_INFO, "sha256")[:16]
    nonce = digest(secret, _NONCE_INFO, "sha256")[:12]
    record = AESGCM(cek).encrypt(nonce, plaintext + _LAST_RECORD, None)
    return salt + _RECORD_AND_ID_LENGTH + point + record


def _decode(name: str, text: str, size: int) -> bytes:
    try:
        octets = base64url.decode(text)
    except ValueError:
        raise ValueError(f"{name} is not base64url") from None
    if len(octets) != size:
        raise ValueError(f"{name} is not of {size} bytes")
    if size == _POINT and octets[0] != 4:
        raise ValueError(f"{name} is not an uncompressed point")
    return octets
