"""The queue within one process: wake-ups by events, and the latest results kept for readers that keep up."""

import asyncio
from collections import defaultdict, deque

from bellhop_server.domain.batch import Recorded
from bellhop_server.domain.message import Result
from bellhop_server.ports import Listener, Queue, Subscription, Work

# Results of one message that are kept in memory while somebody reads it; a slower reader gets them from the store.
MAX_RECENT = 4000


class LocalQueue(Queue):
    """Announcements reach listeners of this process at once. Not thread-safe: for one event loop."""

    def __init__(self) -> None:
        self._listeners: dict[Work, set[LocalListener]] = defaultdict(set)
        self._tails: dict[int, _Tail] = {}

    def announce_work(self, work: Work) -> None:
        for listener in self._listeners[work]:
            listener.wake()

    def listen(self, work: Work) -> Listener:
        return LocalListener(self._listeners[work])

    def announce_results(self, recorded: Recorded) -> None:
        tail = self._tails.get(recorded.message_ref)
        if tail is not None:
            tail.add(recorded)

    def subscribe(self, ref: int) -> Subscription:
        tail = self._tails.get(ref)
        if tail is None:
            tail = self._tails[ref] = _Tail()
        return LocalSubscription(self._tails, ref, tail)


class LocalListener(Listener):
    """Wakes on what is announced to the set it is in."""

    def __init__(self, peers: "set[LocalListener]") -> None:
        self._peers = peers
        self._event = asyncio.Event()
        peers.add(self)

    def wake(self) -> None:
        self._event.set()

    async def wait(self, timeout: float) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def close(self) -> None:
        self._peers.discard(self)


class _Tail:
    """The latest results of one message, without a gap, as pages of (number of the first, results)."""

    def __init__(self) -> None:
        self.readers: set[LocalListener] = set()
        self._pages: deque[tuple[int, list[Result]]] = deque()
        self._size = 0
        self._next = 0
        self.completed = False

    def add(self, recorded: Recorded) -> None:
        self.completed = self.completed or recorded.completed
        if recorded.results:
            if recorded.first_seq != self._next:
                self._pages.clear()
                self._size = 0
            self._pages.append((recorded.first_seq, recorded.results))
            self._size += len(recorded.results)
            self._next = recorded.first_seq + len(recorded.results)
            while self._size > MAX_RECENT:
                self._size -= len(self._pages.popleft()[1])
        for reader in self.readers:
            reader.wake()

    def after(self, seq: int, limit: int) -> list[Result] | None:
        if self._next == seq + 1:
            return []
        found: list[Result] = []
        wanted = seq + 1
        for first, results in self._pages:
            if first <= wanted < first + len(results):
                part = results[wanted - first : wanted - first + limit - len(found)]
                found += part
                wanted += len(part)
                if len(found) >= limit:
                    break
        return found or None


class LocalSubscription(LocalListener, Subscription):
    """A reader of one message."""

    def __init__(self, tails: dict[int, _Tail], ref: int, tail: _Tail) -> None:
        super().__init__(tail.readers)
        self._tails = tails
        self._ref = ref
        self._tail = tail

    def recent(self, after_seq: int, limit: int) -> list[Result] | None:
        return self._tail.after(after_seq, limit)

    @property
    def completed(self) -> bool:
        return self._tail.completed

    def close(self) -> None:
        super().close()
        if not self._tail.readers and self._tails.get(self._ref) is self._tail:
            del self._tails[self._ref]
