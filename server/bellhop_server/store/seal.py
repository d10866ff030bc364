"""Sealing of provider credentials at rest: AES-256-GCM (NIST SP 800-38D) under a master key.

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
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection, select, update

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
    """The key that the credentials of a database are sealed under, and former ones, which only open."""

    def __init__(self, key: bytes, *former: bytes) -> None:
        """Raises KeyRefused unless each has 32 bytes."""
        self._keys: dict[bytes, bytes] = {}
        for each in (key, *former):
            if len(each) != 32:
                raise KeyRefused(f"The master key has {len(each)} bytes; it must have 32.")
            self._keys[hashlib.sha256(b"bellhop master key id" + each).digest()[:_KEY_ID]] = each
        self._ciphers = {key_id: AESGCM(each) for key_id, each in self._keys.items()}
        self._id = next(iter(self._keys))

    @property
    def rotating(self) -> bool:
        """Whether there are former ones."""
        return len(self._ciphers) > 1

    @classmethod
    def parse(cls, text: str) -> "MasterKey":
        """Reads keys separated by commas or line ends, the present one first.

        Each is 32 bytes written as base64 (either alphabet) or as 64 hexadecimal digits. Raises KeyRefused.
        """
        return cls(*map(_decode, _split(text)))

    @classmethod
    def load_or_create(cls, path: Path) -> "MasterKey":
        """Reads the key in a file; makes the file with a new key, for its owner alone, if there is none.

        Raises KeyRefused, also when others may read the file.
        """
        try:
            if not path.exists():
                _create(path, _new_key())
            if path.stat().st_mode & 0o077:
                raise KeyRefused(f"Others may read {path}. Make it its owner's alone: chmod 600 {path}")
            text = path.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise KeyRefused(f"Cannot use {path}: {error}") from error
        return cls.parse(text)

    def derive(self, purpose: bytes) -> dict[str, bytes]:
        """A key of 32 bytes for that purpose from each of them, by its id, the present one first (RFC 5869)."""
        return {
            key_id.hex(): HKDF(SHA256(), 32, salt=None, info=b"bellhop " + purpose).derive(each)
            for key_id, each in self._keys.items()
        }

    def seal(self, plain: bytes, *place: str | int) -> bytes:
        """Seals it for one place (application, kind, id, version): it opens there only."""
        nonce = secrets.token_bytes(_NONCE)
        return _FORMAT + self._id + nonce + self._ciphers[self._id].encrypt(nonce, plain, _associated(place))

    def has_sealed(self, sealed: bytes) -> bool:
        """Whether it was the present key."""
        return sealed.startswith(_FORMAT + self._id)

    def open(self, sealed: bytes, *place: str | int) -> bytes:
        """What was sealed for this place. Raises SealBroken."""
        head = len(_FORMAT) + _KEY_ID
        cipher = self._ciphers.get(sealed[len(_FORMAT) : head])
        if cipher is None or not sealed.startswith(_FORMAT):
            raise SealBroken("It was sealed under another key.")
        try:
            return cipher.decrypt(sealed[head : head + _NONCE], sealed[head + _NONCE :], _associated(place))
        except (InvalidTag, ValueError):
            raise SealBroken("It is damaged or stands in another's place.") from None


class BindingKeys:
    """Implements `ports.Sealer` under a master key."""

    def __init__(self, master_key: MasterKey) -> None:
        self._master_key = master_key

    def seal(self, key: bytes, app_id: str, device_id: str) -> bytes:
        """See `ports.Sealer`."""
        return self._master_key.seal(key, *binding_key_place(app_id, device_id))

    def open(self, sealed: bytes, app_id: str, device_id: str) -> bytes | None:
        """See `ports.Sealer`."""
        try:
            return self._master_key.open(sealed, *binding_key_place(app_id, device_id))
        except SealBroken:
            return None


def binding_key_place(app_id: str, device_id: str) -> tuple[str, ...]:
    """Where the binding key of a device is sealed for."""
    return app_id, "binding-key", device_id


def add_key(path: Path) -> None:
    """Puts a new key in front of the one in a file, unless one has been put there and the other not dropped yet.

    Raises KeyRefused.
    """
    if MasterKey.load_or_create(path).rotating:
        return
    _replace(path, _new_key() + path.read_bytes())


def drop_former_keys(path: Path) -> None:
    """Leaves the present key in a file, and no other. Raises KeyRefused."""
    MasterKey.load_or_create(path)
    present, *_ = _split(path.read_text("ascii"))
    _replace(path, present.encode() + b"\n")


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


def seal_canary(connection: Connection, key: MasterKey) -> None:
    """Seals the canary anew, under the present key."""
    sealed = key.seal(_CANARY, "canary")
    connection.execute(update(seals).where(seals.c.name == "canary").values(sealed=sealed))


def _split(text: str) -> list[str]:
    return re.split(r"[,\s]+", text.strip(" \t\r\n"))


def _decode(text: str) -> bytes:
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        return bytes.fromhex(text)
    try:
        plain = text.rstrip("=").replace("-", "+").replace("_", "/")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        raise KeyRefused("The master key is neither base64 nor hexadecimal.") from None


def _associated(place: tuple[str | int, ...]) -> bytes:
    # JSON, because it keeps ("ab", "c") and ("a", "bc") apart.
    return json.dumps(place).encode()


def _new_key() -> bytes:
    return base64.b64encode(secrets.token_bytes(32)) + b"\n"


def _create(path: Path, content: bytes) -> None:
    # Linked into place as a whole: a crash leaves no half a key, and of two that start at once the second one reads.
    draft = _draft(path, content)
    try:
        if not path.exists():
            os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _replace(path: Path, content: bytes) -> None:
    """Raises KeyRefused."""
    try:
        _draft(path, content).replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise KeyRefused(f"Cannot write {path}: {error}") from error


def _draft(path: Path, content: bytes) -> Path:
    """A new file beside it, for its owner alone, whose content is on the disk."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft
