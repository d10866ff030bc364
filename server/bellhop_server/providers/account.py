"""What is remembered of stored credentials while they stand."""

from typing import Generic, TypeVar

from bellhop_server.domain import SECOND
from bellhop_server.domain.application import Breaker
from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.domain.device import Platform
from bellhop_server.ports import Clock
from bellhop_server.providers.breaker import Breakers
from bellhop_server.providers.line import Line
from bellhop_server.providers.reasons import Reason

L = TypeVar("L", bound=Line)

_REPLACED = Answer(Verdict.NOT_SENT, reason=Reason.CREDENTIAL_REPLACED.value)


class Account(Generic[L]):
    """One version of one credential of an application."""

    def __init__(self, version: int, clock: Clock) -> None:
        self.version = version
        self.breakers = Breakers(clock)
        self.lines: set[L] = set()
        """Those that it has sent by."""


class Accounts(Generic[L]):
    """Those of one network."""

    def __init__(self, platform: Platform, clock: Clock) -> None:
        self._platform = platform
        self._clock = clock
        self._accounts: dict[tuple[str, str], Account[L]] = {}

    def of(self, chunk: Chunk) -> Account[L] | Answer:
        """The account of a chunk's credential, or the answer when a newer version of that is in use.

        One of an older version is to be closed first: see `outdated`.
        """
        key = (chunk.app_id, chunk.credential_id)
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account(chunk.credential_version, self._clock)
        elif account.version > chunk.credential_version:
            return _REPLACED
        return account

    def outdated(self, chunk: Chunk) -> bool:
        """Whether an older version of the credential is still in use: another process may have replaced it, of which
        nobody tells this one."""
        account = self._accounts.get((chunk.app_id, chunk.credential_id))
        return account is not None and account.version < chunk.credential_version

    def remove(self, app_id: str, credential_id: str) -> Account[L] | None:
        """Takes it out: it was replaced or deleted."""
        return self._accounts.pop((app_id, credential_id), None)

    def breakers(self, app_id: str | None) -> list[Breaker]:
        """What of an application, or of all, is left alone for now, of its own fault or the provider's."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        found = []
        for (owner, credential_id), account in self._accounts.items():
            if app_id not in (None, owner):
                continue
            outages = (line.outage.breaker for line in account.lines)
            for breaker in (*account.breakers.all(), *(each for each in outages if each is not None)):
                retry_time = now + max(int((breaker.retry_at - monotonic) * SECOND), 0)
                found.append(Breaker(credential_id, self._platform, breaker.refusal.reason, retry_time))
        return found
