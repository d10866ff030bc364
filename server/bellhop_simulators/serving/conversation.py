"""What a simulated provider has to know to be one; the endpoint does the rest."""

from typing import Protocol

from bellhop_simulators.faults.actions import Then
from bellhop_simulators.faults.conditions import Facts
from bellhop_simulators.faults.playback import Answer
from bellhop_simulators.http.request import Request


class Case(Protocol):
    """One request as its provider sees it."""

    @property
    def facts(self) -> Facts:
        """For the conditions of faults and for the journal."""

    @property
    def message_id(self) -> str:
        """The id that the provider gives to the message; empty if it gives none."""

    @property
    def taken(self) -> bool | None:
        """Whether the message is taken if no fault has it otherwise; None if the request is about no message."""

    def deliver(self) -> None:
        """The message was taken: give it to its device."""

    def answer(self, then: Then) -> Answer:
        """The answer: what the provider says, or would say with the `status`, `reason` and time of `then`.

        Headers, body and Retry-After of `then` are not its business.
        """


class Conversation(Protocol):
    """What a provider keeps of one connection, and what it says to its requests."""

    @property
    def limit(self) -> int:
        """How many streams the client may have open now, by the rules of the provider."""

    def facts(self, request: Request) -> Facts:
        """What can be told of a request whose body was not read, and which need not be a good one."""

    def judge(self, request: Request) -> Case:
        """What the provider makes of a whole request."""

    def answered(self, status: int) -> None:
        """An answer has been queued."""
