"""The one place that knows everything: chooses the parts, joins them, opens and closes them."""

import asyncio
import gc
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

from bellhop_server import logs
from bellhop_server.admin_token import AdminTokenRefused
from bellhop_server.app.administering import Administering
from bellhop_server.app.authenticating import Authenticating
from bellhop_server.app.cancelling import Cancelling
from bellhop_server.app.delivering import Deliverer
from bellhop_server.app.explaining import Explaining
from bellhop_server.app.fencing import Fence
from bellhop_server.app.granting import Granting
from bellhop_server.app.handover import Handover
from bellhop_server.app.hygiene import Hygiene
from bellhop_server.app.planning import Planner
from bellhop_server.app.proving import Proving
from bellhop_server.app.recording import Recorder
from bellhop_server.app.registering import Registering
from bellhop_server.app.scheduling import Scheduler
from bellhop_server.app.sending import Sending
from bellhop_server.app.stamping import Stamper
from bellhop_server.app.sweeping import Sweeper
from bellhop_server.app.tagging import Tagging
from bellhop_server.app.targets import Targets
from bellhop_server.app.watching import Watching
from bellhop_server.clock import SystemClock
from bellhop_server.domain.device import Platform
from bellhop_server.domain.errors import ServiceUnavailable
from bellhop_server.outfit import StartRefused, admin_token_of, master_key_of, providers_of, tls_of
from bellhop_server.ports import Clock, Provider
from bellhop_server.queue.local import LocalQueue
from bellhop_server.rpc.admission import Admission, Limits
from bellhop_server.rpc.applications import ApplicationsServicer
from bellhop_server.rpc.auth import Gateways
from bellhop_server.rpc.metrics import MeasuredQueue, Metrics, MetricsServer
from bellhop_server.rpc.notifier import NotifierServicer
from bellhop_server.rpc.push_registry import PushRegistryServicer
from bellhop_server.rpc.server import ListenError, RpcServer, Servicers
from bellhop_server.rpc.tls import TlsRefused
from bellhop_server.settings import Address, Settings
from bellhop_server.store.failures import DatabaseRefused
from bellhop_server.store.grant_signer import GrantSigner
from bellhop_server.store.seal import BindingKeys, KeyRefused
from bellhop_server.store.sql_store import SqlStore

DEFAULT_LIMITS = Limits()

# Seconds. The threads of the store need the interpreter for moments, several times on the way of a send: at Python's
# 5 ms each time, a busy event loop would make that long.
SWITCH_INTERVAL = 0.0005

# As long as a hand-over may take; what is still under way then is taken up again after the next start.
_DRAIN_SECONDS = 8.0

_log = structlog.stdlib.get_logger(__name__)


class ServerFailed(Exception):
    """A part of a server that was running has failed for good. The log says which, and where."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs. `failed` ends with an exception when a part of it has failed for good."""

    address: str
    admin_token: str = field(repr=False)
    metrics_address: str | None
    failed: "asyncio.Future[None]"


Beside = Callable[[Path], AbstractAsyncContextManager[object]]
"""What is run beside a server, and calls it by a socket at that path: from when it serves until it is to stop."""


def run(settings: Settings, beside: Beside | None = None) -> None:
    """Serves until SIGTERM or SIGINT; what the `serve` command does. Raises StartRefused, ServerFailed."""
    logs.configure(settings.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(settings, beside))


