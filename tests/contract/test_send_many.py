"""SendMany against a caller who writes or reads as they like: what is read of them, and what is kept for them."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from bellhop.v1 import notifier_pb2 as notes
from bellhop_server.app.authenticating import Caller
from bellhop_server.app.brief import Briefs
from bellhop_server.app.sending import Sending
from bellhop_server.app.watching import Watching
from bellhop_server.clock import SystemClock
from bellhop_server.domain.acceptance import Accepted
from bellhop_server.domain.errors import InvalidRequest, Overloaded
from bellhop_server.queue.local import LocalQueue
from bellhop_server.rpc.calls import CURRENT, Call
from bellhop_server.rpc.metrics import Metrics
from bellhop_server.rpc.send_many import MOST_WAITING, WINDOW, SendManyStream
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import Known, claimed, put_devices, report, result

AT_ONCE = 100
NOBODY = ("nobody",)


def request(first: int, count: int, *user_ids: str) -> notes.SendManyRequest:
    """Items to these users, numbered."""
    content: dict[str, Any] = {"audience": {"users": {"user_ids": user_ids}}, "notification": {"title": "T"}}
    return notes.SendManyRequest(
        sends=[notes.SendRequest(request_id=f"r{number}", **content) for number in range(first, first + count)]
    )


class Talk:
    """A stream over a store, without a network. `read`: how many requests the server has asked for."""

    def __init__(self, store: SqlStore, sending: Sending | None = None) -> None:
        self.store = store
        self.queue = LocalQueue()
        self.clock = SystemClock()
        self.read = 0
        self.answers: dict[str, list[notes.SendManyAnswer]] = {}
        self.sizes: list[int] = []
        self.watching = Watching(store, self.queue, self.clock)
        self._sending = sending or Sending(store, self.queue, self.clock, Briefs(store))

    async def begin(self, requests: Sequence[notes.SendManyRequest], end: asyncio.Event | None = None) -> None:
        """The caller sends these as fast as they are read, and half-closes, or waits for `end` before."""
        CURRENT.set(Call("/bellhop.v1.Notifier/SendMany", "", 0, Caller("shop")))

        async def written() -> AsyncIterator[notes.SendManyRequest]:
            for each in requests:
                self.read += 1
                yield each
            if end is not None:
                await end.wait()

        self._responses = self._serve(written())

    async def _serve(self, written: AsyncIterator[notes.SendManyRequest]) -> AsyncGenerator[notes.SendManyResponse]:
        with self.watching.following() as following:
            stream = SendManyStream(self._sending, following, Metrics())
            async with aclosing(stream.serve(written)) as responses:
                async for response in responses:
                    yield response

    async def take(self) -> bool:
        """One response. False: that was all."""
        async with asyncio.timeout(20):
            response = await anext(self._responses, None)
        if response is None:
            return False
        self.sizes.append(response.ByteSize())
        for answer in response.answers:
            self.answers.setdefault(answer.request_id, []).append(answer)
        return True

    async def take_until(self, enough: Callable[[], bool]) -> None:
        while not enough():
            assert await self.take()

    async def take_past(self, kind: str, count: int) -> None:
        """Until there are more than so many events of that kind."""
        await self.take_until(lambda: self.count(kind) > count)

    def count(self, kind: str) -> int:
        """Events of that kind so far."""
        return sum(answer.event.WhichOneof("event") == kind for each in self.answers.values() for answer in each)

    async def deliver(self, limit: int) -> None:
        """So many of the batches that wait get their results."""
        batches = await claimed(self.store, now=self.clock.now(), limit=limit)
        reports = [
            report(batch, *(result(each.device_id, user_id=each.user_id) for each in batch.items), done=True)
            for batch in batches
        ]
        for recorded in await self.store.record(reports, self.clock.now()):
            self.queue.announce_results(recorded)

    async def aclose(self) -> None:
        await self._responses.aclose()


@pytest.fixture
async def talk(store: SqlStore, database: Database) -> AsyncIterator[Talk]:
    await put_devices(database, [Known("d1", "anna")])
    talk = Talk(store)
    yield talk
    await talk.aclose()


async def settled(seen: Callable[[], int]) -> int:
    """What a number is once the event loop has had every chance to raise it."""
    for _ in range(100):
        await asyncio.sleep(0)
    return seen()


async def test_no_more_is_read_while_a_thousand_items_are_unanswered(talk: Talk) -> None:
    requests = [request(first, AT_ONCE, "anna") for first in range(0, 2 * WINDOW, AT_ONCE)]
    await talk.begin(requests)
    await talk.take_until(lambda: talk.count("accepted") == WINDOW)
    assert await settled(lambda: talk.read) == WINDOW // AT_ONCE
    await talk.deliver(1)
    await talk.take_until(lambda: talk.count("summary") == 1)
    await talk.take_until(lambda: talk.count("accepted") == WINDOW + AT_ONCE)
    assert await settled(lambda: talk.read) == WINDOW // AT_ONCE + 1

    while (ended := talk.count("summary")) < 2 * WINDOW:
        await talk.take_past("accepted", ended)
        await talk.deliver(WINDOW)
        await talk.take_past("summary", ended)
    assert not await talk.take()
    kinds = Counter(tuple(answer.event.WhichOneof("event") for answer in answers) for answers in talk.answers.values())
    assert kinds == {("accepted", "results", "summary"): 2 * WINDOW}


async def test_refused_items_fill_the_window_until_their_errors_are_taken(talk: Talk) -> None:
    requests = [request(0, 500) for _ in range(8)]
    await talk.begin(requests)
    await talk.take()
    assert await settled(lambda: talk.read) <= 4
    while await talk.take():
        pass

    assert talk.read == 8
    assert sum(answer.HasField("error") for answers in talk.answers.values() for answer in answers) == 8 * 500


async def test_a_reader_that_takes_nothing_stops_the_reading(talk: Talk) -> None:
    """Though every item could be answered at once."""
    requests = [request(first, AT_ONCE, *NOBODY) for first in range(0, 5 * WINDOW, AT_ONCE)]
    await talk.begin(requests)
    await talk.take()
    assert await settled(lambda: talk.read) <= WINDOW // AT_ONCE + 5
    while await talk.take():
        pass
    assert talk.count("summary") == 5 * WINDOW


class Blocked(Sending):
    """Accepts nothing until it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()

    async def accept_many(self, sends: Sequence[Any], committed: Any) -> list[Accepted | Exception]:
        await self.let.wait()
        return [Overloaded("store") for _ in sends]


