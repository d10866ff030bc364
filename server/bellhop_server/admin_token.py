"""The admin token: as it was given, or made once and kept in a file for its owner alone."""

import os
import re
import secrets
from pathlib import Path

FILE_NAME = "bellhop.admin-token"

# It opens everything, and whoever guesses is slowed but never stopped. No metadata carries other characters whole.
_USABLE = re.compile(r"[!-~]{16,}")


class AdminTokenRefused(Exception):
    """The token, or the file, cannot be used; the text says why, and holds no token."""


def check(token: str, where: str) -> str:
    """The token that came from there. Raises AdminTokenRefused."""
    if not _USABLE.fullmatch(token):
        raise AdminTokenRefused(f"{where} is no admin token: 16 or more visible ASCII characters, no blanks.")
    return token


def load_or_create(path: Path) -> str:
    """The token in a file, which is made (mode 0600) if there is none. Raises AdminTokenRefused."""
    try:
        if not path.exists():
            _create(path, f"bhx_{secrets.token_urlsafe(32)}\n")
        if path.stat().st_mode & 0o077:
            raise AdminTokenRefused(f"Others may read {path}. Make it its owner's alone: chmod 600 {path}")
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise AdminTokenRefused(f"Cannot use {path}: {error}") from error
    if not token:
        raise AdminTokenRefused(f"{path} is empty. Delete it, and the next start makes a new one.")
    return check(token, f"What {path} holds")


def _create(path: Path, content: str) -> None:
    # Linked into place as a whole: a crash leaves no half a token, and of two that start at once the second one reads.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        if not path.exists():
            os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
