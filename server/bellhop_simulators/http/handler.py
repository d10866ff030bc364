"""What the side that speaks HTTP asks of the side that knows a provider's rules."""

from typing import Literal, Protocol

from bellhop_simulators.http.connection import Connection
from bellhop_simulators.http.request import Request

Enforcement = Literal["refuse", "goaway"]
"""What becomes of a stream above the limit: RST_STREAM(REFUSED_STREAM), or GOAWAY of the connection with code 7."""
TurnedAway = Literal["REFUSED_STREAM", "GOAWAY", "MALFORMED"]
"""Why a request was not taken: above the limit, above the last stream of a GOAWAY, not a request."""


class Handler(Protocol):
    """What a connection tells its simulator. `received` answers, now or later, by calling the connection."""

    def opened(self, connection: Connection) -> None:
        """The client has been greeted."""

    def received(self, connection: Connection, request: Request) -> None:
        """A whole request came."""

    def turned_away(self, connection: Connection, request: Request, why: TurnedAway) -> None:
        """A request was not taken; its body was not read."""

    def before_writing(self) -> None:
        """Answers are about to leave."""

    def closed(self, connection: Connection) -> None:
        """The transport is gone."""
