"""How many streams APNs lets a connection have open at once."""

from dataclasses import dataclass

from bellhop_simulators.http.handler import Enforcement


@dataclass(frozen=True, slots=True)
class ConcurrencyPolicy:
    """The limits of a connection, and what becomes of who does not keep to them."""

    first: int = 1
    """Until a request was authenticated and answered."""
    authenticated: int = 1000
    """After that."""
    drop_after_rejection: bool = True
    """Back to 1 after a 400 or 403, until the next 200."""
    enforcement: Enforcement = "refuse"
    """What becomes of a stream too many."""

    def limit(self, *, authenticated: bool, rejected: bool) -> int:
        """The limit of a connection that was authenticated, and `rejected` at its latest 200, 400 or 403, or not."""
        if not authenticated:
            return self.first
        return 1 if rejected and self.drop_after_rejection else self.authenticated
