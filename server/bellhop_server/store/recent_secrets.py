"""Client and app secrets that were found a moment ago, so that a busy caller's is not looked up for each of its calls.

They are remembered for so short a time that whoever ends one can wait it out before saying so (`until_forgotten`):
what was acknowledged as ended works nowhere any more, in this process or another one, and nobody has to be told.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

from bellhop_server.domain.application import KnownSecret, SecretKind

SECONDS = 0.1


async def until_forgotten() -> None:
    """Returns once no process remembers anything from before. Twice as long, since timers and clocks are not exact."""
    await asyncio.sleep(2 * SECONDS)


class RecentSecrets:
    """By digest. All that is remembered is forgotten together, which bounds it and leaves one time to look at."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self._since = -SECONDS
        self._found: dict[bytes, list[KnownSecret]] = {}

    def get(self, digests: Iterable[bytes]) -> list[KnownSecret] | None:
        """What they are; None: at least one of them has to be looked up."""
        if self.monotonic() >= self._since + SECONDS:
            return None
        try:
            return [secret for digest in dict.fromkeys(digests) for secret in self._found[digest]]
        except KeyError:
            return None

    def remember(self, found: Iterable[KnownSecret], asked: float) -> None:
        """All that a look-up found, which began at `asked` by `monotonic`."""
        if asked >= self._since + SECONDS:
            self._found.clear()
            self._since = asked
        elif asked < self._since:
            return  # It would be good for longer than it may.
        by_digest: dict[bytes, list[KnownSecret]] = {}
        for secret in found:
            by_digest.setdefault(secret.digest, []).append(secret)
        for digest, same in by_digest.items():
            # Devices' secrets change with every registration.
            if all(secret.kind is not SecretKind.DEVICE for secret in same):
                self._found[digest] = same
