"""Which HTTP a connection speaks: what ALPN settled (RFC 7301), and HTTP/1.1 for a client that did not ask."""

import asyncio

from bellhop_simulators.http.connection import HttpVersion
from bellhop_simulators.http.handler import Enforcement, Handler
from bellhop_simulators.http1.server_connection import Http1Connection
from bellhop_simulators.http2.server_connection import ServerConnection

ALPN: dict[HttpVersion, str] = {"HTTP/2": "h2", "HTTP/1.1": "http/1.1"}


class Negotiated(asyncio.Protocol):
    """A connection until TLS is up; then it hands over to the one that speaks the protocol that was agreed."""

    def __init__(self, handler: Handler, limit: int, enforcement: Enforcement) -> None:
        """As of `ServerConnection`."""
        self._handler = handler
        self._limit = limit
        self._enforcement = enforcement

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand over."""
        chosen: ServerConnection | Http1Connection
        if transport.get_extra_info("ssl_object").selected_alpn_protocol() == ALPN["HTTP/2"]:
            chosen = ServerConnection(self._handler, self._limit, self._enforcement)
        else:
            chosen = Http1Connection(self._handler, self._limit)
        transport.set_protocol(chosen)
        chosen.connection_made(transport)
