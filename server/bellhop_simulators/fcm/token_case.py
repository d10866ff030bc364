"""One request for an access token and what Google says to it."""

import json
from dataclasses import dataclass
from email.utils import formatdate

from bellhop_simulators.faults.actions import Then
from bellhop_simulators.faults.conditions import Facts
from bellhop_simulators.faults.playback import Answer
from bellhop_simulators.fcm.access_tokens import AccessToken, AssertionRefused
from bellhop_simulators.fcm.errors import JSON, of_oauth
from bellhop_simulators.fcm.scripted import of_token
from bellhop_simulators.fcm.world import FcmWorld


@dataclass(slots=True)
class TokenCase:
    """The request; a token is granted only when no fault has it otherwise."""

    world: FcmWorld
    facts: Facts
    form: bytes
    audiences: set[str]
    message_id: str = ""
    taken: bool | None = None

    def deliver(self) -> None:
        """Nothing: it is about no message."""

    def answer(self, then: Then) -> Answer:
        """The token or the refusal; or what `then` says. With the time, by which a sender may find its clock wrong."""
        answer = self._answer(then)
        answer.headers.append(("date", formatdate(self.world.clock.now(), usegmt=True)))
        return answer

    def _answer(self, then: Then) -> Answer:
        if then.status is not None and then.status != 200:
            return of_token(then, then.status)
        try:
            token: AccessToken = self.world.access_tokens.grant(self.form, self.audiences)
        except AssertionRefused as refused:
            return of_oauth(400, refused.code, str(refused))
        lifetime = int(token.expires - self.world.clock.now())
        body = {"access_token": token.text, "expires_in": lifetime, "token_type": "Bearer"}
        return Answer(200, [JSON], json.dumps(body).encode())
