"""What became of a send that was asked for."""

from dataclasses import dataclass

from bellhop_server.domain.batch import Recorded
from bellhop_server.domain.message import Message


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message, and whether it had been accepted before under the same request id.

    `plan`: its audience was small and has been resolved by the way; None: it waits to be.
    """

    message: Message
    replayed: bool
    plan: Recorded | None = None
