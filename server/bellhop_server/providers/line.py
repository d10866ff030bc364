"""A way to a provider."""

from typing import TYPE_CHECKING, Any

from bellhop_server.domain.delivery import Answer
from bellhop_server.ports import Clock
from bellhop_server.providers.outage import Outage
from bellhop_server.providers.pool import Pool

if TYPE_CHECKING:
    from bellhop_server.providers.account import Account
    from bellhop_server.providers.flight import Flight


class Line:
    """Connections to one origin, and what is under way by them. Several accounts may share one."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self.pool = pool
        self.outage = Outage(clock)
        self.accounts: set[Account[Any]] = set()
        """Those that send by it."""
        self.flights: set[Flight] = set()
        """What is under way here."""

    def serve(self, account: "Account[Any]") -> None:
        """The account sends by this line from now on."""
        self.accounts.add(account)
        account.lines.add(self)

    def withdraw(self, account: "Account[Any]", answer: Answer) -> None:
        """Has nothing more be sent for the account; what waits is answered with this."""
        self.accounts.discard(account)
        for flight in self.flights:
            if flight.errand.account is account:
                flight.withdraw(answer)
        self.pool.expire()
