"""A listening port of a simulated provider: takes requests, has them judged, spoils, records, answers."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bellhop_simulators.authority import Authority
from bellhop_simulators.faults.actions import Then
from bellhop_simulators.faults.conditions import Facts
from bellhop_simulators.faults.playback import dressed, play, silence
from bellhop_simulators.http.connection import Connection, HttpVersion
from bellhop_simulators.http.handler import Enforcement, TurnedAway
from bellhop_simulators.http.request import Request
from bellhop_simulators.http2.server_connection import ServerConnection
from bellhop_simulators.journal import Entry
from bellhop_simulators.serving.connections import ConnectionRecord
from bellhop_simulators.serving.conversation import Conversation
from bellhop_simulators.serving.negotiation import ALPN, Negotiated
from bellhop_simulators.serving.world import World

_GENUINE = Then()
_TLS_SHUTDOWN_TIMEOUT = 1.0


@dataclass(eq=False, slots=True)
class _Open:
    record: ConnectionRecord
    conversation: Conversation


class Endpoint:
    """A listening port; the handler of all its connections."""

    def __init__(
        self,
        world: World,
        converse: Callable[[], Conversation],
        *,
        environment: str = "",
        versions: Sequence[HttpVersion] = ("HTTP/2", "HTTP/1.1"),
        enforcement: Enforcement = "refuse",
    ) -> None:
        """`converse` begins the conversation of a new connection; `versions` are offered in this order."""
        self.port = 0
        self._world = world
        self._converse = converse
        self._environment = environment
        self._versions = versions
        self._enforcement = enforcement
        self._open: dict[Connection, _Open] = {}
        self._server: asyncio.Server | None = None
        self._idle = asyncio.Event()

    async def start(self, host: str, port: int, authority: Authority) -> None:
        """Listen; port 0 takes a free one.

        Raises:
            OSError: the port is taken.
        """
        self._server = await asyncio.get_running_loop().create_server(
            self._connection,
            host,
            port,
            ssl=authority.server_context([ALPN[version] for version in self._versions]),
            ssl_shutdown_timeout=_TLS_SHUTDOWN_TIMEOUT,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._open):
                connection.abort()
            if self._open:
                self._idle.clear()
                await self._idle.wait()

    def _connection(self) -> asyncio.Protocol:
        limit = self._converse().limit
        kind = Negotiated if "HTTP/1.1" in self._versions else ServerConnection
        return kind(self, limit, self._enforcement)

    # What a connection tells

    def opened(self, connection: Connection) -> None:
        """Number it and keep its record."""
        world = self._world
        record = world.connections.add(self._environment, world.clock.now(), connection)
        self._open[connection] = _Open(record, self._converse())

    def closed(self, connection: Connection) -> None:
        """Close its record."""
        self._open.pop(connection).record.closed = self._world.clock.now()
        if not self._open:
            self._idle.set()

    def before_writing(self) -> None:
        """Let the journal be written before the answers."""
        self._world.journal.flush()

    def turned_away(self, connection: Connection, request: Request, why: TurnedAway) -> None:
        """Record it."""
        open_ = self._open[connection]
        self._record(open_.record, request, open_.conversation.facts(request), "", False, None, why, "")

    def received(self, connection: Connection, request: Request) -> None:
        """Judge and answer."""
        open_ = self._open[connection]
        record, world = open_.record, self._world
        record.requests += 1
        case = open_.conversation.judge(request)
        then, name = _GENUINE, ""
        if len(world.faults):
            case.facts.connection, case.facts.connection_request = record.number, record.requests
            fault = world.faults.due(case.facts)
            if fault is not None:
                then, name = fault.then, fault.name
        accepted = case.taken is not None and then.accepts(case.taken, request.stream_id)
        if accepted:
            case.deliver()
        answer = case.answer(then)
        if then is not _GENUINE:
            answer = dressed(answer, then, world.clock.now())
        silent = silence(then, request.stream_id)
        status, reason = (None, silent) if silent else (answer.status, answer.reason)
        self._record(record, request, case.facts, case.message_id, accepted, status, reason, name)
        if then.initial_window is not None:
            connection.set_initial_window(then.initial_window)
        if then.max_concurrent_streams is not None:
            self._script_limit(open_, then.max_concurrent_streams, then.restore_after)
        debug = then.goaway.debug_data(world.clock.now()) if then.goaway else b""
        play(connection, request.stream_id, answer, then, partial(self._answered, open_, answer.status), debug)

    # Inside

    def _answered(self, open_: _Open, status: int) -> None:
        open_.conversation.answered(status)
        if open_.record.limit_hold is None:
            open_.record.wire.set_limit(open_.conversation.limit)

    def _script_limit(self, open_: _Open, limit: int, restore_after: float | None) -> None:
        record = open_.record
        hold = record.limit_hold = object()
        record.wire.set_limit(limit)

        def restore() -> None:
            if record.limit_hold is hold:
                record.limit_hold = None
                record.wire.set_limit(open_.conversation.limit)

        if restore_after is not None:
            asyncio.get_running_loop().call_later(restore_after, restore)

    def _record(
        self,
        record: ConnectionRecord,
        request: Request,
        facts: Facts,
        message_id: str,
        accepted: bool,
        status: int | None,
        reason: str,
        fault: str,
    ) -> None:
        journal = self._world.journal
        journal.add(
            Entry(
                number=journal.total + 1,
                time=self._world.clock.now(),
                provider=facts.provider,
                environment=facts.environment,
                project=facts.project,
                persona=facts.persona,
                http=record.wire.version,
                connection=record.number,
                stream=request.stream_id,
                header_list=request.headers,
                raw_body=request.body if request.complete else None,
                token=facts.token,
                topic=facts.topic,
                message_id=message_id,
                decrypted=facts.decrypted,
                undecryptable=facts.undecryptable,
                accepted=accepted,
                status=status,
                reason=reason,
                fault=fault,
            )
        )
