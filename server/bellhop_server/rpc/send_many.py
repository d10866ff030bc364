"""Many sends on one stream: accepted in groups, followed together, answered in as few responses as may be."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import NamedTuple

from bellhop.v1 import notifier_pb2 as notes
from bellhop_server.app.following import Following
from bellhop_server.app.sending import Sending
from bellhop_server.domain.acceptance import Accepted
from bellhop_server.domain.errors import BellhopError, InvalidRequest, Violation
from bellhop_server.domain.event import AcceptedEvent, Event, SummaryEvent
from bellhop_server.domain.message import Message
from bellhop_server.rpc import mapping_message
from bellhop_server.rpc.calls import CURRENT, caller
from bellhop_server.rpc.cursors import cursor_of
from bellhop_server.rpc.errors import call_error, incident
from bellhop_server.rpc.metrics import Metrics
from bellhop_server.rpc.validation import validate

MOST_ANSWERS = 500
# Bytes in one response, and the largest answer more: clients take 4 MiB unless told otherwise.
MOST_BYTES = 1024 * 1024
# Items of a stream that are not answered to their end, beyond which no more is read.
WINDOW = 1_000
# Bytes of requests that wait to be accepted, beyond which no more is read.
MOST_WAITING = 4 * 1024 * 1024
SHOWN_ID = 128


class _Answer(NamedTuple):
    """To an item. `message`: what it has become; None: it was refused."""

    request_id: str
    message: Message | None
    content: Event | BellhopError
    last: bool


class SendManyStream:
    """One stream of the application that calls."""

    def __init__(self, sending: Sending, following: Following, metrics: Metrics) -> None:
        self._app_id = caller().app_id
        self._method = CURRENT.get().method
        self._sending = sending
        self._following = following
        self._metrics = metrics
        self._open: set[str] = set()
        """Request ids of items that are neither refused nor answered to their end."""
        self._unanswered = 0
        self._came: list[notes.SendRequest] = []
        self._came_bytes = 0
        self._answers: deque[_Answer] = deque()
        self._room = asyncio.Event()
        self._work = asyncio.Event()

    async def serve(self, requests: AsyncIterator[notes.SendManyRequest]) -> AsyncGenerator[notes.SendManyResponse]:
        """Answers items until the caller has half-closed and every item is answered to its end.

        Raises InvalidRequest for a request that has none or too many items, StreamInterrupted.
        """
        reading, accepting = asyncio.create_task(self._read(requests)), asyncio.create_task(self._accept())
        try:
            for task in (reading, accepting):
                task.add_done_callback(lambda _: self._following.wake())
            while self._unanswered or not reading.done():
                for task in (reading, accepting):
                    if task.done():
                        task.result()
                response = await self._response()
                if response.answers:
                    yield response
                else:
                    await self._following.wait()
            reading.result()
        finally:
            reading.cancel()
            accepting.cancel()
            await asyncio.wait((reading, accepting))

    async def _read(self, requests: AsyncIterator[notes.SendManyRequest]) -> None:
        async for request in requests:
            validate(request)
            for send in request.sends:
                self._unanswered += 1
                wrong = self._wrong(send)
                if wrong is None:
                    self._open.add(send.request_id)
                    self._came.append(send)
                else:
                    self._refuse(send, InvalidRequest([wrong]))
            self._came_bytes += request.ByteSize()
            self._work.set()
            while self._unanswered >= WINDOW or self._came_bytes >= MOST_WAITING:
                self._room.clear()
                await self._room.wait()

    def _wrong(self, send: notes.SendRequest) -> Violation | None:
        """Why an item cannot be one of this stream."""
        if not send.request_id:
            return Violation("request_id", "is required")
        if send.request_id in self._open:
            return Violation("request_id", "is that of an item of this stream that has not had its last answer")
        if send.validate_only:
            return Violation("validate_only", "is not for SendMany")
        return None

    def _refuse(self, send: notes.SendRequest, error: BellhopError) -> None:
        self._answer(_Answer(send.request_id[:SHOWN_ID], None, error, last=True))

    def _answer(self, answer: _Answer) -> None:
        self._answers.append(answer)
        self._following.wake()

    async def _accept(self) -> None:
        """Commits what has come in while the last of it was being committed."""
        while await self._work.wait():
            self._work.clear()
            came, self._came, self._came_bytes = self._came, [], 0
            self._room.set()
            asked = [
                (mapping_message.send_of(self._app_id, send), partial(validate, send))  # The time is to come.
                for send in came
            ]
            outcomes = await self._sending.accept_many(asked, self._expect)
            for send, outcome in zip(came, outcomes, strict=True):
                if isinstance(outcome, Accepted):
                    self._accepted(send, outcome)
                else:
                    self._open.discard(send.request_id)
                    self._refuse(send, _told(self._method, outcome))

    def _expect(self, accepted: Accepted) -> None:
        self._metrics.messages.inc()
        self._following.expect(accepted.message.ref)

    def _accepted(self, send: notes.SendRequest, accepted: Accepted) -> None:
        message = accepted.message
        event = AcceptedEvent(0, message, accepted.replayed)
        if send.accept_only:
            self._following.leave(message.ref)
        else:
            self._following.follow(send.request_id, accepted, mapping_message.filter_of(send.result_filter))
        self._answer(_Answer(send.request_id, message, event, last=send.accept_only))

    async def _response(self) -> notes.SendManyResponse:
        """What there is to say by now."""
        if not self._answers:
            for followed, event in await self._following.tell(MOST_ANSWERS):
                last = isinstance(event, SummaryEvent)
                self._answers.append(_Answer(followed.key, followed.message, event, last))
        response = notes.SendManyResponse()
        size = 0
        while self._answers and len(response.answers) < MOST_ANSWERS and size < MOST_BYTES:
            request_id, message, content, last = self._answers.popleft()
            answer = response.answers.add(request_id=request_id)
            if isinstance(content, BellhopError):
                answer.error.CopyFrom(call_error(content))
            elif message is not None:
                cursor = cursor_of(message.app_id, message.message_id, content.seq)
                mapping_message.write_event(answer.event, content, cursor)
            size += answer.ByteSize()
            if last:
                self._unanswered -= 1
                if message is not None:
                    self._open.discard(request_id)
        if self._unanswered < WINDOW:
            self._room.set()
        return response


def _told(method: str, error: Exception) -> BellhopError:
    return error if isinstance(error, BellhopError) else incident(method, error)
