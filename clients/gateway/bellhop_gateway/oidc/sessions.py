"""Which sessions have ended, as far as this process has been told, and whose the sessions are that it has seen."""

from collections import OrderedDict
from collections.abc import Callable

from bellhop_gateway.oidc.tokens import LOGOUT_LIFE, SKEW, Identity, Logout

REMEMBERED = 100_000


class Sessions:
    """Tokens are good until they end by themselves: one from before its session ended is not to bind anew."""

    def __init__(self, now: Callable[[], float], life: float = 24 * 3600.0) -> None:
        """`now`: seconds since the epoch. `life`: seconds after which no token from before is good any more."""
        self._now = now
        self._life = life
        self._ended: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._users: OrderedDict[str, str] = OrderedDict()
        self._spent: OrderedDict[str, float] = OrderedDict()

    def seen(self, identity: Identity) -> None:
        """Somebody has signed in by that session."""
        if identity.session_id:
            self._users[identity.session_id] = identity.user_id
            self._users.move_to_end(identity.session_id)
            if len(self._users) > REMEMBERED:
                self._users.popitem(last=False)

    def user_of(self, session_id: str) -> str:
        """Whose session it is; empty: this process does not know."""
        return self._users.get(session_id, "")

    def spend(self, token_id: str) -> None:
        """A logout token has done what it was for. Shown again, it would end what has begun since."""
        now = self._now()
        self._spent[token_id] = now
        # Its clock may have been ahead of ours, and later behind it.
        while len(self._spent) > REMEMBERED or next(iter(self._spent.values())) < now - LOGOUT_LIFE - 2 * SKEW:
            self._spent.popitem(last=False)

    def spent(self, token_id: str) -> bool:
        """Whether that logout token has been used here."""
        return token_id in self._spent

    def end(self, logout: Logout) -> None:
        """The sessions of a user, or one of them, have ended."""
        key = (logout.user_id, logout.session_id)
        self._ended[key] = max(logout.issued, self._ended.get(key, 0.0))
        self._ended.move_to_end(key)
        while len(self._ended) > REMEMBERED or next(iter(self._ended.values())) < self._now() - self._life:
            self._ended.popitem(last=False)

    def over(self, identity: Identity) -> bool:
        """Whether what the token speaks of has ended since it was issued."""
        keys = {(identity.user_id, ""), (identity.user_id, identity.session_id)}
        return any(identity.issued <= self._ended[key] for key in keys if key in self._ended)