async def test_few_megabytes_wait_to_be_accepted(store: SqlStore) -> None:
    talk = Talk(store, blocked := Blocked())
    ids = ["x" * 400] * 8_000
    requests = [request(number, 1, *ids) for number in range(20)]
    assert 2 * requests[0].ByteSize() > MOST_WAITING
    await talk.begin(requests)
    first = asyncio.create_task(talk.take())
    # Two of them are being accepted, two wait.
    assert await settled(lambda: talk.read) == 4
    blocked.let.set()
    await first
    while await talk.take():
        pass

    assert talk.read == 20
    assert [len(answers) for answers in talk.answers.values()] == [1] * 20
    error = talk.answers["r0"][0].error
    assert (error.code, error.HasField("retry_delay")) == (8, True)


async def test_responses_stay_below_what_clients_take(talk: Talk) -> None:
    ids = [f"{number:05}{'ü' * 500}" for number in range(100)]
    await talk.begin([request(0, 30, *ids)])
    while await talk.take():
        pass

    assert talk.count("summary") == 30
    assert sum(talk.sizes) > 30 * 100 * 1000
    assert max(talk.sizes) < 1.3 * 1024 * 1024
    for answers in talk.answers.values():
        named = [each.user_id for answer in answers for each in answer.event.results.results]
        assert sorted(named) == sorted(ids)


async def test_a_request_that_breaks_the_rules_ends_a_stream_that_waits(talk: Talk) -> None:
    await talk.begin([request(0, 3, "anna"), notes.SendManyRequest()])
    with pytest.raises(InvalidRequest):
        await talk.take_until(lambda: False)


async def test_a_caller_who_stays_is_answered_as_things_happen(talk: Talk) -> None:
    end = asyncio.Event()
    await talk.begin([request(0, 2, "anna")], end)
    await talk.take_until(lambda: talk.count("accepted") == 2)
    waiting = asyncio.create_task(talk.take_until(lambda: talk.count("summary") == 2))
    await settled(lambda: 0)
    assert not waiting.done()
    await talk.deliver(10)
    await waiting
    end.set()
    assert not await talk.take()
