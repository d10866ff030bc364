"""The gateway as an ASGI application."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.routing import Route as StarletteRoute
from starlette.types import Receive, Scope, Send

from bellhop_gateway import documentation
from bellhop_gateway.backend import Backend
from bellhop_gateway.errors import Refused
from bellhop_gateway.limits import Rate
from bellhop_gateway.me import SignedIn, client_of_provider
from bellhop_gateway.metadata import CREDENTIALS, TIMEOUT
from bellhop_gateway.routes import PREFIX
from bellhop_gateway.settings import GatewaySettings
from bellhop_gateway.translation import client_of, method_not_allowed, translate

LOGOUT = f"{PREFIX}/backchannel-logout"
"""Where the OpenID provider says that somebody has logged out."""


def create_app(settings: GatewaySettings, *, clock: Callable[[], float] = time.monotonic) -> Starlette:
    """The gateway. It may be mounted in another application, which must then run its lifespan.

    `clock`: monotonic seconds. Raises ValueError, OSError for settings that cannot be used.
    """
    rate = Rate(settings.gateway_rate, clock)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.backend = Backend(settings)
            stack.push_async_callback(app.state.backend.close)
            app.state.signed_in = None
            if settings.signs_in:
                provider = await stack.enter_async_context(client_of_provider())
                app.state.signed_in = SignedIn(settings, provider)
            yield

    async def ready(request: Request) -> Response:
        serving = await request.app.state.backend.ready()
        return JSONResponse({"status": "ok" if serving else "unavailable"}, 200 if serving else 503)

    middleware = []
    if settings.cors_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
                allow_headers=(*CREDENTIALS, TIMEOUT, "content-type", "last-event-id", "traceparent", "tracestate"),
                expose_headers=("retry-after",),
            )
        )
    return Starlette(
        routes=[
            StarletteRoute("/health", _alive),
            StarletteRoute("/ready", ready),
            *documentation.routes(signs_in=settings.signs_in),
            *([StarletteRoute(LOGOUT, _logout, methods=["POST"])] if settings.signs_in else []),
            Mount(PREFIX, _Api(rate)),
        ],
        middleware=middleware,
        exception_handlers={404: _not_found, 405: _not_allowed},
        lifespan=lifespan,
    )


async def _logout(request: Request) -> Response:
    signed_in: SignedIn = request.app.state.signed_in
    return await signed_in.backchannel_logout(request)


async def _alive(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _not_found(request: Request, error: Exception) -> Response:
    return Refused(grpc.StatusCode.NOT_FOUND, "There is nothing at this path.").response()


async def _not_allowed(request: Request, error: Exception) -> Response:
    allow = (getattr(error, "headers", None) or {}).get("Allow", "")
    return method_not_allowed(allow).response()


class _Api:
    """Everything below PREFIX: counts the request, and translates it."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            self._rate.take(client_of(request))
            response = await translate(request)
        except Refused as refused:
            response = refused.response()
        await response(scope, receive, send)
