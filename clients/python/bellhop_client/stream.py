"""The events of one message, each once, across streams that break."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc

from bellhop.v1.event_pb2 import Accepted, SendEvent, Summary, Validated
from bellhop.v1.message_pb2 import Result
from bellhop.v1.notifier_pb2 import SendRequest, WatchMessageRequest
from bellhop_client.errors import BellhopError, UnavailableError
from bellhop_client.retry import RetryPolicy, is_interruption
from bellhop_client.status import from_rpc_error

if TYPE_CHECKING:
    from bellhop.v1.notifier_pb2 import SendResponse, WatchMessageResponse
    from bellhop.v1.notifier_pb2_grpc import NotifierAsyncStub

    _Call = (
        grpc.aio.UnaryStreamCall[SendRequest, SendResponse]
        | grpc.aio.UnaryStreamCall[WatchMessageRequest, WatchMessageResponse]
    )

_STREAM_TIMEOUT = 900.0
"""Seconds after which one stream ends and the next one goes on, so that long ones move to other nodes too."""


class SendStream(AsyncIterator[SendEvent]):
    """To be iterated once with `async for`; ends after `summary`, or what `accept_only` or `validate_only` ask for.

    A stream that breaks is continued from `cursor` without the caller noticing: every event comes once, `accepted` too.
    Use it as an async context manager, or call `aclose`, to hang up before the end; the message is sent all the same.

    Raises BellhopError when the call is refused, or when it could not be continued (`message_id` and `cursor` then say
    where `Client.watch` goes on).
    """

    def __init__(
        self,
        stub: "NotifierAsyncStub",
        metadata: Sequence[tuple[str, str]],
        retry_policy: RetryPolicy,
        watch: WatchMessageRequest,
        send: SendRequest | None = None,
    ) -> None:
        self.request_id = send.request_id if send else ""
        self.message_id = watch.message_id
        """Empty until the message has been accepted."""
        self.cursor = watch.after_cursor
        """Of the last event that was returned."""
        self.accepted: Accepted | None = None
        self.validated: Validated | None = None
        self.summary: Summary | None = None
        self._stub = stub
        self._metadata = metadata
        self._retry_policy = retry_policy
        self._watch = watch
        self._send = send
        self._events = self._run()

    async def results(self) -> list[Result]:
        """Reads the stream to its end and returns the results that came from here on, all of them in memory."""
        return [result async for event in self for result in event.results.results]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SendEvent:
        return await anext(self._events)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Hangs up. Calling it again, or after the end, does nothing."""
        await self._events.aclose()

    @property
    def _complete(self) -> bool:
        if self.summary or self.validated:
            return True
        return bool(self.accepted and self._send and self._send.accept_only)

    async def _run(self) -> AsyncGenerator[SendEvent, None]:
        failures = 0
        while True:
            call = self._open()
            try:
                async for response in call:
                    event = response.event
                    if self._take(event):
                        failures = 0
                        yield event
                interruption: BellhopError = UnavailableError(
                    grpc.StatusCode.UNAVAILABLE, "the stream ended before its last event"
                )
            except grpc.aio.AioRpcError as rpc_error:
                if self._complete:
                    return
                error = from_rpc_error(rpc_error)
                if not is_interruption(error, accepted=bool(self.message_id)):
                    raise error from rpc_error
                interruption = error
            finally:
                call.cancel()
            if self._complete:
                return
            failures += 1
            policy = self._retry_policy
            if failures >= (policy.resuming_attempts if self.accepted else policy.opening_attempts):
                raise interruption
            await asyncio.sleep(policy.delay(failures, interruption.retry_after))

    def _open(self) -> "_Call":
        if self._send and not self.message_id:
            return self._stub.Send(self._send, metadata=self._metadata, timeout=_STREAM_TIMEOUT)
        self._watch.message_id, self._watch.after_cursor = self.message_id, self.cursor
        return self._stub.WatchMessage(self._watch, metadata=self._metadata, timeout=_STREAM_TIMEOUT)

    def _take(self, event: SendEvent) -> bool:
        """Notes where the stream stands; False when the caller has seen this event already."""
        kind = event.WhichOneof("event")
        if kind == "accepted" and self.accepted:
            return False
        self.cursor = event.cursor
        if kind == "accepted":
            self.accepted, self.message_id = event.accepted, event.accepted.message_id
        elif kind == "validated":
            self.validated = event.validated
        elif kind == "summary":
            self.summary = event.summary
        return True
