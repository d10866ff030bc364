"""Access tokens: what a service account shows FCM, and how it always has a good one.

One is asked for when there is none, and again well before its end, while it is still shown: an endpoint that is away
for some minutes holds up nobody. However many chunks wait, one request is made.
"""

import asyncio
import hashlib
import math
import random
from collections.abc import Awaitable, Callable

from bellhop_server.domain.application import FcmCredential
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.ports import Clock
from bellhop_server.providers.fcm.oauth import Grant
from bellhop_server.providers.reasons import Reason

Granter = Callable[[FcmCredential], Awaitable[Grant | Answer]]

RENEW_BEFORE = 300.0
_JITTER = 60.0
# What is left must be enough for requests on their way.
_MARGIN = 10.0
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
_KEPT = 256

_CLOSED = Answer(Verdict.NOT_SENT, reason=Reason.SHUTTING_DOWN.value)
_TOO_SLOW = Answer(Verdict.NOT_SENT, reason=f"AccessToken: {Reason.ANSWER_TIMEOUT.value}")


class Access:
    """The access token of one service account."""

    def __init__(
        self, credential: FcmCredential, grant: Granter, clock: Clock, rng: Callable[[], float] = random.random
    ) -> None:
        self.authorization = (b"authorization", b"")
        """The header field to show now. Looked at for each request."""
        self.trouble: Answer | None = None
        """Why there was no new one when last asked for; None: there was."""
        self._credential = credential
        self._grant = grant
        self._clock = clock
        self._rng = rng
        self._renewal: asyncio.Task[None] | None = None
        self._good_until = -math.inf
        self._renew_at = -math.inf
        self._not_before = -math.inf
        self._failures = 0

    @property
    def good(self) -> bool:
        """Whether `authorization` can be shown, as far as we know."""
        return self._clock.monotonic() < self._good_until

    async def ready(self, deadline: float) -> Answer | None:
        """Sees to it that there is a good token by `deadline` (monotonic seconds); the answer for all when there is
        none."""
        now = self._clock.monotonic()
        if now >= self._renew_at:
            self._renew()
        if self.good:
            return None
        if self._renewal is not None:
            await asyncio.wait((self._renewal,), timeout=max(deadline - now, 0.0))
            if self.good:
                return None
            if self._renewal is not None:
                return _TOO_SLOW
        assert self.trouble is not None, "nothing is left to be asked for"
        return self.trouble._replace(retry_after=max(self._not_before - self._clock.monotonic(), 0.0))

    def refused(self, shown: tuple[bytes, bytes]) -> "asyncio.Task[None] | None":
        """FCM took that header field for no good: has another token asked for, unless there is one by now.

        Returns what is under way, None when nothing is: `good` tells whether there is one.
        """
        if shown == self.authorization:
            self._good_until = self._renew_at = -math.inf
        if not self.good:
            self._renew()
        return self._renewal

    def idle(self) -> bool:
        """Whether nothing is lost by forgetting it."""
        return not self.good and self._renewal is None

    async def aclose(self) -> None:
        """Asks for no more."""
        self.trouble = _CLOSED
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait((self._renewal,))

    def _renew(self) -> None:
        """Begins, unless it is under way or failed just now."""
        if self._renewal is None and self._clock.monotonic() >= self._not_before:
            self._renewal = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        asked = self._clock.monotonic()
        try:
            result = await self._grant(self._credential)
        finally:
            self._renewal = None
        if isinstance(result, Grant):
            self.authorization = authorization(result)
            lifetime = result.lifetime
            self._good_until = asked + lifetime - min(_MARGIN, lifetime / 10)
            self._renew_at = asked + max(lifetime - RENEW_BEFORE - _JITTER * self._rng(), lifetime / 2)
            self.trouble = None
            self._not_before, self._failures = -math.inf, 0
        else:
            pause = min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE)
            self._failures = min(self._failures + 1, 32)
            self._not_before = self._clock.monotonic() + max(pause, result.retry_after or 0.0)
            self.trouble = result


class Accesses:
    """Those of this process: applications that share a service account share its token."""

    def __init__(self, grant: Granter, clock: Clock) -> None:
        self._grant = grant
        self._clock = clock
        self._known: dict[tuple[str, str, bytes], Access] = {}

    def of(self, credential: FcmCredential) -> Access:
        """The one of that account and key."""
        key = (
            credential.client_email,
            credential.private_key_id,
            hashlib.sha256(credential.private_key.encode()).digest(),
        )
        access = self._known.get(key)
        if access is None:
            if len(self._known) >= _KEPT:
                self._known = {key: access for key, access in self._known.items() if not access.idle()}
            access = self._known[key] = Access(credential, self._grant, self._clock)
        return access

    async def aclose(self) -> None:
        """Asks for no more."""
        await asyncio.gather(*(access.aclose() for access in self._known.values()))


def authorization(grant: Grant) -> tuple[bytes, bytes]:
    """The header field that shows a token."""
    return b"authorization", b"Bearer " + grant.token.encode()
