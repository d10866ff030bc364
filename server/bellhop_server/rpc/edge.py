"""The edge: what every call passes on its way in and out, in one place.

In: admission, credentials, size, parsing, in this order, so that nothing of a request but its metadata is looked at
before its caller is known. Requests reach us as bytes for that reason. Out: every error, before or amid a stream,
becomes a rich status; what nobody foresaw becomes an incident, of which the caller learns the number alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, aclosing
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from bellhop_server.app.authenticating import Access, Authenticating
from bellhop_server.domain import errors
from bellhop_server.ports import Clock
from bellhop_server.rpc.admission import Admission, Limits
from bellhop_server.rpc.auth import ACCESS, Gateways, WrongAttempts, presented
from bellhop_server.rpc.calls import CURRENT, Call
from bellhop_server.rpc.errors import ending_of, incident
from bellhop_server.rpc.metrics import Metrics

if TYPE_CHECKING:  # Generic in the stubs alone.
    Context = grpc.aio.ServicerContext[bytes, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]

T = TypeVar("T")

OURS = "/bellhop."

# A reader that takes nothing will not take the status either.
_ABORT_SECONDS = 5.0

_log = structlog.stdlib.get_logger(__name__)


class _ReaderStalled(Exception):
    """The reader of a stream took nothing for too long."""


class _ReaderGone(Exception):
    """The reader of a stream has hung up."""


class Edge(grpc.aio.ServerInterceptor):
    """Serves the methods of the contract. Of other services (health, reflection) it counts the streams alone."""

    def __init__(
        self,
        authenticating: Authenticating,
        admission: Admission,
        limits: Limits,
        metrics: Metrics,
        clock: Clock,
        gateways: Gateways,
    ) -> None:
        self._authenticating = authenticating
        self._admission = admission
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._gateways = gateways
        self._attempts = WrongAttempts(limits.wrong_credentials)
        self._handlers: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wraps a handler of ours, once for each method."""
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        wrapped = self._wrapped(method, handler) if method.startswith(OURS) else self._counted(method, handler)
        self._handlers[method] = wrapped
        return wrapped

    def _wrapped(self, method: str, handler: Handler) -> Handler:
        access = ACCESS[method]
        parse: Any = handler.request_deserializer
        answer: Any = handler.unary_unary
        answers: Any = handler.unary_stream or handler.stream_stream

        async def unary(raw: bytes, context: Context) -> Message | None:
            call = Call(method, context.peer(), self._clock.now())
            started = perf_counter()

            async def serve() -> Message:
                request = await self._admit(call, access, raw, context, parse)
                response: Message = await answer(request, context)
                return response

            response = await self._guarded(call, context, serve)
            self._metrics.seconds.labels(method).observe(perf_counter() - started)
            return response

        async def stream(raw: bytes, context: Context) -> None:
            call = Call(method, context.peer(), self._clock.now())

            async def serve() -> None:
                request = await self._admit(call, access, raw, context, parse)
                with self._admission.stream(call.peer, call.caller.app_id):
                    await self._pump(answers(request, context), context)

            with self._metrics.streams.labels(method).track_inprogress():
                await self._guarded(call, context, serve)

        async def both(raws: AsyncIterator[bytes], context: Context) -> None:
            call = Call(method, context.peer(), self._clock.now())

            async def parsed() -> AsyncGenerator[Message]:
                async for raw in raws:
                    # A secret that has ended since the stream began takes nothing more.
                    await self._authenticate(call, access, context)
                    yield self._parsed(raw, parse)

            async def serve() -> None:
                await self._authenticate(call, access, context)
                with self._admission.stream(call.peer, call.caller.app_id):
                    await self._pump(answers(parsed(), context), context)

            with self._metrics.streams.labels(method).track_inprogress():
                await self._guarded(call, context, serve)

        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(both, None, handler.response_serializer)
        if answers is not None:
            return grpc.unary_stream_rpc_method_handler(stream, None, handler.response_serializer)
        return grpc.unary_unary_rpc_method_handler(unary, None, handler.response_serializer)

    def _counted(self, method: str, handler: Handler) -> Handler:
        """Another service's handler. Its streams, open to anybody, are as many over a connection as ours may be."""
        serve: Any = handler.stream_stream or handler.unary_stream
        if serve is None:
            return handler

        async def stream(asked: Any, context: Context) -> None:
            call = Call(method, context.peer(), self._clock.now())
            try:
                with self._admission.stream(call.peer):
                    await serve(asked, context)
            except errors.Overloaded as error:
                await self._abort(call, context, error)

        codec = (handler.request_deserializer, handler.response_serializer)
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, *codec)
        return grpc.unary_stream_rpc_method_handler(stream, *codec)

    async def _admit(
        self, call: Call, access: Access, raw: bytes, context: Context, parse: Callable[[bytes], Message]
    ) -> Message:
        """The request of a caller who is known by then."""
        await self._authenticate(call, access, context)
        return self._parsed(raw, parse)

    async def _authenticate(self, call: Call, access: Access, context: Context) -> None:
        """Learns who calls. Raises what `Authenticating.authenticate` raises, InvalidRequest."""
        metadata = tuple(context.invocation_metadata() or ())
        size = sum(len(key) + len(value) for key, value in metadata)
        self._check_size("metadata", size, self._limits.metadata_bytes)
        call.client = self._gateways.client(call.peer, metadata)
        came = presented(metadata)
        # `authorization` may be a guess at the admin token, which is one secret, whatever application they name.
        call.attempt_at = "" if access.admin or came.bearer else came.app_id
        call.caller = await self._authenticating.authenticate(came, access)

    def _parsed(self, raw: bytes, parse: Callable[[bytes], Message]) -> Message:
        """Raises InvalidRequest."""
        self._check_size("request", len(raw), self._limits.request_bytes)
        try:
            return parse(raw)
        except DecodeError:
            violation = errors.Violation("request", "is not a message of this method")
            raise errors.InvalidRequest([violation]) from None

    def _check_size(self, what: str, size: int, most: int) -> None:
        if size > most:
            violation = errors.Violation(what, f"has {size} bytes; at most {most} are allowed")
            raise errors.InvalidRequest([violation], {"limit": f"{what}_bytes", "value": str(most)})

    async def _pump(self, responses: AsyncGenerator[Message], context: Context) -> None:
        """Writes what the servicer yields. It goes on only once its last message has been taken."""
        async with aclosing(responses):
            async for response in responses:
                try:
                    async with asyncio.timeout(self._limits.reader_seconds):
                        await context.write(response)
                except TimeoutError:
                    raise _ReaderStalled() from None
                except grpc.aio.InternalError:
                    # gRPC's word for a caller who hung up just now; the context may not know of it yet.
                    raise _ReaderGone() from None

    async def _guarded(self, call: Call, context: Context, serve: Callable[[], Awaitable[T]]) -> T | None:
        """Serves one call. Whatever goes wrong leaves as a status; a cancellation passes."""
        CURRENT.set(call)
        with ExitStack() as served:  # Until its status is out.
            try:
                served.enter_context(self._admission.call())
                answer = await serve()
            except asyncio.CancelledError:
                self._count(call, grpc.StatusCode.CANCELLED)
                raise
            except Exception as error:
                if context.done() or isinstance(error, _ReaderGone):  # There is nobody to tell.
                    self._count(call, grpc.StatusCode.CANCELLED)
                    return None
                await self._abort(call, context, self._told(call, error))
                return None
        self._count(call, grpc.StatusCode.OK)
        return answer

    def _told(self, call: Call, error: Exception) -> errors.BellhopError:
        """What the caller is told."""
        match error:
            case errors.CredentialsInvalid():
                try:
                    self._attempts.failed(call.client, call.attempt_at)
                except errors.AuthAttemptsExceeded as exceeded:
                    return exceeded
                return error
            case errors.StreamInterrupted() | _ReaderStalled():
                return errors.StreamInterrupted(call.message_id, call.cursor)
            case errors.BellhopError():
                return error
        return incident(call.method, error)

    async def _abort(self, call: Call, context: Context, error: errors.BellhopError) -> None:
        ending = ending_of(error)
        self._count(call, ending.code)
        _log.debug("call refused", method=call.method, peer=call.peer, reason=error.reason)
        try:
            async with asyncio.timeout(_ABORT_SECONDS):
                await context.abort(ending.code, ending.text, ending.trailers)
        except TimeoutError:
            return  # It goes out once the reader takes what is before it, or hangs up.

    def _count(self, call: Call, code: grpc.StatusCode) -> None:
        self._metrics.calls.labels(call.method, code.name).inc()
