"""The way to APNs under one key in one environment: its connections, and the provider token they all show."""

from collections.abc import Callable, Iterable

from bellhop_server.ports import Clock
from bellhop_server.providers.apns.outcomes import TOO_MANY_UPDATES
from bellhop_server.providers.apns.token import MIN_INTERVAL, ProviderToken, TokenKey
from bellhop_server.providers.http2 import Connection
from bellhop_server.providers.line import Line
from bellhop_server.providers.pool import Pool

_UPDATES_REFUSED = 10


class ApnsLine(Line):
    """A pool of connections bound to one team and key (APNs binds each by its first push). Several applications that
    have the same key share it.
    """

    def __init__(self, key: TokenKey, pool: Pool, authority: str, token: ProviderToken, clock: Clock) -> None:
        super().__init__(pool, clock)
        self.key = key
        self.token = token
        self.head = ((b":method", b"POST"), (b":scheme", b"https"), (b":authority", authority.encode()))
        self.authorization = (b"authorization", b"")
        """The header field of the token to send now. Looked at for each request, so that a connection never sees an
        older token behind a newer one."""
        self.doubted: tuple[Connection, ...] = ()
        """The connections there were when the key was refused; empty once a later one has taken it."""
        self.updates_refused = 0
        """How often in a row the token shown was refused as one more than allowed, with none before it to go back to.
        """
        self._clock = clock
        self._shown = ""
        self._bundle_ids: set[str] = set()

    def prepare(self, bundle_ids: Iterable[str]) -> None:
        """To be called before requests are queued: sees to the token, and to connections that know these apps.

        A connection knows the apps that the key had when it was first used, so one that is new to us may be new to it.
        """
        self._refresh()
        if not self._bundle_ids.issuperset(bundle_ids):
            self._bundle_ids.update(bundle_ids)
            self.replace("a bundle id is new")

    def replace(self, reason: str, which: Callable[[Connection], bool] = lambda _: True) -> None:
        """Has what comes go by new connections. One that was not used yet is as good as new."""
        for connection in self.pool.connections:
            if (connection.proven or connection.in_flight) and which(connection):
                connection.retire(reason)

    def expired(self) -> None:
        """The token shown was refused as too old."""
        self.token.expired()
        self._refresh()

    def too_many(self) -> bool:
        """The token shown is one more than allowed; whether to go on, by the one before or by the same.

        APNs says so now and then of a token that it goes on taking. There is no third one to try, because another new
        one would be one more, so only a row of such refusals counts.
        """
        if self.token.too_many():
            self._show(self.token.current())
            return True
        self.updates_refused += 1
        return self.updates_refused < _UPDATES_REFUSED

    def refused(self, connection: Connection) -> bool:
        """That connection refused the key or its token, and has the others replaced, for they may have gone stale.

        True: it is no use, because this one was made after the first refusal.
        """
        if self.doubted and connection not in self.doubted:
            return True
        if not connection.reason:
            self.doubted = self.pool.connections
            connection.retire("provider token refused")
            self.replace("provider token refused elsewhere")
        return False

    def accepted(self, connection: Connection) -> None:
        """A push was taken: nothing is wrong with the key and its token."""
        self.trust(connection)
        if self.updates_refused:
            self.updates_refused = 0
            environment, *_ = self.key
            for account in self.accounts:
                account.breakers.disprove((environment.name,), TOO_MANY_UPDATES)

    def trust(self, connection: Connection) -> None:
        """That connection took the key, whatever it answered."""
        if connection not in self.doubted:
            self.doubted = ()

    def _refresh(self) -> None:
        text = self.token.current()
        if text != self._shown:
            # Each may see a second token only 20 minutes after its first.
            latest = self._clock.monotonic() - MIN_INTERVAL
            self.replace("provider token renewed", lambda connection: connection.began > latest)
            self.updates_refused = 0
            self._show(text)

    def _show(self, text: str) -> None:
        self._shown = text
        self.authorization = (b"authorization", b"bearer " + text.encode())
