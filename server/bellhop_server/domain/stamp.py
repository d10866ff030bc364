"""Stamps: by which an app knows that a notification was meant for whoever is logged in on it."""

import hmac
from base64 import urlsafe_b64encode

STAMP_LENGTH = 16
"""Characters of a stamp."""

_BYTES = 12


def stamp_of(binding_key: bytes, app_id: str, device_id: str, message_id: str) -> str:
    """The first 12 bytes of HMAC-SHA256 under the binding key, base64url: another one for each message.

    What it is made of is one line each, and no id holds the end of a line.
    """
    text = f"bellhop-stamp-v1\n{app_id}\n{device_id}\n{message_id}"
    return urlsafe_b64encode(hmac.digest(binding_key, text.encode(), "sha256")[:_BYTES]).decode()
