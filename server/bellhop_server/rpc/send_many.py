"""Many sends on one stream: each item a task of its own, their answers gathered into as few responses as may be."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from bellhop.v1 import error_reason_pb2, event_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop_server.app.sending import Sending
from bellhop_server.app.watching import Watching
from bellhop_server.domain.errors import BellhopError, InvalidRequest, StreamInterrupted, Violation
from bellhop_server.rpc import mapping_message
from bellhop_server.rpc.cursors import cursor_of
from bellhop_server.rpc.errors import MAX_VIOLATIONS, code_of
from bellhop_server.rpc.mapping import duration
from bellhop_server.rpc.metrics import Metrics
from bellhop_server.rpc.validation import validate

MOST_ITEMS = 500
WINDOW = 1_000
"""Items of a stream that are not answered to their end, beyond which no more is read."""
_SHOWN_ID = 128

_MICROS = 1_000_000


class SendManyStream:
    """One stream of an application."""

    def __init__(self, app_id: str, sending: Sending, watching: Watching, metrics: Metrics) -> None:
        self._app_id = app_id
        self._sending = sending
        self._watching = watching
        self._metrics = metrics
        self._open: set[str] = set()
        # Bounded: an item goes on only when its answer has found room, so that a slow reader holds up its items and
        # not our memory.
        self._answers: asyncio.Queue[notes.SendManyAnswer | None] = asyncio.Queue(MOST_ITEMS)
        self._answered = asyncio.Condition()

    async def serve(self, requests: AsyncIterator[notes.SendManyRequest]) -> AsyncGenerator[notes.SendManyResponse]:
        """Answers items until the caller has half-closed and every item is answered to its end.

        Raises InvalidRequest for a request that has none or too many items, StreamInterrupted.
        """
        working = asyncio.create_task(self._work(requests))
        try:
            while (first := await self._answers.get()) is not None:
                answers = [first]
                ended = False
                while len(answers) < MOST_ITEMS and not self._answers.empty() and not ended:
                    answer = self._answers.get_nowait()
                    if answer is None:
                        ended = True
                    else:
                        answers.append(answer)
                yield notes.SendManyResponse(answers=answers)
                if ended:
                    break
            await working
        finally:
            working.cancel()
            await asyncio.wait((working,))

    async def _work(self, requests: AsyncIterator[notes.SendManyRequest]) -> None:
        """Reads items, and carries each out beside the others; tells the end of it all by None."""
        try:
            async with asyncio.TaskGroup() as items:
                async for request in requests:
                    if not 1 <= len(request.sends) <= MOST_ITEMS:
                        text = f"has {len(request.sends)} items; 1 to {MOST_ITEMS} are allowed"
                        raise InvalidRequest([Violation("sends", text)])
                    for send in request.sends:
                        await self._begin(send, items)
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            # Whoever reads is told, also when there is no room: what is in it then is of no use to a broken stream.
            while self._answers.full():
                self._answers.get_nowait()
            self._answers.put_nowait(None)

    async def _begin(self, send: notes.SendRequest, items: asyncio.TaskGroup) -> None:
        wrong = self._wrong(send)
        if wrong:
            await self._tell(send.request_id, error=InvalidRequest([Violation(*wrong)]))
            return
        async with self._answered:
            await self._answered.wait_for(lambda: len(self._open) < WINDOW)
        self._open.add(send.request_id)
        items.create_task(self._carry_out(send))

    def _wrong(self, send: notes.SendRequest) -> tuple[str, str] | None:
        """Why an item cannot be one of this stream."""
        if not send.request_id:
            return "request_id", "is required"
        if send.request_id in self._open:
            return "request_id", "is that of an item of this stream that is not answered yet"
        if send.validate_only:
            return "validate_only", "is not for a stream of sends"
        return None

    async def _carry_out(self, request: notes.SendRequest) -> None:
        try:
            await self._events(request)
        except StreamInterrupted:
            raise
        except BellhopError as error:
            await self._tell(request.request_id, error=error)
        finally:
            self._open.discard(request.request_id)
            async with self._answered:
                self._answered.notify()

    async def _events(self, request: notes.SendRequest) -> None:
        send = mapping_message.send_of(self._app_id, request)
        accepted = await self._sending.accept(send, lambda now: validate(request, now))
        if not accepted.replayed:
            self._metrics.messages.inc()
        message = accepted.message
        shows = mapping_message.filter_of(request.result_filter)
        events = self._watching.watch(message, 0, shows, replayed=accepted.replayed)
        async with aclosing(events):
            async for event in events:
                cursor = cursor_of(message.app_id, message.message_id, event.seq)
                await self._tell(request.request_id, event=mapping_message.send_event(event, cursor))
                if request.accept_only:
                    return

    async def _tell(
        self, request_id: str, *, event: event_pb2.SendEvent | None = None, error: BellhopError | None = None
    ) -> None:
        shown = request_id[:_SHOWN_ID]
        told = None if error is None else call_error(error)
        await self._answers.put(notes.SendManyAnswer(request_id=shown, event=event, error=told))


def call_error(error: BellhopError) -> event_pb2.CallError:
    """What the status of a call would have said."""
    told = event_pb2.CallError(
        code=code_of(error).value[0],
        reason=error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{error.reason}"),
        message=error.text,
        retry_delay=None if error.retry_after is None else duration(round(error.retry_after * _MICROS)),
        metadata=error.metadata,
    )
    if isinstance(error, InvalidRequest):
        for violation in error.violations[:MAX_VIOLATIONS]:
            told.field_violations.add(field=violation.field, description=violation.description)
    return told


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the stream: of many that fail together the first one is told."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
