"""What hands over, without a server around it: real parts over a real store, with a clock and a provider to steer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from time import monotonic
from typing import Any

from bellhop_server.app.delivering import Deliverer
from bellhop_server.app.fencing import Fence
from bellhop_server.app.handover import Handover
from bellhop_server.app.hygiene import Hygiene
from bellhop_server.app.planning import Planner
from bellhop_server.app.recording import Recorder
from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.domain.device import Platform
from bellhop_server.domain.errors import ServiceUnavailable
from bellhop_server.domain.message import Audience, AudienceKind, Message, ResendPolicy, Send, SendOptions
from bellhop_server.domain.notification import Notification
from bellhop_server.ports import Work
from bellhop_server.queue.local import LocalQueue
from bellhop_server.store.sql_store import SqlStore
from tests.sealing import STAMPER
from tests.system.crowd import APP


class SteeredClock:
    """Goes as fast as any, but for the leaps that it is told to make."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> Micros:
        return 1_800_000_000 * SECOND + int(self.monotonic() * SECOND)

    def monotonic(self) -> float:
        return monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))

    def advance(self, seconds: float) -> None:
        """So much later, at once."""
        self._ahead += seconds


class HeldProvider:
    """Takes every push, answers the first ones of each chunk, and the others once `answers` is set."""

    platform = Platform.APNS

    def __init__(self, at_once: int = 0) -> None:
        self.pushed: list[str] = []
        self.answered_at_once: list[str] = []
        self.answers = asyncio.Event()
        self._at_once = at_once
        self._changed = asyncio.Condition()

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        self.pushed += [delivery.address for delivery in chunk.deliveries]
        self.answered_at_once += [delivery.address for delivery in chunk.deliveries[: self._at_once]]
        for index in range(self._at_once):
            report(index, Answer(Verdict.ACCEPTED, 200))
        async with self._changed:
            self._changed.notify_all()
        await self.answers.wait()
        for index in range(self._at_once, len(chunk.deliveries)):
            report(index, Answer(Verdict.ACCEPTED, 200))

    async def has(self, count: int) -> None:
        """Returns once it has taken that many."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.pushed) >= count)


class CutStore:
    """A store that can be out of reach, and that can hold up who starts a batch."""

    def __init__(self, store: SqlStore) -> None:
        self.reachable = True
        self.starting = asyncio.Event()
        self.may_start = asyncio.Event()
        self.may_start.set()
        self._store = store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def asked(*arguments: Any, **named: Any) -> Any:
            if name == "start":
                self.starting.set()
                await self.may_start.wait()
            if not self.reachable:
                raise ServiceUnavailable("store")
            return await found(*arguments, **named)

        return asked


class Worker:
    """Plans and delivers under a name of its own."""

    def __init__(self, name: str, store: CutStore, clock: SteeredClock, provider: HeldProvider) -> None:
        self.store = store
        self.provider = provider
        self.queue = LocalQueue()
        recorder = Recorder(store, self.queue, clock)
        handover = Handover(
            store, clock, Fence(nullcontext), recorder, Hygiene(store, clock), {Platform.APNS: provider}, STAMPER
        )
        self._deliverer = Deliverer(name, store, self.queue, clock, handover)
        self._parts = (recorder.run(), Planner(store, self.queue, clock).run(), self._deliverer.run())

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Works for as long as the context lasts, and brings to its end what it has in hand."""
        recording, planning, delivering = map(asyncio.create_task, self._parts)
        await asyncio.sleep(0)
        self.look()
        try:
            yield
        finally:
            delivering.cancel()
            planning.cancel()
            await self._deliverer.drain(10)
            recording.cancel()
            await asyncio.gather(recording, planning, delivering, return_exceptions=True)

    def look(self) -> None:
        """Looks for work now rather than after a while."""
        self.queue.announce_work(Work.PLAN)
        self.queue.announce_work(Work.DELIVER)

    async def told(self, message: Message, results: int = 0) -> None:
        """Returns once it has announced that many results of the message, or unless a number is given the last."""
        subscription = self.queue.subscribe(message.ref)
        try:
            while not subscription.completed and not (results and await self.store.last_seq(message.ref) >= results):
                await subscription.wait(5)
        finally:
            subscription.close()


async def accept(store: CutStore, clock: SteeredClock, resend: ResendPolicy) -> Message:
    """A message to everyone."""
    audience, notification = Audience(AudienceKind.EVERYONE), Notification(title="Hello")
    sent = Send(APP, audience, notification, SendOptions(resend=resend), "once", "")
    return (await store.accept(sent, "mark", "m1", clock.now())).message
