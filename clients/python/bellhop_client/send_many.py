"""Many sends on one stream, which goes on by itself when it breaks."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from bellhop.v1.event_pb2 import SendEvent
from bellhop.v1.notifier_pb2 import SendManyAnswer, SendManyRequest, SendRequest
from bellhop_client.errors import BellhopError
from bellhop_client.retry import RetryPolicy, is_interruption
from bellhop_client.status import from_call_error, from_rpc_error

if TYPE_CHECKING:
    from bellhop.v1.notifier_pb2_grpc import NotifierAsyncStub

MOST_ITEMS = 500
WINDOW = 1_000
"""Items that are not answered to their end, as many as the server takes of a stream."""


class ManyAnswer(NamedTuple):
    """Something about one item: an event of it, or why it was refused, after which nothing more comes of it."""

    request_id: str
    event: SendEvent | None
    error: BellhopError | None


class _Open:
    """An item that is not answered to its end, and what of it has been told."""

    def __init__(self, request: SendRequest) -> None:
        self.request = request
        self.accepted = False
        self.results = 0
        self._seen = 0

    def begin_again(self) -> None:
        """The item is sent once more, and tells everything from its start."""
        self._seen = 0

    def new(self, event: SendEvent) -> SendEvent | None:
        """The event without what has been told before; None: all of it has."""
        if event.HasField("accepted"):
            told, self.accepted = self.accepted, True
            return None if told else event
        if not event.HasField("results"):
            return event
        known = max(self.results - self._seen, 0)
        self._seen += len(event.results.results)
        self.results = max(self.results, self._seen)
        if not known:
            return event
        del event.results.results[:known]
        return event if event.results.results else None

    def ended_by(self, event: SendEvent) -> bool:
        """Whether nothing comes after it."""
        return event.HasField("summary") or (self.request.accept_only and event.HasField("accepted"))


class SendMany:
    """Sends what `requests` yields, and yields what becomes of it. Iterate it once."""

    def __init__(
        self,
        notifier: "NotifierAsyncStub",
        metadata: tuple[tuple[str, str], ...],
        policy: RetryPolicy,
        requests: AsyncIterable[SendRequest],
    ) -> None:
        self._notifier = notifier
        self._metadata = metadata
        self._policy = policy
        self._source: AsyncIterator[SendRequest] = aiter(requests)
        self._next: asyncio.Task[SendRequest] | None = None
        self._exhausted = False
        self._open: dict[str, _Open] = {}
        self._room = asyncio.Condition()

    async def answers(self) -> AsyncGenerator[ManyAnswer, None]:
        """Every answer, those of one item in their order. Raises BellhopError when the stream itself is refused."""
        failures = 0
        try:
            while True:
                try:
                    async with aclosing(self._stream()) as told:
                        async for answer in told:
                            failures = 0
                            yield answer
                except grpc.aio.AioRpcError as raised:
                    error = from_rpc_error(raised)
                    failures += 1
                    if not is_interruption(error, accepted=True) or failures > self._policy.resuming_attempts:
                        raise error from raised
                    await asyncio.sleep(self._policy.delay(failures, error.retry_after))
                    continue
                return
        finally:
            if self._next is not None:
                self._next.cancel()

    async def _stream(self) -> AsyncGenerator[ManyAnswer, None]:
        call: Any = self._notifier.SendMany(metadata=self._metadata)
        writing = asyncio.create_task(self._write(call))
        try:
            async for response in call:
                for answer in response.answers:
                    told = await self._told(answer)
                    if told is not None:
                        yield told
            await writing
        finally:
            writing.cancel()
            await asyncio.wait((writing,))
            call.cancel()

    async def _told(self, answer: SendManyAnswer) -> ManyAnswer | None:
        item = self._open.get(answer.request_id)
        if item is None:
            return None
        if answer.HasField("error"):
            await self._close(answer.request_id)
            return ManyAnswer(answer.request_id, None, from_call_error(answer.error))
        event, ended = item.new(answer.event), item.ended_by(answer.event)
        if ended:
            await self._close(answer.request_id)
        return None if event is None else ManyAnswer(answer.request_id, event, None)

    async def _close(self, request_id: str) -> None:
        async with self._room:
            del self._open[request_id]
            self._room.notify()

    async def _ended(self, request_id: str) -> None:
        async with self._room:
            await self._room.wait_for(lambda: request_id not in self._open)

    async def _write(self, call: Any) -> None:
        """First what an earlier stream left open, then what comes."""
        left = list(self._open.values())
        for item in left:
            item.begin_again()
        for start in range(0, len(left), MOST_ITEMS):
            await call.write(SendManyRequest(sends=[item.request for item in left[start : start + MOST_ITEMS]]))
        while batch := await self._batch():
            await call.write(SendManyRequest(sends=batch))
        await call.done_writing()

    async def _batch(self) -> list[SendRequest]:
        """The next items: those that are there, and at least one. Empty: there are no more."""
        batch: list[SendRequest] = []
        while len(batch) < MOST_ITEMS and not self._exhausted:
            if self._next is None:
                self._next = asyncio.ensure_future(anext(self._source))
                await asyncio.sleep(0)
            if batch and (not self._next.done() or len(self._open) >= WINDOW):
                break
            async with self._room:
                await self._room.wait_for(lambda: len(self._open) < WINDOW)
            try:
                # Kept while it is waited for: a stream that breaks meanwhile must not lose it.
                request = await asyncio.shield(self._next)
            except StopAsyncIteration:
                self._exhausted = True
                break
            if not request.request_id:
                request.request_id = uuid.uuid4().hex
            elif request.request_id in self._open:
                # Answers to two under one id could not be told apart: the second one waits for the end of the first.
                if batch:
                    break
                await self._ended(request.request_id)
            self._next = None
            self._open[request.request_id] = _Open(request)
            batch.append(request)
        return batch
