"""Decrypts a push as a browser does: RFC 8291 over one record of RFC 8188 (`aes128gcm`).

Body: salt (16) | record size (4, big-endian) | key id length (1) | the sender's ECDH public key (65) | one record of
AES-128-GCM, whose plaintext ends with the octet 2 and padding of zeros.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_SALT = 16
_FIXED_HEADER = _SALT + 4 + 1
_POINT = 65
_TAG = 16
_MIN_RECORD_SIZE = 18
_LAST_RECORD = 2


class UndecryptableError(ValueError):
    """A browser could not read the body; the text says why."""


def public_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    """The 65 octets of an uncompressed point."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def public_key(point: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 key of 65 octets.

    Raises:
        ValueError: not an uncompressed point, or none on the curve.
    """
    if len(point) != _POINT or point[0] != 4:
        raise ValueError("not 65 octets that begin with 4")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def sender_key(body: bytes) -> bytes:
    """The key id of the body's header, which is the sender's ECDH public key; empty if the body has none."""
    if len(body) < _FIXED_HEADER:
        return b""
    return body[_FIXED_HEADER : _FIXED_HEADER + body[_FIXED_HEADER - 1]]


def decrypt(body: bytes, private_key: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """The plaintext of `body`, which was encrypted for the browser's `private_key` and `auth`.

    Raises:
        UndecryptableError: not `aes128gcm` as RFC 8291 has it, or encrypted for somebody else.
    """
    if len(body) < _FIXED_HEADER:
        raise UndecryptableError(f"{len(body)} octets, which do not hold a header")
    salt, record_size = body[:_SALT], int.from_bytes(body[_SALT : _SALT + 4], "big")
    point = sender_key(body)
    if record_size < _MIN_RECORD_SIZE:
        raise UndecryptableError(f"record size {record_size} is below {_MIN_RECORD_SIZE}")
    try:
        sender = public_key(point)
    except ValueError as error:
        raise UndecryptableError(f"the key id is no P-256 point: {error}") from error
    record = body[_FIXED_HEADER + _POINT :]
    if len(record) > record_size:
        raise UndecryptableError("more than one record")
    if len(record) <= _TAG:
        raise UndecryptableError("the record holds no octet")
    key, nonce = _content_key(salt, private_key, sender, point, auth)
    try:
        padded = AESGCM(key).decrypt(nonce, record, None)
    except InvalidTag:
        raise UndecryptableError("the authentication tag is wrong: other keys, or altered") from None
    plain = padded.rstrip(b"\0")
    if not plain or plain[-1] != _LAST_RECORD:
        raise UndecryptableError("the padding has no delimiter of a last record")
    return plain[:-1]


def _content_key(
    salt: bytes, private_key: ec.EllipticCurvePrivateKey, sender: ec.EllipticCurvePublicKey, point: bytes, auth: bytes
) -> tuple[bytes, bytes]:
    shared = private_key.exchange(ec.ECDH(), sender)
    material = _hkdf(auth, shared, b"WebPush: info\0" + public_bytes(private_key.public_key()) + point, 32)
    key = _hkdf(salt, material, b"Content-Encoding: aes128gcm\0", 16)
    return key, _hkdf(salt, material, b"Content-Encoding: nonce\0", 12)


def _hkdf(salt: bytes, material: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(material)
