"""The Bellhop server behind the gateway: calls by the descriptors, with the metadata of the request."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bellhop_client.connection import open_channel
from bellhop_gateway.errors import from_grpc, interrupted
from bellhop_gateway.routes import Route
from bellhop_gateway.settings import GatewaySettings

Metadata = Sequence[tuple[str, str]]

READY_SECONDS = 2.0


class Backend:
    """One channel. To be made where an event loop runs."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Raises ValueError, OSError for settings that cannot be used."""
        roots = settings.server_ca.read_bytes() if settings.server_ca else None
        self._channel = open_channel(settings.server, root_certificates=roots)
        self._streams: set[Any] = set()
        self._stopping = False

    async def call(self, route: Route, request: Message, metadata: Metadata, timeout: float) -> Message:
        """One answer to one request. Raises Refused."""
        method = self._channel.unary_unary(
            route.full_name,
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(route.descriptor.output_type).FromString,
        )
        try:
            response: Message = await method(request, metadata=tuple(metadata), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise from_grpc(error) from error
        return response

    async def stream(
        self, route: Route, request: Message, metadata: Metadata, timeout: float | None
    ) -> AsyncGenerator[Message]:
        """Every answer to one request, read as fast as they are taken. Raises Refused, also amid them."""
        message_id, cursor = getattr(request, "message_id", ""), ""
        if self._stopping:
            raise interrupted(message_id, cursor)
        channel, asked = self._channel, route.descriptor.client_streaming
        method: Any = (channel.stream_stream if asked else channel.unary_stream)(
            route.full_name,
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(route.descriptor.output_type).FromString,
        )
        call = method(_once(request) if asked else request, metadata=tuple(metadata), timeout=timeout)
        self._streams.add(call)
        try:
            async for response in call:
                event = getattr(response, "event", None)
                if event is not None:
                    message_id, cursor = event.accepted.message_id or message_id, event.cursor
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_grpc(error) from error
        except asyncio.CancelledError:
            if not self._stopping or not call.cancelled():
                raise
            raise interrupted(message_id, cursor) from None
        finally:
            self._streams.discard(call)
            call.cancel()

    def interrupt(self) -> None:
        """Ends every stream, and those to come, as a server ends them that goes down."""
        self._stopping = True
        for call in self._streams:
            call.cancel()

    async def ready(self) -> bool:
        """Whether the server says that it serves."""
        try:
            answer = await health_pb2_grpc.HealthStub(self._channel).Check(
                health_pb2.HealthCheckRequest(), timeout=READY_SECONDS
            )
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        """Ends every call."""
        await self._channel.close()


async def _once(request: Message) -> AsyncIterator[Message]:
    yield request
