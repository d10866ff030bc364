"""The queue within one process: wake-ups by events, and the latest results kept for readers that keep up."""

import asyncio
from collections import defaultdict

from bellhop_server.domain.batch import Recorded
from bellhop_server.domain.message import Result
from bellhop_server.ports import Gathering, Listener, Queue, Subscription, Work

# Results that are kept in memory of one message while somebody reads it, and for one reader of many messages; a slower
# reader gets them from the store.
MAX_RECENT = 4000


class LocalQueue(Queue):
    """Announcements reach listeners of this process at once. Not thread-safe: for one event loop."""

    def __init__(self) -> None:
        self._listeners: dict[Work, set[LocalListener]] = defaultdict(set)
        self._tails: dict[int, _Tail] = {}
        self._gatherings: dict[int, list[LocalGathering]] = {}

    def announce_work(self, work: Work) -> None:
        for listener in self._listeners[work]:
            listener.wake()

    def listen(self, work: Work) -> Listener:
        return LocalListener(self._listeners[work])

    def announce_results(self, recorded: Recorded) -> None:
        tail = self._tails.get(recorded.message_ref)
        if tail is not None:
            tail.add(recorded)
        for gathering in self._gatherings.get(recorded.message_ref, ()):
            gathering.add(recorded)

    def subscribe(self, ref: int) -> Subscription:
        tail = self._tails.get(ref)
        if tail is None:
            tail = self._tails[ref] = _Tail()
        return LocalSubscription(self._tails, ref, tail)

    def gather(self) -> Gathering:
        return LocalGathering(self._gatherings)


class _Ear:
    """Remembers that it was woken until somebody has waited."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

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


class LocalListener(_Ear, Listener):
    """Wakes on what is announced to the set it is in."""

    def __init__(self, peers: "set[LocalListener]") -> None:
        super().__init__()
        self._peers = peers
        peers.add(self)

    def close(self) -> None:
        self._peers.discard(self)


class _Tail:
    """The latest results of one message, without a gap, for the readers that keep up."""

    def __init__(self) -> None:
        self.readers: set[LocalSubscription] = set()
        self.completed = False
        self._results: list[Result] = []
        # The number of the last result that was announced; -1: none was yet.
        self._last = -1

    def add(self, recorded: Recorded) -> None:
        self.completed = self.completed or recorded.completed
        # Two who write at once may announce in another order than they committed in: the later one counts, and whoever
        # misses the earlier one asks the store.
        if recorded.results and recorded.first_seq > self._last:
            if recorded.first_seq != self._last + 1:
                self._results = []
            self._results += recorded.results
            self._last = recorded.first_seq + len(recorded.results) - 1
            self._forget()
        for reader in self.readers:
            reader.wake()

    def after(self, seq: int, limit: int) -> list[Result] | None:
        if seq == self._last:
            return []
        start = seq - self._last + len(self._results)
        return self._results[start : start + limit] if 0 <= start < len(self._results) else None

    def _forget(self) -> None:
        """Drops what every reader has passed, but those who fell so far behind that the store serves them."""
        oldest = self._last - MAX_RECENT
        kept_from = min((reader.seq for reader in self.readers if reader.seq >= oldest), default=self._last)
        passed = kept_from - self._last + len(self._results)
        if passed > 0:
            del self._results[:passed]


class LocalSubscription(_Ear, Subscription):
    """A reader of one message."""

    def __init__(self, tails: dict[int, _Tail], ref: int, tail: _Tail) -> None:
        super().__init__()
        self.seq = 0
        self._tails = tails
        self._ref = ref
        self._tail = tail
        tail.readers.add(self)

    def recent(self, after_seq: int, limit: int) -> list[Result] | None:
        self.seq = after_seq
        return self._tail.after(after_seq, limit)

    @property
    def completed(self) -> bool:
        return self._tail.completed

    def close(self) -> None:
        self._tail.readers.discard(self)
        if not self._tail.readers and self._tails.get(self._ref) is self._tail:
            del self._tails[self._ref]


class LocalGathering(_Ear, Gathering):
    """A reader of many messages."""

    def __init__(self, gatherings: "dict[int, list[LocalGathering]]") -> None:
        super().__init__()
        self._gatherings = gatherings
        self._followed: set[int] = set()
        self._news: dict[int, list[Recorded] | None] = {}
        self._kept = 0

    def add(self, recorded: Recorded) -> None:
        """Keeps what is announced, unless it is too much."""
        ref = recorded.message_ref
        self._kept += len(recorded.results)
        if self._kept > MAX_RECENT:
            self._kept -= len(recorded.results)
            self._news[ref] = None
        else:
            kept = self._news.setdefault(ref, [])
            if kept is not None:
                kept.append(recorded)
        self.wake()

    def news(self) -> dict[int, list[Recorded] | None]:
        news, self._news, self._kept = self._news, {}, 0
        return news

    def follow(self, ref: int) -> None:
        if ref not in self._followed:
            self._followed.add(ref)
            self._gatherings.setdefault(ref, []).append(self)

    def leave(self, ref: int) -> None:
        if ref in self._followed:
            self._followed.remove(ref)
            self._news.pop(ref, None)
            others = self._gatherings[ref]
            others.remove(self)
            if not others:
                del self._gatherings[ref]

    def close(self) -> None:
        for ref in list(self._followed):
            self.leave(ref)
