"""From an HTTP request to a call of the server, and back."""

from typing import Any
from urllib.parse import quote

import grpc
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bellhop.v1.notifier_pb2 import WatchMessageRequest
from bellhop_gateway.backend import Backend, Metadata
from bellhop_gateway.errors import Refused, invalid
from bellhop_gateway.limits import read
from bellhop_gateway.metadata import DEFAULT_SECONDS, metadata_of, timeout_of
from bellhop_gateway.requests import BodyUnreadable, build, read_body
from bellhop_gateway.routes import Route, find
from bellhop_gateway.streaming import as_json, respond


async def translate(request: Request) -> Response:
    """Answers a request below PREFIX. Raises Refused."""
    route, path = found(request)
    if route.signed_in:
        if request.app.state.signed_in is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, "Nobody signs in here.")
        signed: Response = await request.app.state.signed_in.respond(request, route, path)
        return signed
    fields = await body_of(request) if route.body else {}
    message = build(route, path, request.query_params.multi_items(), fields)
    if route.rpc == "Notifier.WatchMessage" and (cursor := request.headers.get("last-event-id")):
        # What a browser sends when it comes back (HTML, "Server-sent events").
        assert isinstance(message, WatchMessageRequest)
        message.after_cursor = cursor
    return await answer(request, route, message, metadata_of(request.headers, client_of(request)))


def found(request: Request) -> tuple[Route, dict[str, str]]:
    """The route of a request, and the fields that its path names. Raises Refused."""
    raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    below = raw[len(quote(request.scope["root_path"])) :]
    try:
        at = find(request.method, below)
    except UnicodeDecodeError:
        raise invalid(("path", "is not UTF-8")) from None
    if not at.methods:
        raise Refused(grpc.StatusCode.NOT_FOUND, "There is nothing at this path.")
    if at.route is None:
        raise method_not_allowed(", ".join(at.methods))
    return at.route, at.fields


def method_not_allowed(allow: str) -> Refused:
    """A path that is there, asked for by another method than those."""
    code = grpc.StatusCode.UNIMPLEMENTED
    return Refused(code, f"This path takes {allow}.", http_status=405, headers={"allow": allow})


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises Refused."""
    raw = await read(request)
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if raw and (kind.strip().lower() != "application/json" or charset not in ("", "utf-8")):
        code = grpc.StatusCode.INVALID_ARGUMENT
        raise Refused(code, "The body must be application/json in UTF-8.", http_status=415)
    try:
        return read_body(raw)
    except BodyUnreadable as error:
        raise invalid(("body", str(error))) from None


async def answer(request: Request, route: Route, message: Message, metadata: Metadata) -> Response:
    """Calls the server. Raises Refused."""
    backend: Backend = request.app.state.backend
    timeout = timeout_of(request.headers)
    if route.descriptor.server_streaming:
        return await respond(request.headers, backend.stream(route, message, metadata, timeout))
    response = await backend.call(route, message, metadata, timeout or DEFAULT_SECONDS)
    # What is answered may be a secret, and is somebody's own in any case.
    return JSONResponse(as_json(response), headers={"cache-control": "no-store"})


def client_of(request: Request) -> str:
    """The client's address; empty: nobody knows."""
    return request.client.host if request.client else ""
