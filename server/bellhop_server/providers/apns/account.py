"""What is remembered of a stored credential while it stands."""

from bellhop_server.ports import Clock
from bellhop_server.providers.apns.breaker import Breakers
from bellhop_server.providers.apns.token import TokenKey


class Account:
    """One version of one credential of an application."""

    def __init__(self, version: int, clock: Clock) -> None:
        self.version = version
        self.breakers = Breakers(clock)
        self.lines: set[TokenKey] = set()
        """The keys of those it has sent by."""
