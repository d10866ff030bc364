"""Sealing of provider credentials at rest: AES-256-GCM (NIST SP 800-38D) under one master key.

A sealed blob is a format byte, 8 bytes that name the key, a random nonce of 12 bytes, and the ciphertext with its tag.
"""

import base64
import hashlib
import json
import os
import re
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, select

from bellhop_server.store.bulk import insert_many
from bellhop_server.store.tables import seals

_FORMAT = b"\x01"
_KEY_ID = 8
_NONCE = 12
_CANARY = b"the master key fits"


class KeyRefused(Exception):
    """The master key cannot be used. The text says why, holds no key, and is meant for whoever runs the server."""


class SealBroken(Exception):
    """What was sealed is damaged, or stands where something else was sealed."""


class MasterKey:
    """The key that all credentials of a database are sealed under."""

    def __init__(self, key: bytes) -> None:
        """Raises KeyRefused unless it has 32 bytes."""
        if len(key) != 32:
            raise KeyRefused(f"The master key has {len(key)} bytes; it must have 32.")
        self._id = hashlib.sha256(b"bellhop master key id" + key).digest()[:_KEY_ID]
        self._cipher = AESGCM(key)

    @classmethod
    def parse(cls, text: str) -> "MasterKey":
        """Reads 32 bytes written as base64 (either alphabet) or as 64 hexadecimal digits. Raises KeyRefused."""
        text = text.strip()
        if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
            return cls(bytes.fromhex(text))
        try:
            plain = text.rstrip("=").replace("-", "+").replace("_", "/")
            return cls(base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True))
        except ValueError:
            raise KeyRefused("The master key is neither base64 nor hexadecimal.") from None

    @classmethod
    def load_or_create(cls, path: Path) -> "MasterKey":
        """Reads the key in a file; makes the file with a new key, for its owner alone, if there is none.

        Raises KeyRefused, also when others may read the file.
        """
        try:
            if not path.exists():
                _create(path, base64.b64encode(secrets.token_bytes(32)) + b"\n")
            if path.stat().st_mode & 0o077:
                raise KeyRefused(f"Others may read {path}. Make it its owner's alone: chmod 600 {path}")
            text = path.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise KeyRefused(f"Cannot use {path}: {error}") from error
        return cls.parse(text)

    def seal(self, plain: bytes, *place: str | int) -> bytes:
        """Seals it for one place (application, kind, id, version): it opens there only."""
        nonce = secrets.token_bytes(_NONCE)
        return _FORMAT + self._id + nonce + self._cipher.encrypt(nonce, plain, _associated(place))

    def open(self, sealed: bytes, *place: str | int) -> bytes:
        """What was sealed for this place. Raises SealBroken."""
        head = len(_FORMAT) + _KEY_ID
        if sealed[:head] != _FORMAT + self._id:
            raise SealBroken("It was sealed under another key.")
        try:
            return self._cipher.decrypt(sealed[head : head + _NONCE], sealed[head + _NONCE :], _associated(place))
        except (InvalidTag, ValueError):
            raise SealBroken("It is damaged or stands in another's place.") from None


def verify_canary(connection: Connection, key: MasterKey) -> None:
    """Opens the canary that the first start has sealed. Raises KeyRefused if that was under another key."""
    insert_many(connection, seals, ("name", "sealed"), [("canary", key.seal(_CANARY, "canary"))], "DO NOTHING")
    sealed = connection.execute(select(seals.c.sealed).where(seals.c.name == "canary")).scalar_one()
    try:
        key.open(sealed, "canary")
    except SealBroken:
        raise KeyRefused(
            "The master key is not the one that this database was sealed under. Give the former one "
            "(BELLHOP_MASTER_KEY, or bellhop.key beside an embedded database)."
        ) from None


def _associated(place: tuple[str | int, ...]) -> bytes:
    # JSON, because it keeps ("ab", "c") and ("a", "bc") apart.
    return json.dumps(place).encode()


def _create(path: Path, content: bytes) -> None:
    # Linked into place as a whole: a crash leaves no half a key, and of two that start at once the second one reads.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if not path.exists():
            os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
