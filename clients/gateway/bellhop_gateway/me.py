"""The routes under `/v1/me`: the person whom a token names is the user, and the gateway's own secret binds."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bellhop.v1 import push_registry_pb2 as reg
from bellhop_gateway.backend import Backend, Metadata
from bellhop_gateway.errors import Refused, invalid, reason_detail, retry_detail
from bellhop_gateway.limits import read
from bellhop_gateway.metadata import DEFAULT_SECONDS, metadata_of
from bellhop_gateway.oidc.issuer import SECONDS, Issuer, IssuerAway
from bellhop_gateway.oidc.sessions import Sessions
from bellhop_gateway.oidc.tokens import Identity, Logout, TokenRefused, Tokens
from bellhop_gateway.requests import build
from bellhop_gateway.routes import GET_DEVICE, UNREGISTER_USER, Route
from bellhop_gateway.settings import GatewaySettings
from bellhop_gateway.streaming import as_json
from bellhop_gateway.translation import answer, body_of, client_of

# Fields of requests that the token answers for.
_OWN = ("user_id", "session_id", "expected_user_id")
_NO_STORE = {"cache-control": "no-store"}
_RETRY_SECONDS = 5.0

_log = logging.getLogger(__name__)


class SignedIn:
    """Serves people who are signed in at one OpenID provider, for one application."""

    def __init__(
        self,
        settings: GatewaySettings,
        client: httpx.AsyncClient,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client` asks the provider and follows no redirects; `now` and `clock`: seconds."""
        self._credentials = [("app-id", settings.app_id), ("client-secret", settings.client_secret)]
        self._tokens = Tokens(Issuer(settings.oidc_issuer, client, clock), settings.oidc_audience, now)
        self._sessions = Sessions(now)
        self._now = now

    async def respond(self, request: Request, route: Route, path: dict[str, str]) -> Response:
        """Answers a request of somebody who is signed in. Raises Refused."""
        identity = await self._identity(request)
        fields = await body_of(request) if route.body else {}
        query = request.query_params.multi_items()
        named = {*fields, *(name for name, _ in query)}
        wrong = [
            (key, "is for the token to say")
            for field in route.descriptor.input_type.fields
            if field.name in _OWN
            for key in {field.name, field.json_name} & named
        ]
        if wrong:
            raise invalid(*wrong)
        message: Any = build(route, path, query, fields)
        metadata = self._metadata(request)
        await self._check_own(request, route, message, identity, metadata)
        _sign(message, identity)
        if route.rpc == "PushRegistry.UnregisterUser":
            self._sessions.end(Logout(identity.user_id, "", self._now()))
        response = await answer(request, route, message, metadata)
        if route.rpc == "PushRegistry.RegisterDevice" and self._sessions.over(identity):
            # The session ended while this was under way: what came too late is taken back.
            await self._end(request, Logout(identity.user_id, identity.session_id, identity.issued))
            raise _unauthenticated()
        return response

    async def backchannel_logout(self, request: Request) -> Response:
        """Ends the sessions that a logout token names (OpenID Connect Back-Channel Logout 1.0)."""
        try:
            form = httpx.QueryParams((await read(request)).decode("ascii"))
            logout = await self._tokens.logout(form.get("logout_token", ""))
            if self._sessions.spent(logout.token_id):
                raise TokenRefused("it has been shown before")
            user_id = logout.user_id or self._sessions.user_of(logout.session_id)
            if not user_id:
                raise TokenRefused("it names a session that nobody has shown here, and no user")
            logout = replace(logout, user_id=user_id)
            self._sessions.end(logout)
            await self._end(request, logout)
            self._sessions.spend(logout.token_id)
        except (TokenRefused, UnicodeDecodeError) as error:
            _log.warning("a logout token was refused: %s", error)
            return JSONResponse({"error": "invalid_request"}, 400, _NO_STORE)
        except IssuerAway:
            return JSONResponse({"error": "temporarily_unavailable"}, 503, _NO_STORE)
        except Refused as refused:
            # Nothing is known to have ended: the provider is to try again.
            return JSONResponse({"error": "temporarily_unavailable"}, refused.http_status, _NO_STORE)
        return Response(status_code=200, headers=_NO_STORE)

    async def _identity(self, request: Request) -> Identity:
        values = request.headers.getlist("authorization")
        scheme, _, token = values[0].strip().partition(" ") if values else ("", "", "")
        if not values:
            raise _unauthenticated("CREDENTIALS_MISSING", accepted="authorization")
        if len(values) > 1 or scheme.lower() != "bearer":
            raise _unauthenticated()
        try:
            identity = await self._tokens.sign_in(token.strip())
        except TokenRefused as error:
            _log.info("a token was refused: %s", error)
            raise _unauthenticated() from None
        except IssuerAway:
            raise Refused(
                grpc.StatusCode.UNAVAILABLE,
                "The OpenID provider cannot be asked.",
                [reason_detail("SERVICE_UNAVAILABLE"), retry_detail(_RETRY_SECONDS)],
            ) from None
        if self._sessions.over(identity):
            raise _unauthenticated()
        self._sessions.seen(identity)
        return identity

    def _metadata(self, request: Request) -> Metadata:
        """Of the gateway's own; a device may bring the secret that it keeps."""
        return [*metadata_of(request.headers, client_of(request), ("device-secret",)), *self._credentials]

    async def _check_own(
        self, request: Request, route: Route, message: Any, identity: Identity, metadata: Metadata
    ) -> None:
        """Of what is asked about a device: is it bound to who is signed in? Raises Refused, as if it was not there."""
        if route.rpc in ("PushRegistry.RegisterDevice", "PushRegistry.UnregisterDevice", "PushRegistry.UnregisterUser"):
            return
        by_user = route.rpc in ("PushRegistry.Subscribe", "PushRegistry.Unsubscribe") and not message.device_id
        if by_user:
            return
        if not message.device_id:
            raise invalid(("deviceId", "is required"))
        backend: Backend = request.app.state.backend
        asked = reg.GetDeviceRequest(device_id=message.device_id)
        found: Any = await backend.call(GET_DEVICE, asked, metadata, DEFAULT_SECONDS)
        if found.device.user_id != identity.user_id:
            detail = reason_detail("DEVICE_NOT_FOUND", device_id=message.device_id)
            raise Refused(grpc.StatusCode.NOT_FOUND, "The application has no such device.", [detail])

    async def _end(self, request: Request, logout: Logout) -> None:
        """Raises Refused."""
        backend: Backend = request.app.state.backend
        asked = reg.UnregisterUserRequest(user_id=logout.user_id, session_id=logout.session_id)
        ended = await backend.call(UNREGISTER_USER, asked, self._metadata(request), DEFAULT_SECONDS)
        _log.info("sessions were ended: %s", as_json(ended))


def client_of_provider() -> httpx.AsyncClient:
    """What asks an OpenID provider: soon given up, and never led elsewhere."""
    return httpx.AsyncClient(timeout=SECONDS, follow_redirects=False, trust_env=False)


def _sign(message: Any, identity: Identity) -> None:
    """Puts into a request whom it is for."""
    match message:
        case reg.RegisterDeviceRequest():
            message.user_id, message.session_id = identity.user_id, identity.session_id
        case reg.UnregisterDeviceRequest():
            message.expected_user_id = identity.user_id
        case reg.UnregisterUserRequest():
            message.user_id = identity.user_id
        case reg.SubscribeRequest() | reg.UnsubscribeRequest() if not message.device_id:
            message.user_id = identity.user_id


def _unauthenticated(reason: str = "CREDENTIALS_INVALID", **metadata: str) -> Refused:
    """The same whatever was wrong (RFC 6750 section 3.1)."""
    challenge = "Bearer" if metadata else 'Bearer error="invalid_token"'
    return Refused(
        grpc.StatusCode.UNAUTHENTICATED,
        "The token is missing." if metadata else "The token is not valid.",
        [reason_detail(reason, **metadata)],
        headers={"www-authenticate": challenge},
    )
