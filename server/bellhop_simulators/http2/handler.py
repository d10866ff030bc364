"""What the HTTP/2 side of a simulator asks of the side that knows a provider's rules."""

from typing import TYPE_CHECKING, Literal, Protocol

from bellhop_simulators.http2.request import Request

if TYPE_CHECKING:  # It imports this module.
    from bellhop_simulators.http2.server_connection import ServerConnection

Enforcement = Literal["refuse", "goaway"]
"""What becomes of a stream above the limit: RST_STREAM(REFUSED_STREAM), or GOAWAY of the connection with code 7."""
TurnedAway = Literal["REFUSED_STREAM", "GOAWAY", "MALFORMED"]
"""Why a stream was not taken: above the limit, above the last stream of a GOAWAY, not a request."""


class Handler(Protocol):
    """What a connection tells its simulator. `received` answers, now or later, by calling the connection."""

    def opened(self, connection: "ServerConnection") -> None:
        """The client has been greeted."""

    def received(self, connection: "ServerConnection", request: Request) -> None:
        """A whole request came."""

    def turned_away(self, connection: "ServerConnection", request: Request, why: TurnedAway) -> None:
        """A stream was not taken; its body was not read."""

    def before_writing(self) -> None:
        """Answers are about to leave."""

    def closed(self, connection: "ServerConnection") -> None:
        """The transport is gone."""
