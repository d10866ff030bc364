"""What only the adapter of a provider knows of a chunk that is on its way."""

import asyncio
from typing import Any, NamedTuple, Protocol

from bellhop_server.domain.delivery import Answer, Chunk
from bellhop_server.providers.account import Account
from bellhop_server.providers.breaker import PAUSE, Scope
from bellhop_server.providers.engine import Headers, Reply
from bellhop_server.providers.http2 import Connection
from bellhop_server.providers.line import Line


class Ruling(NamedTuple):
    """What an answer means, and what is to be done about it.

    `again`: once more by itself, when `after` is done, where nobody was told of the hand-over. `stop`: everything of
    the account under that scope is left alone for `pause` seconds and meanwhile answered with `refusal`, the answer
    itself where that is None. `known`: it is an answer that the provider is known to give, and not our fault.
    """

    answer: Answer
    again: bool = False
    after: "asyncio.Future[None] | None" = None
    stop: Scope | None = None
    pause: float = PAUSE
    refusal: Answer | None = None
    known: bool = True


class Errand(Protocol):
    """The deliveries of a chunk, by their number in it, under one account by one line. Plain calls, and quick ones."""

    @property
    def chunk(self) -> Chunk:
        """What is to be delivered."""

    @property
    def account(self) -> Account[Any]:
        """For whom."""

    @property
    def line(self) -> Line:
        """By which way."""

    @property
    def scope(self) -> Scope:
        """What breakers concern it by."""

    @property
    def largest_body(self) -> int:
        """Bytes of the largest body."""

    @property
    def weight(self) -> int:
        """See `Batch`."""

    def request(self, number: int) -> tuple[Headers, bytes]:
        """Header fields and body, asked for when they are about to be written; again for each further try."""

    def accepted(self, number: int, reply: Reply, connection: Connection) -> Answer:
        """What a reply of 2xx comes to."""

    def refused(self, number: int, reply: Reply, connection: Connection, *, last: bool) -> Ruling:
        """What any other reply comes to; `last`: it will not be tried again."""
