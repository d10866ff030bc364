"""The gRPC server: what it serves, where, over what, and how it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from bellhop.v1 import (
    applications_pb2,
    applications_pb2_grpc,
    notifier_pb2,
    notifier_pb2_grpc,
    push_registry_pb2,
    push_registry_pb2_grpc,
)
from bellhop_server.app.authenticating import Authenticating
from bellhop_server.ports import Clock
from bellhop_server.rpc.admission import Admission, Limits
from bellhop_server.rpc.applications import ApplicationsServicer
from bellhop_server.rpc.auth import Gateways
from bellhop_server.rpc.edge import Edge
from bellhop_server.rpc.metrics import Metrics
from bellhop_server.rpc.notifier import NotifierServicer
from bellhop_server.rpc.push_registry import PushRegistryServicer
from bellhop_server.rpc.reflection import REFLECTION, add_reflection
from bellhop_server.rpc.tls import Tls

SERVICES = tuple(
    descriptor.services_by_name[name].full_name
    for descriptor, name in (
        (applications_pb2.DESCRIPTOR, "Applications"),
        (push_registry_pb2.DESCRIPTOR, "PushRegistry"),
        (notifier_pb2.DESCRIPTOR, "Notifier"),
    )
)
_HEALTH = "grpc.health.v1.Health"

_MIB = 1024 * 1024

# Beyond ours, so that our own errors, which say what to do, come first.
OPTIONS = (
    ("grpc.max_receive_message_length", 16 * _MIB),
    ("grpc.max_send_message_length", 16 * _MIB),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 128 * 1024),
    # Calls at once over one connection, those included that never send their request; a client lets more wait.
    ("grpc.max_concurrent_streams", 2_000),
    # Without these gRPC cancels calls at random once a thousand are pending.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    # Clients may ping every 10 seconds, also between calls, without being sent away.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 9_000),
    # A reader that vanished is noticed, and its stream ends.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Two servers on one port would each get some of the calls.
    ("grpc.so_reuseport", 0),
)

_DRAIN_SECONDS = 5.0
_STOP_SECONDS = 0.5

_log = structlog.stdlib.get_logger(__name__)


class ListenError(Exception):
    """The server cannot listen as it was told to; the text says why."""


@dataclass(frozen=True, slots=True)
class Servicers:
    """What is served."""

    applications: ApplicationsServicer
    push_registry: PushRegistryServicer
    notifier: NotifierServicer


class RpcServer:
    """One gRPC server."""

    def __init__(
        self,
        servicers: Servicers,
        authenticating: Authenticating,
        admission: Admission,
        metrics: Metrics,
        clock: Clock,
        *,
        limits: Limits,
        reflection: bool,
        gateways: Gateways,
    ) -> None:
        self._admission = admission
        self._edge = Edge(authenticating, admission, limits, metrics, clock, gateways)
        self._server = grpc.aio.server(interceptors=(self._edge,), options=OPTIONS)
        applications_pb2_grpc.add_ApplicationsServicer_to_server(servicers.applications, self._server)
        push_registry_pb2_grpc.add_PushRegistryServicer_to_server(servicers.push_registry, self._server)
        notifier_pb2_grpc.add_NotifierServicer_to_server(servicers.notifier, self._server)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflection:
            add_reflection(self._server, (*SERVICES, _HEALTH, *REFLECTION))

    async def start(self, address: str, tls: Tls | None, socket: Path | None = None) -> int:
        """Listens and serves; returns the port. `socket`: where this process's own gateway calls, in a folder that
        nobody else can enter. Raises ListenError, TlsRefused.
        """
        try:
            if tls is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, tls.credentials())
        except RuntimeError as error:
            raise ListenError(
                f"Cannot listen on {address}: is it in use, or not an address of this machine?"
            ) from error
        if socket is not None:
            self._server.add_insecure_port(f"unix:{socket}")
        await self._server.start()
        for service in ("", *SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self, interrupt: Callable[[], None]) -> None:
        """Takes no more calls, ends streams by `interrupt`, lets calls finish for a bounded time, then closes."""
        await self._health.enter_graceful_shutdown()
        self._admission.close()
        interrupt()
        if not await self._admission.drained(_DRAIN_SECONDS):
            _log.warning("calls were cut off", seconds=_DRAIN_SECONDS)
        await self._server.stop(_STOP_SECONDS)
