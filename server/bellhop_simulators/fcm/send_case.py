"""One call of messages:send and what FCM says to it."""

import json
from dataclasses import dataclass
from typing import Any

from bellhop_simulators.faults.actions import Then
from bellhop_simulators.faults.conditions import Facts
from bellhop_simulators.faults.playback import Answer
from bellhop_simulators.fcm.devices import FcmMessage
from bellhop_simulators.fcm.errors import JSON
from bellhop_simulators.fcm.scripted import of_send
from bellhop_simulators.fcm.world import FcmWorld

FAKE_ID = "fake_message_id"
"""The id of a message that was only to be validated."""


@dataclass(slots=True)
class SendCase:
    """The call; `refused` is the refusal as an answer, None if the message is good."""

    world: FcmWorld
    facts: Facts
    message_id: str
    message: dict[str, Any]
    refused: Answer | None
    validate_only: bool

    @property
    def taken(self) -> bool | None:
        """None if the message was only to be validated."""
        return None if self.validate_only else self.refused is None

    def deliver(self) -> None:
        """Give it to its app instance; topics have none."""
        if self.facts.token:
            self.world.devices.deliver(self.facts.token, FcmMessage(self._name, self.message))

    def answer(self, then: Then) -> Answer:
        """The name of the message or the refusal; or what `then` says."""
        if then.status is not None and not 200 <= then.status < 300:
            return of_send(then, then.status, self.facts)
        if then.status is None and self.refused is not None:
            return self.refused
        return Answer(then.status or 200, [JSON], json.dumps({"name": self._name}, indent=2).encode())

    @property
    def _name(self) -> str:
        return f"projects/{self.facts.project}/messages/{FAKE_ID if self.validate_only else self.message_id}"
