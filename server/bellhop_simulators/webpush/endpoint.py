"""The listening port of a simulated push service: pushes, as of any provider, and control calls beside them."""

from collections.abc import Sequence
from functools import partial

from bellhop_simulators.http.connection import Connection, HttpVersion
from bellhop_simulators.http.request import Request
from bellhop_simulators.serving.endpoint import Endpoint
from bellhop_simulators.webpush.control import control, is_control
from bellhop_simulators.webpush.conversation import WebPushConversation
from bellhop_simulators.webpush.world import WebPushWorld


class WebPushEndpoint(Endpoint):
    """The port."""

    def __init__(self, world: WebPushWorld, versions: Sequence[HttpVersion]) -> None:
        super().__init__(world, partial(WebPushConversation, world), versions=versions)
        self._subscriptions = world.subscriptions

    def received(self, connection: Connection, request: Request) -> None:
        """Judge and answer a push; a control call is no business of faults and journal."""
        if is_control(request.header(":path") or ""):
            answer = control(request, self._subscriptions)
            connection.respond(request.stream_id, answer.status, answer.headers, answer.body)
        else:
            super().received(connection, request)
