"""Many messages followed for one reader: what a stream of its own would tell of each, with few statements for all.

Results come from memory as they are announced. What of them was not kept, because the reader is slow or was not there
yet, is read from the store, a page at a time.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from bellhop_server.domain.acceptance import Accepted
from bellhop_server.domain.batch import Recorded
from bellhop_server.domain.errors import MessageNotFound, StreamInterrupted, Unavailable
from bellhop_server.domain.event import Event, ProgressEvent, ResultsEvent, SummaryEvent
from bellhop_server.domain.message import Audience, AudienceKind, Message, MessageCounts, Result, ResultFilter, shown
from bellhop_server.domain.notification import Notification
from bellhop_server.domain.query import ResultQuery
from bellhop_server.ports import Clock, Gathering, MessageStore

PAGE = 200
# Results in one go, of all messages together: about half a megabyte.
RESULTS_AT_ONCE = 2000
# As for a stream on one message: seconds until a sign of life, and until numbers stand for results that are hidden.
QUIET = 10.0
HIDDEN = 1.0

# Of a message that is followed only its identity and its times are kept: the rest may be four megabytes.
_NOBODY, _NOTHING = Audience(AudienceKind.USERS), Notification()


@dataclass(slots=True, eq=False)
class Followed:
    """A message, and how far it has been told. `key` is the reader's own name for it."""

    key: str
    message: Message
    shows: ResultFilter
    told: float
    seq: int = 0
    pages: deque[list[Result]] = field(default_factory=deque)
    """Announced, and not told yet."""
    behind: bool = False
    """The store has to be asked for what comes next."""
    over: bool = False
    """It has been announced that the message has all its results."""
    progress: MessageCounts | None = None
    hidden: bool = False
    """Results have been told of by nothing yet."""
    asked: bool = False
    """The store has had no more since then."""
    waiting: bool = False
    """Its turn will come."""


Told = tuple[Followed, Event]


