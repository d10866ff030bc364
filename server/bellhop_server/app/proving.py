"""Pushing nonces to targets that a device names and another one holds: whoever receives there can say so."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple, TypeVar
from uuid import uuid4

from bellhop_server.domain import MINUTE, Micros
from bellhop_server.domain.batch import Item
from bellhop_server.domain.delivery import HANDOVER, Answer, Chunk, Delivery, Verdict
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.message import Outcome, ResendPolicy
from bellhop_server.domain.notification import Notification, Priority
from bellhop_server.domain.retry import decide
from bellhop_server.domain.routing import Place, Route, route
from bellhop_server.domain.terms import Terms
from bellhop_server.ports import ApplicationStore, Clock, Provider

DATA_KEY = "bellhop_target_nonce"

# A stranger can ask for as many as there are devices that nobody has verified, so all of it has an end: what is under
# way at a time, of one application and of all; what goes to one target within a minute; and how long it is tried, which
# is also how long a provider shall keep it. Beyond that a nonce is lost, and the device has to ask for another one.
MOST = 1000
MOST_OF_APPLICATION = 200
MOST_TO_TARGET = 3
_WITHIN = 60.0
LIFE: Micros = 5 * MINUTE

_log = logging.getLogger(__name__)

T = TypeVar("T")


class _Errand(NamedTuple):
    app_id: str
    target: Target
    notification: Notification
    terms: Terms


class Proving:
    """Pushes nonces, off the way of the calls that want them. Nobody is told what became of one."""

    def __init__(self, store: ApplicationStore, clock: Clock, providers: Mapping[Platform, Provider]) -> None:
        self._store = store
        self._clock = clock
        self._providers = providers
        self._pushing: set[asyncio.Task[None]] = set()
        self._of_application: Counter[str] = Counter()
        self._recent: deque[tuple[float, bytes]] = deque()
        self._to_target: Counter[bytes] = Counter()

    def push(self, app_id: str, target: Target, nonce: str) -> None:
        """Pushes a nonce to a target, silently, as soon as may be. Returns at once, and drops what is too much."""
        if not self._admitted(app_id, target):
            _log.warning("a nonce is not pushed", extra={"app_id": app_id, "target": target.fingerprint})
            return
        end = self._clock.now() + LIFE
        errand = _Errand(
            app_id,
            target,
            Notification(silent=True, data={DATA_KEY: nonce}),
            Terms(end, end, now_or_never=False, priority=Priority.HIGH, collapse_key="", resend=ResendPolicy.NEVER),
        )
        task = asyncio.create_task(self._carry_out(errand))
        self._pushing.add(task)
        self._of_application[app_id] += 1
        task.add_done_callback(partial(self._done, app_id))

    async def aclose(self) -> None:
        """Gives up what is under way."""
        for task in self._pushing:
            task.cancel()
        await asyncio.gather(*self._pushing, return_exceptions=True)

    def _done(self, app_id: str, task: asyncio.Task[None]) -> None:
        self._pushing.discard(task)
        _less(self._of_application, app_id)

    def _admitted(self, app_id: str, target: Target) -> bool:
        """Whether there is room; counts it."""
        now = self._clock.monotonic()
        while self._recent and self._recent[0][0] <= now - _WITHIN:
            _, digest = self._recent.popleft()
            _less(self._to_target, digest)
        digest = target.digest
        if (
            len(self._pushing) >= MOST
            or self._of_application[app_id] >= MOST_OF_APPLICATION
            or self._to_target[digest] >= MOST_TO_TARGET
        ):
            return False
        self._recent.append((now, digest))
        self._to_target[digest] += 1
        return True

    async def _carry_out(self, errand: _Errand) -> None:
        """Tries as often as a message would be tried, until its end."""
        item = Item("", "", 0, "", errand.target.platform)
        where = {"app_id": errand.app_id, "target": errand.target.fingerprint}
        try:
            while True:
                answer = await self._attempt(errand)
                decided = decide(item, answer, errand.terms, self._clock.now())
                if isinstance(decided, Outcome):
                    break
                await self._clock.sleep(decided)
        except Exception:
            _log.warning("a nonce could not be pushed", extra=where, exc_info=True)
            return
        if decided is not Outcome.ACCEPTED:
            _log.info("a nonce did not arrive", extra={**where, "outcome": decided.name, "reason": answer.reason})

    async def _attempt(self, errand: _Errand) -> Answer:
        target = errand.target
        place = Place(target.platform, target.apns_topic, target.apns_environment, target.vapid_public_key)
        way = route(await self._store.list_credentials(errand.app_id), place)
        if not isinstance(way, Route):
            return way
        chunk = Chunk(
            app_id=errand.app_id,
            credential_id=way.credential.credential_id,
            credential_version=way.credential.version,
            credential=way.credential.secret,
            notification=errand.notification,
            priority=errand.terms.priority,
            now_or_never=errand.terms.now_or_never,
            deliveries=[Delivery(target.address, target.supplement, str(uuid4()), errand.terms.expire_time)],
            deadline=self._clock.monotonic() + HANDOVER,
            apns_topic=way.apns_topic,
            apns_environment=way.apns_environment,
            vapid_public_key=way.vapid_public_key,
        )
        answers = [Answer(Verdict.UNKNOWN, reason="NoAnswer")]
        await self._providers[target.platform].send(chunk, lambda _, answer: answers.append(answer), lambda _: None)
        return answers[-1]


def _less(counter: Counter[T], name: T) -> None:
    """One less, and nothing is kept of what is none."""
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
