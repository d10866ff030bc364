"""Audiences on their way to becoming batches."""

from dataclasses import dataclass

from bellhop_server.domain.batch import Item
from bellhop_server.domain.message import Message, Result


@dataclass(frozen=True, slots=True)
class AudiencePage:
    """Some devices of an audience. `missing` are named ids that have nothing to send to. `after` None: the end."""

    items: list[Item]
    missing: list[Result]
    after: str | None


@dataclass(frozen=True, slots=True)
class Planning:
    """A message whose audience is not wholly resolved; `after` is where to go on ("" at the start)."""

    message: Message
    after: str
