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
        self._found: dict[bytes, KnownSecret] = {}

    def get(self, digests: Iterable[bytes]) -> list[KnownSecret] | None:
        """What they are; None: at least one of them has to be looked up."""
        if self.monotonic() >= self._since + SECONDS:
            return None
        try:
            return [self._found[digest] for digest in dict.fromkeys(digests)]
        except KeyError:
            return None

    def remember(self, found: Iterable[KnownSecret], asked: float) -> None:
        """What a look-up found that began at `asked`, by `monotonic`."""
        if asked >= self._since + SECONDS:
            self._found.clear()
            self._since = asked
        elif asked < self._since:
            return  # It would be good for longer than it may.
        for secret in found:
            # Devices' secrets change with every registration, and one text may be several devices' secret.
            if secret.kind is not SecretKind.DEVICE:
                self._found[secret.digest] = secret
