"""The push services that one simulator plays, told apart by the first part of the path."""

from typing import Protocol

from bellhop_simulators.webpush.apple import Apple
from bellhop_simulators.webpush.google import Google
from bellhop_simulators.webpush.microsoft import Microsoft
from bellhop_simulators.webpush.mozilla import Mozilla
from bellhop_simulators.webpush.push import Push, Verdict


class Persona(Protocol):
    """The manners of one push service."""

    @property
    def name(self) -> str:
        """`mozilla`, `fcm`, `apple` or `wns`; the first part of its paths."""

    @property
    def id_header(self) -> str:
        """The header of every answer that tells the message's id; empty if there is none."""

    def path(self, subscription_id: str, *, bound: bool) -> str:
        """Path and query of an endpoint; `bound`: the subscription has an `applicationServerKey`."""

    def token(self, path: str) -> str:
        """What names the subscription in `path`; empty if that is no endpoint."""

    def judge(self, push: Push) -> Verdict:
        """The genuine answer: 201, or a refusal in the service's own order and words."""

    def scripted(self, status: int, reason: str | None) -> Verdict:
        """The answer with `status` that a fault wants, in the service's form; None: its usual reason."""


PERSONAS: dict[str, Persona] = {persona.name: persona for persona in (Mozilla(), Google(), Apple(), Microsoft())}


def persona_of(path: str) -> Persona | None:
    """Whose path it is."""
    return PERSONAS.get(path.removeprefix("/").partition("/")[0])
