"""The app instances behind a simulated FCM. A token that was never mentioned here is one that is registered."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any

from bellhop_simulators.fcm.errors import Refusal, of_fcm
from bellhop_simulators.fcm.rules import INVALID_TOKEN

KEPT_FOR_EACH = 100
"""Messages that are kept for each token; FCM stores as many for a device that is off."""
KEPT_TOKENS = 10_000
"""Tokens for which messages are kept: those that got one last."""


@dataclass(frozen=True, slots=True)
class FcmMessage:
    """A message that was taken: its name as answered, and the message as sent, with its names in snake_case."""

    name: str
    message: dict[str, Any]


class FcmDevices:
    """Tokens and Firebase installation ids of which something is known; both are called tokens here."""

    def __init__(self) -> None:
        self._refused: dict[str, str] = {}
        self._received: OrderedDict[str, deque[FcmMessage]] = OrderedDict()

    def unregister(self, token: str) -> None:
        """The app is gone, or has another token: 404 UNREGISTERED."""
        self._refused[token] = "UNREGISTERED"

    def mismatch(self, token: str) -> None:
        """The token is of another project: 403 SENDER_ID_MISMATCH."""
        self._refused[token] = "SENDER_ID_MISMATCH"

    def third_party_refuses(self, token: str) -> None:
        """The project has no good key for APNs or Web Push, which reach this one: 401 THIRD_PARTY_AUTH_ERROR."""
        self._refused[token] = "THIRD_PARTY_AUTH_ERROR"

    def invalid(self, token: str) -> None:
        """No token of FCM: 400 INVALID_ARGUMENT that names the field."""
        self._refused[token] = "INVALID_ARGUMENT"

    def register(self, token: str) -> None:
        """The token is good again."""
        self._refused.pop(token, None)

    def received(self, token: str) -> list[FcmMessage]:
        """The messages that were taken for a token, in their order; the latest hundred."""
        return list(self._received.get(token, ()))

    def judge(self, field: str, token: str) -> Refusal | None:
        """What FCM says to a message for the `token` in `field`, as far as the device goes."""
        code = self._refused.get(token)
        if code is None:
            return None
        if code == "INVALID_ARGUMENT":
            return of_fcm(code, INVALID_TOKEN, violated=f"message.{field}")
        return of_fcm(code)

    def deliver(self, token: str, message: FcmMessage) -> None:
        """Keep a message that was taken."""
        self._received.setdefault(token, deque(maxlen=KEPT_FOR_EACH)).append(message)
        self._received.move_to_end(token)
        if len(self._received) > KEPT_TOKENS:
            self._received.popitem(last=False)
