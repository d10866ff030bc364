"""The numbers that bound a pool of connections."""

from dataclasses import dataclass

from bellhop_server.domain.delivery import ANSWER


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, where nothing else is said."""

    connections: int = 4
    """Connections to one origin."""
    streams: int = 1000
    """Requests in flight on one connection, whatever the peer allows."""
    setup: float = 20.0
    """For the TCP connection, and again for TLS and the peer's first SETTINGS."""
    answer: float = ANSWER
    """From a request's submission to its whole answer."""
    confirm: float = 0.25
    """After which the peer is asked, by a PING, whether it has what it has not answered. A request is submitted no
    later than twice this time before its deadline."""
    ping_idle: float = 60.0
    """Silence before a PING, with nothing in flight; with requests in flight it is `ping_answer`. A connection of
    HTTP/1.1 has no PING: it is closed then, and only with nothing in flight."""
    ping_answer: float = 10.0
    """From a PING to any sign of life."""
    stall: float = 2.0
    """For a connection with nothing in flight to have no room for what waits; then another is tried."""
    backoff_first: float = 1.0
    """Between a connection that failed and the next; doubles up to `backoff_most`."""
    backoff_most: float = 60.0