class Following:
    """The messages of one reader. Not for two at a time."""

    def __init__(
        self, gathering: Gathering, store: MessageStore, clock: Clock, interrupted: Callable[[], bool]
    ) -> None:
        self._gathering = gathering
        self._store = store
        self._clock = clock
        self._interrupted = interrupted
        self._followed: dict[int, list[Followed]] = {}
        # Of messages that are expected and not followed yet.
        self._early: dict[int, list[Recorded] | None] = {}
        self._turns: deque[Followed] = deque()
        self._swept = clock.monotonic()

    def expect(self, ref: int) -> None:
        """Keeps what is announced of a message that will be followed, or left."""
        self._gathering.follow(ref)

    def leave(self, ref: int) -> None:
        """The message is not to be followed after all."""
        if ref not in self._followed:
            self._early.pop(ref, None)
            self._gathering.leave(ref)

    def follow(self, key: str, accepted: Accepted, shows: ResultFilter) -> None:
        """Tells of a message from its first result on. A new one must have been expected since its commit."""
        message = replace(accepted.message, audience=_NOBODY, notification=_NOTHING)
        followed = Followed(key, message, shows, self._clock.monotonic())
        ref = message.ref
        self._gathering.follow(ref)
        self._followed.setdefault(ref, []).append(followed)
        if accepted.replayed:
            followed.behind = True
            self._want(followed)
        elif ref in self._early:
            self._note(followed, self._early.pop(ref))

    def wake(self) -> None:
        """Ends a wait."""
        self._gathering.wake()

    async def wait(self) -> None:
        """Returns once there may be something to tell."""
        if not self._turns:
            await self._gathering.wait(HIDDEN)

    async def tell(self, most: int) -> list[Told]:
        """What is there to be told by now: so many events at most. A message is followed up to its summary.

        Raises StreamInterrupted when the server goes down, the store is away or a message is deleted.
        """
        if self._interrupted():
            raise StreamInterrupted("", "")
        try:
            await self._sweep()
            self._hear()
            return await self._events(most)
        except (Unavailable, MessageNotFound):
            raise StreamInterrupted("", "") from None

    def _hear(self) -> None:
        for ref, news in self._gathering.news().items():
            if ref not in self._followed:
                early = self._early.setdefault(ref, [])
                self._early[ref] = None if news is None or early is None else early + news
            for followed in self._followed.get(ref, ()):
                self._note(followed, news)

    def _note(self, followed: Followed, news: Sequence[Recorded] | None) -> None:
        self._want(followed)
        followed.asked = False
        if news is None:
            followed.behind = True
            return
        for recorded in news:
            followed.over = followed.over or recorded.completed
            if followed.behind or not recorded.results:
                continue
            told = followed.seq + sum(map(len, followed.pages)) - (recorded.first_seq - 1)
            if told < 0:
                followed.behind = True
                followed.pages.clear()
            else:
                followed.pages += _pages(recorded.results[told:])

    def _want(self, followed: Followed) -> None:
        if not followed.waiting:
            followed.waiting = True
            self._turns.append(followed)

    async def _events(self, most: int) -> list[Told]:
        told: list[Told] = []
        ending: list[Followed] = []
        results, now = 0, self._clock.monotonic()
        # One may have results and its summary.
        while self._turns and len(told) + len(ending) < most - 1 and results < RESULTS_AT_ONCE:
            followed = self._turns.popleft()
            followed.waiting = False
            page = followed.pages.popleft() if followed.pages else await self._page(followed)
            results += len(page)
            followed.seq += len(page)
            visible = shown(page, followed.shows)
            followed.hidden = followed.hidden or len(visible) < len(page)
            if visible:
                told.append((followed, ResultsEvent(followed.seq, visible)))
                followed.told = now
            elif followed.progress is not None:
                told.append((followed, ProgressEvent(followed.seq, followed.progress)))
                followed.progress, followed.told, followed.hidden = None, now, False
            if followed.pages or followed.behind:
                self._want(followed)
            elif followed.over:
                ending.append(followed)
        if ending:
            told += await self._summaries(ending)
        return told

    async def _page(self, followed: Followed) -> list[Result]:
        """The next results, where they have to be asked for. With fewer than a page it is behind no more."""
        if not followed.behind:
            return []
        seq, ref = followed.seq, followed.message.ref
        rows = await self._store.list_results(ResultQuery(ref), seq, PAGE)
        # Retention deletes a large message from its first result on; what is left of it is no stream any more.
        if rows and rows[-1][0] != seq + len(rows):
            raise MessageNotFound(followed.message.message_id)
        if len(rows) < PAGE:
            # What the store does not have by now will be announced; but perhaps it has ended long ago.
            followed.behind, followed.over, followed.asked = False, True, True
        return [result for _, result in rows]

    async def _summaries(self, ending: Sequence[Followed]) -> list[Told]:
        """The ends of those that have come to it. The others have been taken to be over in vain, or are behind."""
        endings = await self._store.endings([followed.message.ref for followed in ending])
        told: list[Told] = []
        for followed in ending:
            followed.over = False
            end = endings.get(followed.message.ref)
            if end is None:
                continue
            if followed.seq != end.counts.finished_count + end.counts.not_registered_count:
                # The last results were announced before others that are older than they.
                if not followed.asked:
                    followed.behind = True
                    self._want(followed)
                continue
            message = replace(followed.message, state=end.state, complete_time=end.complete_time)
            told.append((followed, SummaryEvent(followed.seq, message, end.counts)))
            self._end(followed)
        return told

    def _end(self, followed: Followed) -> None:
        ref = followed.message.ref
        others = self._followed[ref]
        others.remove(followed)
        if not others:
            del self._followed[ref]
            self._gathering.leave(ref)

    async def _sweep(self) -> None:
        """Numbers for those of whom nothing has been told for long, and a look for what nobody has announced: another
        process may have written it.
        """
        now = self._clock.monotonic()
        if now - self._swept < HIDDEN:
            return
        self._swept = now
        overdue = [
            followed
            for several in self._followed.values()
            for followed in several
            if not followed.waiting and now - followed.told >= (HIDDEN if followed.hidden else QUIET)
        ]
        if not overdue:
            return
        counts = await self._store.counts([followed.message.ref for followed in overdue])
        for followed in overdue:
            if followed.message.ref not in counts:
                raise MessageNotFound(followed.message.message_id)
            known = followed.progress = counts[followed.message.ref]
            seq = known.finished_count + known.not_registered_count
            followed.asked, followed.behind = False, seq > followed.seq
            followed.over = known.planned and known.finished_count == known.device_count
            self._want(followed)


def _pages(results: Sequence[Result]) -> list[list[Result]]:
    return [list(results[start : start + PAGE]) for start in range(0, len(results), PAGE)]