async def serve(settings: Settings, beside: Beside | None = None) -> None:
    """Serves until SIGTERM or SIGINT, then ends streams, finishes what is under way, and returns.

    Raises StartRefused, ServerFailed.
    """
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_unhandled)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        socket_path = None
        if beside is not None:
            socket_path = Path(stack.enter_context(TemporaryDirectory(prefix="bellhop-"))) / "server.sock"
        server = await stack.enter_async_context(running_server(settings, socket_path=socket_path))
        if beside is not None and socket_path is not None:
            await stack.enter_async_context(beside(socket_path))
        _settle_garbage_collection()
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait((stopping, server.failed), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        _log.info("stopping")
    if server.failed.done():
        _log.critical("a part of the server has failed", exc_info=server.failed.exception())
        raise ServerFailed("A part of the server has failed; the log says where.")
    _log.info("stopped")


@asynccontextmanager
async def running_server(
    settings: Settings,
    *,
    providers: Mapping[Platform, Provider] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    clock: Clock | None = None,
    socket_path: Path | None = None,
) -> AsyncIterator[Server]:
    """A whole server for as long as the context lasts. `providers` are those of the settings unless given, and `clock`
    is the machine's. `socket_path`: as for `RpcServer.start`.

    Raises StartRefused.
    """
    try:
        async with AsyncExitStack() as stack:
            yield await _start(settings, providers, limits, clock or SystemClock(), stack, socket_path)
    except (ListenError, TlsRefused, KeyRefused, DatabaseRefused, AdminTokenRefused) as error:
        raise StartRefused(str(error)) from error


async def _start(
    settings: Settings,
    providers: Mapping[Platform, Provider] | None,
    limits: Limits,
    clock: Clock,
    stack: AsyncExitStack,
    socket_path: Path | None,
) -> Server:
    """Everything is closed in the reverse of the order in which it is opened here."""
    metrics = Metrics()
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    token, master_key = admin_token_of(settings), master_key_of(settings)
    try:
        store = await stack.enter_async_context(SqlStore.open(settings.database_url, master_key))
    except ServiceUnavailable as error:
        raise StartRefused("The database cannot be reached.") from error
    if providers is None:
        providers = {provider.platform: provider for provider in providers_of(settings, clock)}
    queue, admission = MeasuredQueue(LocalQueue(), metrics), Admission(limits)

    recorder = Recorder(store, queue, clock)
    _keep_running(stack, failed, recorder.run())
    fence, hygiene = Fence(admission.aside), Hygiene(store, clock)
    sealer = BindingKeys(master_key)
    stamper = Stamper(sealer)
    handover = Handover(store, clock, fence, recorder, hygiene, providers, stamper)
    deliverer = Deliverer(_worker_name(), store, queue, clock, handover)
    stack.push_async_callback(deliverer.drain, _DRAIN_SECONDS)
    for provider in providers.values():
        # Ended before the worker is waited for: what was not written yet comes back at once and is kept for the next
        # start, and only what was written is waited for.
        stack.push_async_callback(provider.aclose)
    planner, scheduler = Planner(store, queue, clock), Scheduler(store, queue, clock)
    for part in (deliverer, planner, scheduler, hygiene, Sweeper(store, clock)):
        _keep_running(stack, failed, part.run())
    _keep_running(stack, failed, metrics.watch_breakers(providers, clock))

    grants = GrantSigner(master_key)
    authenticating = Authenticating(store, clock, token, grants)
    stack.push_async_callback(authenticating.flush)
    _keep_running(stack, failed, authenticating.run())
    proving = Proving(store, clock, providers)
    stack.push_async_callback(proving.aclose)
    watching = Watching(store, queue, clock)
    servicers = Servicers(
        ApplicationsServicer(Administering(store, providers, clock)),
        PushRegistryServicer(
            Registering(store, clock, fence, Targets(store, clock, providers), proving, sealer),
            Granting(grants, clock),
            Tagging(store, clock),
            store,
        ),
        NotifierServicer(
            Sending(store, queue, clock, handover.briefs),
            Cancelling(store, queue, clock, fence),
            Explaining(store, providers, clock, stamper),
            watching,
            store,
            metrics,
        ),
    )
    rpc = RpcServer(
        servicers,
        authenticating,
        admission,
        metrics,
        clock,
        limits=limits,
        reflection=settings.reflection,
        gateways=Gateways(settings.trusted_gateways),
    )
    stack.push_async_callback(rpc.stop, watching.interrupt)
    port = await rpc.start(str(settings.listen), tls_of(settings), socket_path)
    address = str(Address(settings.listen.host, port))
    _log.info("listening", address=address, tls=settings.tls_cert is not None)
    return Server(address, token, _serve_metrics(settings, metrics, stack), failed)


def _keep_running(stack: AsyncExitStack, failed: "asyncio.Future[None]", work: Coroutine[Any, Any, None]) -> None:
    """Runs a part in the background until the server ends. If it fails, the server as a whole has failed."""
    task = asyncio.create_task(work)

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not failed.done():
            failed.set_exception(task.exception() or RuntimeError("a part of the server has ended"))

    async def end() -> None:
        task.cancel()
        await asyncio.wait((task,))  # How it ended is told by `ended`.

    task.add_done_callback(ended)
    stack.push_async_callback(end)


def _serve_metrics(settings: Settings, metrics: Metrics, stack: AsyncExitStack) -> str | None:
    at = settings.metrics_listen
    if at is None:
        return None
    try:
        server = stack.enter_context(MetricsServer(metrics, at.host, at.port))
    except OSError as error:
        raise ListenError(f"Cannot listen on {at}: {error.strerror}.") from error
    address = str(Address(at.host, server.port))
    _log.info("metrics are served", address=address)
    return address


def _worker_name() -> str:
    """Tells this process from all others, and from its former self."""
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"


def _settle_garbage_collection() -> None:
    """What is there now stays: looking at all of it again and again would halt everything for many milliseconds.

    Of what comes later almost all goes by itself, without having to be looked for every 700 objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


def _loop_factory() -> Any:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def _log_unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # asyncio's own handler writes the text of the exception, which may quote a secret.
    _log.error("unhandled", what=context.get("message"), exc_info=context.get("exception"))
