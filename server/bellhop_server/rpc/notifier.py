"""The service that sends, and tells what became of it."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from bellhop.v1 import event_pb2, message_pb2, notifier_pb2_grpc
from bellhop.v1 import notifier_pb2 as notes
from bellhop_server.app.cancelling import Cancelling
from bellhop_server.app.explaining import Explaining
from bellhop_server.app.sending import Sending
from bellhop_server.app.watching import Watching
from bellhop_server.domain.device import Platform
from bellhop_server.domain.event import Event
from bellhop_server.domain.message import Message, MessageState, Outcome, ResultFilter
from bellhop_server.domain.query import ResultQuery
from bellhop_server.ports import MessageStore
from bellhop_server.rpc import mapping, mapping_message
from bellhop_server.rpc.calls import CURRENT, caller
from bellhop_server.rpc.cursors import seq_of
from bellhop_server.rpc.metrics import Metrics
from bellhop_server.rpc.pages import BY_NUMBER, BY_TIME_AND_NUMBER, Paging, Position
from bellhop_server.rpc.send_many import SendManyStream
from bellhop_server.rpc.shared_pages import R, SharedPages
from bellhop_server.rpc.validation import validate

MESSAGES_PAGE, MAX_MESSAGES_PAGE = 50, 500
RESULTS_PAGE, MAX_RESULTS_PAGE = 200, 1000
EXPLAINED = 20

# Messages are read from the store with what was sent, up to 4 MiB each, so few at a time.
_READ_AT_ONCE = 25


class NotifierServicer(notifier_pb2_grpc.NotifierServicer):
    """Maps the Notifier service to `Sending`, `Cancelling`, `Explaining` and `Watching`, its lists to the store."""

    def __init__(
        self,
        sending: Sending,
        cancelling: Cancelling,
        explaining: Explaining,
        watching: Watching,
        store: MessageStore,
        metrics: Metrics,
    ) -> None:
        self._sending = sending
        self._cancelling = cancelling
        self._explaining = explaining
        self._watching = watching
        self._store = store
        self._metrics = metrics
        self._pages = SharedPages()

    async def Send(self, request: notes.SendRequest, context: Any) -> AsyncGenerator[notes.SendResponse]:
        send = mapping_message.send_of(caller().app_id, request)
        if request.validate_only:
            resolved = await self._sending.resolve(send, lambda now: validate(request, now))
            counts = mapping_message.message_counts(resolved)
            yield notes.SendResponse(event=event_pb2.SendEvent(validated=event_pb2.Validated(counts=counts)))
            return
        accepted = await self._sending.accept(send, lambda now: validate(request, now))
        if not accepted.replayed:
            self._metrics.messages.inc()
        result_filter = mapping_message.filter_of(request.result_filter)
        events = self._watching.watch(accepted.message, 0, result_filter, replayed=accepted.replayed)
        told = self._told(notes.SendResponse, accepted.message, result_filter, events)
        async with aclosing(events), aclosing(told):
            async for response in told:
                yield response
                if request.accept_only:
                    return

    async def SendMany(
        self, request_iterator: AsyncIterator[notes.SendManyRequest], context: Any
    ) -> AsyncGenerator[notes.SendManyResponse]:
        with self._watching.following() as following:
            responses = SendManyStream(self._sending, following, self._metrics).serve(request_iterator)
            async with aclosing(responses):
                async for response in responses:
                    yield response

    async def WatchMessage(
        self, request: notes.WatchMessageRequest, context: Any
    ) -> AsyncGenerator[notes.WatchMessageResponse]:
        validate(request)
        message = await self._store.get_message(caller().app_id, request.message_id)
        after = seq_of(message.app_id, message.message_id, request.after_cursor)
        result_filter = mapping_message.filter_of(request.result_filter)
        events = self._watching.watch(message, after, result_filter)
        told = self._told(notes.WatchMessageResponse, message, result_filter, events)
        async with aclosing(events), aclosing(told):
            async for response in told:
                yield response

    async def GetMessage(self, request: notes.GetMessageRequest, context: Any) -> notes.GetMessageResponse:
        validate(request)
        message = await self._store.get_message(caller().app_id, request.message_id)
        (shown,) = await self._shown([message], request.view)
        return notes.GetMessageResponse(message=shown)

    async def ListMessages(self, request: notes.ListMessagesRequest, context: Any) -> notes.ListMessagesResponse:
        validate(request)
        paging = Paging(request, caller().app_id, BY_TIME_AND_NUMBER, default=MESSAGES_PAGE, most=MAX_MESSAGES_PAGE)
        page, token = await paging.fill(self._messages(request, paging))
        return notes.ListMessagesResponse(messages=page, next_page_token=token)

    async def _messages(
        self, request: notes.ListMessagesRequest, paging: Paging
    ) -> AsyncIterator[tuple[message_pb2.PushMessage, Position]]:
        begin, end = request.accepted_from_time, request.accepted_until_time
        before = (int(paging.after[0]), int(paging.after[1])) if paging.after else None
        while True:
            messages = await self._store.list_messages(
                caller().app_id,
                tuple(map(MessageState, request.states)),
                mapping.micros_of(begin) if request.HasField("accepted_from_time") else None,
                mapping.micros_of(end) if request.HasField("accepted_until_time") else None,
                before,
                min(_READ_AT_ONCE, paging.size + 1),
            )
            for message, shown in zip(messages, await self._shown(messages, request.view), strict=True):
                before = (message.accept_time, message.ref)
                yield shown, list(before)
            if len(messages) < min(_READ_AT_ONCE, paging.size + 1):
                return

    async def ListResults(self, request: notes.ListResultsRequest, context: Any) -> notes.ListResultsResponse:
        validate(request)
        message = await self._store.get_message(caller().app_id, request.message_id)
        paging = Paging(request, caller().app_id, BY_NUMBER, default=RESULTS_PAGE, most=MAX_RESULTS_PAGE)
        query = ResultQuery(
            message.ref,
            mapping_message.filter_of(request.result_filter),
            tuple(map(Outcome, request.outcomes)),
            tuple(map(Platform, request.platforms)),
            request.device_id,
            request.user_id,
        )
        after = int(paging.after[0]) if paging.after else 0

        async def rows() -> AsyncIterator[tuple[message_pb2.Result, Position]]:
            found = await self._store.list_results(query, after, paging.size + 1)
            devices = {result.device_id for _, result in found if result.device_id}
            reported = await self._store.interactions_of(message.ref, devices) if devices else {}
            for seq, result in found:
                shown = mapping_message.result(result)
                if result.attempts:
                    shown.interactions.extend(
                        message_pb2.Interaction.ValueType(each) for each in reported.get(result.device_id, ())
                    )
                yield shown, [seq]

        page, token = await paging.fill(rows())
        return notes.ListResultsResponse(results=page, next_page_token=token)

    async def CancelMessage(self, request: notes.CancelMessageRequest, context: Any) -> notes.CancelMessageResponse:
        validate(request)
        message = await self._cancelling.cancel(caller().app_id, request.message_id)
        (shown,) = await self._shown([message], notes.MESSAGE_VIEW_BASIC)
        return notes.CancelMessageResponse(message=shown)

    async def ExplainSend(
        self, request: notes.ExplainSendRequest, context: Any
    ) -> AsyncGenerator[notes.ExplainSendResponse]:
        send = mapping_message.explained_of(caller().app_id, request)
        explained = self._explaining.explain(send, request.max_devices or EXPLAINED, lambda now: validate(request, now))
        async with aclosing(explained):
            async for each in explained:
                yield mapping_message.explanation(each)

    async def _shown(self, messages: list[Message], view: int) -> list[message_pb2.PushMessage]:
        if not messages:
            return []
        refs = [message.ref for message in messages]
        counts, reported = await self._store.counts(refs), await self._store.interaction_counts(refs)
        full, shown = view == notes.MESSAGE_VIEW_FULL, []
        for each in messages:
            message = mapping_message.push_message(each, counts[each.ref], full=full)
            message.counts.interactions.extend(map(mapping_message.interaction_count, reported[each.ref]))
            shown.append(message)
        return shown

    async def _told(
        self, kind: type[R], message: Message, result_filter: ResultFilter, events: AsyncIterator[Event]
    ) -> AsyncGenerator[R]:
        """Events as responses. Notes what the reader has taken, since it goes on only then."""
        call = CURRENT.get()
        call.message_id = message.message_id
        async for event in events:
            response = self._pages.response(kind, message, result_filter, event)
            yield response
            call.cursor = response.event.cursor
