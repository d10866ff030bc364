"""The calls of bellhop.v1.Notifier. What the arguments mean and which errors come is said in the contract."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from bellhop.v1 import notifier_pb2 as pb
from bellhop.v1.device_pb2 import Platform
from bellhop.v1.event_pb2 import RESULT_FILTER_UNSPECIFIED, ResultFilter
from bellhop.v1.message_pb2 import (
    Audience,
    MessageState,
    Notification,
    Outcome,
    PushMessage,
    Result,
    SendOptions,
)
from bellhop.v1.notifier_pb2_grpc import NotifierStub
from bellhop_client.connection import Connection
from bellhop_client.retry import RetryPolicy
from bellhop_client.send_many import ManyAnswer, SendMany
from bellhop_client.stream import SendStream

if TYPE_CHECKING:
    from bellhop.v1.notifier_pb2_grpc import NotifierAsyncStub


class NotifierCalls(Connection):
    """Sending, and what became of it. Each method, and each stream while it is iterated, raises BellhopError."""

    _retry_policy: RetryPolicy

    @cached_property
    def _notifier(self) -> "NotifierAsyncStub":
        return NotifierStub(self._channel)

    def send(
        self,
        *,
        audience: Audience,
        notification: Notification,
        options: SendOptions | None = None,
        request_id: str = "",
        message_id: str = "",
        result_filter: ResultFilter.ValueType = RESULT_FILTER_UNSPECIFIED,
        accept_only: bool = False,
        validate_only: bool = False,
    ) -> SendStream:
        """Sends one message when the stream is first iterated.

        Without `request_id` and `message_id` a `request_id` is made up, so that repeating the call after an
        interruption is never a second push. `accepted.replayed` is then true when an earlier attempt had arrived.
        """
        request = pb.SendRequest(
            request_id=request_id or ("" if message_id else uuid.uuid4().hex),
            message_id=message_id,
            audience=audience,
            notification=notification,
            options=options,
            result_filter=result_filter,
            accept_only=accept_only,
            validate_only=validate_only,
        )
        watch = pb.WatchMessageRequest(result_filter=result_filter)
        return SendStream(self._notifier, self._metadata, self._retry_policy, watch, request)

    def send_many(self, requests: AsyncIterable[pb.SendRequest]) -> AsyncGenerator[ManyAnswer, None]:
        """Sends what `requests` yields on one stream, and yields what becomes of each by its `request_id`.

        A request without an id is given one. A stream that breaks goes on by itself, and nothing is told twice but
        `progress`. No more is asked of `requests` while 1,000 of them are not answered to their end.
        """
        return SendMany(self._notifier, self._metadata, self._retry_policy, requests).answers()

    def watch(
        self,
        message_id: str,
        *,
        after_cursor: str = "",
        result_filter: ResultFilter.ValueType = RESULT_FILTER_UNSPECIFIED,
    ) -> SendStream:
        """Streams the events of a message again, after a cursor."""
        watch = pb.WatchMessageRequest(message_id=message_id, after_cursor=after_cursor, result_filter=result_filter)
        return SendStream(self._notifier, self._metadata, self._retry_policy, watch)

    def explain(
        self,
        *,
        audience: Audience,
        notification: Notification,
        options: SendOptions | None = None,
        max_devices: int = 0,
    ) -> AsyncGenerator[pb.ExplainSendResponse, None]:
        """For each device the request to its provider that `send` would make; sends nothing. No order is promised."""
        request = pb.ExplainSendRequest(
            audience=audience, notification=notification, options=options, max_devices=max_devices
        )
        return self._stream(self._notifier.ExplainSend, request)

    async def cancel_message(self, *, message_id: str) -> pb.CancelMessageResponse:
        """Takes back what has not been handed over; nothing of the message is once this has returned.

        Safe to repeat. A stream on the message goes on to its `summary`.
        """
        return await self._call(self._notifier.CancelMessage, pb.CancelMessageRequest(message_id=message_id))

    async def get_message(
        self, *, message_id: str, view: pb.MessageView.ValueType = pb.MESSAGE_VIEW_UNSPECIFIED
    ) -> pb.GetMessageResponse:
        """Returns one message with its numbers so far."""
        return await self._call(self._notifier.GetMessage, pb.GetMessageRequest(message_id=message_id, view=view))

    async def list_messages(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        states: Iterable[MessageState.ValueType] = (),
        accepted_from_time: Timestamp | None = None,
        accepted_until_time: Timestamp | None = None,
        view: pb.MessageView.ValueType = pb.MESSAGE_VIEW_UNSPECIFIED,
    ) -> pb.ListMessagesResponse:
        """One page of messages, the latest first; `messages` walks over all of them."""
        request = pb.ListMessagesRequest(
            page_size=page_size,
            page_token=page_token,
            states=states,
            accepted_from_time=accepted_from_time,
            accepted_until_time=accepted_until_time,
            view=view,
        )
        return await self._call(self._notifier.ListMessages, request)

    async def messages(
        self,
        *,
        states: Iterable[MessageState.ValueType] = (),
        accepted_from_time: Timestamp | None = None,
        accepted_until_time: Timestamp | None = None,
        view: pb.MessageView.ValueType = pb.MESSAGE_VIEW_UNSPECIFIED,
        page_size: int = 0,
    ) -> AsyncIterator[PushMessage]:
        """All messages that the filters match, page by page, the latest first."""
        request = pb.ListMessagesRequest(
            page_size=page_size,
            states=states,
            accepted_from_time=accepted_from_time,
            accepted_until_time=accepted_until_time,
            view=view,
        )
        async for page in self._pages(self._notifier.ListMessages, request):
            for message in page.messages:
                yield message

    async def list_results(
        self,
        *,
        message_id: str,
        page_size: int = 0,
        page_token: str = "",
        result_filter: ResultFilter.ValueType = RESULT_FILTER_UNSPECIFIED,
        outcomes: Iterable[Outcome.ValueType] = (),
        platforms: Iterable[Platform.ValueType] = (),
        device_id: str = "",
        user_id: str = "",
    ) -> pb.ListResultsResponse:
        """One page of final results; `results` walks over all of them."""
        request = pb.ListResultsRequest(
            message_id=message_id,
            page_size=page_size,
            page_token=page_token,
            result_filter=result_filter,
            outcomes=outcomes,
            platforms=platforms,
            device_id=device_id,
            user_id=user_id,
        )
        return await self._call(self._notifier.ListResults, request)

    async def results(
        self,
        *,
        message_id: str,
        result_filter: ResultFilter.ValueType = RESULT_FILTER_UNSPECIFIED,
        outcomes: Iterable[Outcome.ValueType] = (),
        platforms: Iterable[Platform.ValueType] = (),
        device_id: str = "",
        user_id: str = "",
        page_size: int = 0,
    ) -> AsyncIterator[Result]:
        """All final results that the filters match, page by page, in the order in which they were written."""
        request = pb.ListResultsRequest(
            message_id=message_id,
            page_size=page_size,
            result_filter=result_filter,
            outcomes=outcomes,
            platforms=platforms,
            device_id=device_id,
            user_id=user_id,
        )
        async for page in self._pages(self._notifier.ListResults, request):
            for result in page.results:
                yield result
