"""The gateway as a server of its own: uvicorn, on a socket that is bound before anything is said."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from bellhop_gateway.app import create_app
from bellhop_gateway.settings import GatewaySettings

# For what is under way when it is told to stop, streams included.
_DRAIN_SECONDS = 5


class ListenError(Exception):
    """The address cannot be listened on; the text says which and why."""


class _Server(uvicorn.Server):
    """One that leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See `uvicorn.Server`."""
        yield


@asynccontextmanager
async def running_gateway(settings: GatewaySettings) -> AsyncIterator[str]:
    """The gateway for as long as the context lasts; its URL. Raises ListenError, ValueError, OSError."""
    host, port = settings.listen
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        # create_server adds words of its own; a name that does not resolve has no number of the system's.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ListenError(f"Cannot listen on {settings.gateway_listen}: {reason}.") from error
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listening]))
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    finally:
        if server.started:
            # They would last as long as their messages, and nobody waits for that.
            app.state.backend.interrupt()
        server.should_exit = True
        await serving
        listening.close()
