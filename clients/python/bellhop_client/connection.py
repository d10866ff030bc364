"""A channel to one server with the credentials that go with every call."""

from collections.abc import AsyncGenerator, Mapping
from importlib.resources import files
from ipaddress import ip_address
from types import TracebackType
from typing import Protocol, Self, TypeVar
from urllib.parse import urlsplit

import grpc

from bellhop_client.status import from_rpc_error


class _PagedRequest(Protocol):
    page_token: str


class _PagedResponse(Protocol):
    @property
    def next_page_token(self) -> str: ...


_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Paged = TypeVar("_Paged", bound=_PagedRequest)
_Page = TypeVar("_Page", bound=_PagedResponse)

_CALL_TIMEOUT = 30.0
"""Seconds that a call may take, its repeats included; a stream that follows a message has a time of its own."""

_CHANNEL_OPTIONS = {
    # A connection whose other end vanished is noticed within 40 seconds; the server allows a ping every 10.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    # gRPC would wait up to 2 minutes between two attempts to connect, longer than a stream tries to go on.
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 5_000,
}


class Connection:
    """Base of the clients. To be made where an event loop runs, and closed with `async with` or `close`."""

    def __init__(
        self,
        target: str,
        credentials: Mapping[str, str | None],
        *,
        tls: bool | None,
        root_certificates: bytes | None,
        client_certificate: bytes | None,
        client_key: bytes | None,
    ) -> None:
        self._metadata = tuple(
            (key, _header_value(key, value)) for key, value in credentials.items() if value is not None
        )
        self._channel = open_channel(
            target,
            tls=tls,
            root_certificates=root_certificates,
            client_certificate=client_certificate,
            client_key=client_key,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends every call and stream of this client."""
        await self._channel.close()

    async def _call(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]", request: _Request
    ) -> _Response:
        try:
            return await method(request, metadata=self._metadata, timeout=_CALL_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def _pages(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[_Paged, _Page]", request: _Paged
    ) -> AsyncGenerator[_Page, None]:
        while True:
            page = await self._call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def _stream(
        self, method: "grpc.aio.UnaryStreamMultiCallable[_Request, _Response]", request: _Request
    ) -> AsyncGenerator[_Response, None]:
        call = method(request, metadata=self._metadata, timeout=_CALL_TIMEOUT)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()


def open_channel(
    target: str,
    *,
    tls: bool | None = None,
    root_certificates: bytes | None = None,
    client_certificate: bytes | None = None,
    client_key: bytes | None = None,
) -> grpc.aio.Channel:
    """A channel as the clients use it: with the published repeats, and pings that find a dead connection.

    `target` and the TLS arguments are those of Client. To be made where an event loop runs. Raises ValueError.
    """
    certificates = (root_certificates, client_key, client_certificate)
    address, secure = _parse_target(target, True if tls is None and any(certificates) else tls)
    options = [*_CHANNEL_OPTIONS.items(), ("grpc.service_config", service_config())]
    if secure:
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(*certificates), options)
    return grpc.aio.insecure_channel(address, options)


def service_config() -> str:
    """The published policy of repeats, as JSON: what to set as `grpc.service_config` in any language."""
    return files("bellhop_client").joinpath("service_config.json").read_text("utf-8")


def _header_value(key: str, value: str) -> str:
    # Checked here because gRPC puts the value itself into the text of its error.
    if not (value.isascii() and value.isprintable()) or value != value.strip():
        raise ValueError(f"{key} has a character that no header can carry, or a space around it")
    return value


def _parse_target(target: str, tls: bool | None) -> tuple[str, bool]:
    """Address for gRPC, and whether to use TLS. Raises ValueError."""
    if target.startswith("unix:"):
        return target, False
    scheme, separator, rest = target.rpartition("://")
    if separator and scheme not in ("http", "https"):
        raise ValueError(f"target {target!r}: the scheme must be http or https, or left out")
    parts = urlsplit(f"//{rest}")
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"target {target!r}: expected host:port, http://host:port or https://host:port")
    port = parts.port or {"https": 443, "http": 80}.get(scheme)
    if port is None:
        raise ValueError(f"target {target!r}: the port is missing")
    if separator and tls is not None and tls != (scheme == "https"):
        raise ValueError(f"target {target!r}: the scheme contradicts the TLS arguments")
    secure = scheme == "https" if separator else tls if tls is not None else not _is_loopback(parts.hostname)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}", secure


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
