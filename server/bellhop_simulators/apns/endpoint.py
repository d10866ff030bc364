"""One environment of a simulated APNs: takes requests from its connections, judges them, answers, keeps the record."""

import asyncio
import ssl
import uuid
from functools import partial

from bellhop_simulators.apns import rules
from bellhop_simulators.apns.answers import answer, goaway_debug, scripted
from bellhop_simulators.apns.connections import ConnectionRecord
from bellhop_simulators.apns.rules import ACCEPTED, Verdict, refusal
from bellhop_simulators.apns.world import ApnsWorld
from bellhop_simulators.faults.actions import Then
from bellhop_simulators.faults.conditions import Facts
from bellhop_simulators.faults.playback import play, silence
from bellhop_simulators.http2.handler import TurnedAway
from bellhop_simulators.http2.request import Request
from bellhop_simulators.http2.server_connection import ServerConnection
from bellhop_simulators.journal import Entry

_GENUINE = Then()
_TLS_SHUTDOWN_TIMEOUT = 1.0


class ApnsEndpoint:
    """A listening port; the handler of all its connections."""

    def __init__(self, environment: str, world: ApnsWorld) -> None:
        self.port = 0
        self._environment = environment
        self._world = world
        self._open: dict[ServerConnection, ConnectionRecord] = {}
        self._server: asyncio.Server | None = None
        self._idle = asyncio.Event()

    async def start(self, host: str, port: int, context: ssl.SSLContext) -> None:
        """Listen; port 0 takes a free one.

        Raises:
            OSError: the port is taken.
        """
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, host, port, ssl=context, ssl_shutdown_timeout=_TLS_SHUTDOWN_TIMEOUT
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

    def _connection(self) -> ServerConnection:
        policy = self._world.concurrency
        return ServerConnection(self, policy.first, policy.enforcement)

    # What a connection tells

    def opened(self, connection: ServerConnection) -> None:
        """Number it and keep its record."""
        self._open[connection] = self._world.connections.add(self._environment, self._world.clock.now(), connection)

    def closed(self, connection: ServerConnection) -> None:
        """Close its record."""
        self._open.pop(connection).closed = self._world.clock.now()
        if not self._open:
            self._idle.set()

    def before_writing(self) -> None:
        """Let the journal be written before the answers."""
        self._world.journal.flush()

    def turned_away(self, connection: ServerConnection, request: Request, why: TurnedAway) -> None:
        """Record it."""
        self._record(self._open[connection], request, "", accepted=False, status=None, reason=why, fault="")

    def received(self, connection: ServerConnection, request: Request) -> None:
        """Judge and answer."""
        world, record = self._world, self._open[connection]
        now = world.clock.now()
        record.requests += 1
        headers = dict(request.headers)
        repeated = len(headers) != len(request.headers)
        authorization = headers.get("authorization")
        topic, push_type = headers.get("apns-topic", ""), headers.get("apns-push-type", "")
        token = rules.device_token(headers[":path"])
        app = rules.bundle_id(topic)
        # Authentication is looked at first, whatever is told in the end, because the connection's limit depends on it.
        refused = world.provider_tokens.check(record.session, authorization, self._environment)
        verdict = self._judge(record, request, headers, token, app, refused, repeated=repeated)
        then, name = _GENUINE, ""
        if len(world.faults):
            key_id = world.provider_tokens.key_id(authorization)
            fault = world.faults.due(
                Facts(self._environment, record.number, record.requests, token, topic, app, key_id, push_type)
            )
            if fault is not None:
                then, name = fault.then, fault.name
        accepted = then.accepts(verdict.status == 200, request.stream_id)
        given = headers.get("apns-id")
        apns_id = given if given is not None and rules.is_uuid(given) else str(uuid.uuid4()).upper()
        if accepted:
            world.devices.deliver(token, app, apns_id, headers.get("apns-expiration"), request.body)
        if then.status is not None:
            verdict = scripted(then, then.status, now)
        silent = silence(then, request.stream_id)
        status, reason = (None, silent) if silent else (verdict.status, verdict.reason)
        self._record(record, request, apns_id, accepted=accepted, status=status, reason=reason, fault=name)
        if then.initial_window is not None:
            connection.set_initial_window(then.initial_window)
        if then.max_concurrent_streams is not None:
            self._script_limit(record, then.max_concurrent_streams, then.restore_after)
        play(
            connection,
            request.stream_id,
            answer(verdict, self._environment, apns_id, then, now),
            then,
            partial(self._answered, record, verdict.status),
            goaway_debug(then.goaway, now) if then.goaway else b"",
        )

    # Inside

    def _judge(
        self,
        record: ConnectionRecord,
        request: Request,
        headers: dict[str, str],
        token: str,
        app: str,
        unauthenticated: str,
        *,
        repeated: bool,
    ) -> Verdict:
        reason = rules.judge_head(headers, repeated=repeated)
        if reason:
            return refusal(reason)
        verdict = self._world.devices.judge(token, self._environment, app)
        if verdict is not ACCEPTED:
            return verdict
        reason = unauthenticated
        if not reason and app not in record.session.topics:
            reason = "InvalidProviderToken"
        reason = reason or rules.judge_payload(request, headers.get("apns-push-type"))
        return refusal(reason) if reason else ACCEPTED

    def _answered(self, record: ConnectionRecord, status: int) -> None:
        if status in (200, 400, 403):
            record.rejected = status != 200
        if record.limit_hold is None:
            self._set_limit(record)

    def _set_limit(self, record: ConnectionRecord) -> None:
        policy = self._world.concurrency
        record.wire.set_limit(policy.limit(authenticated=record.session.authenticated, rejected=record.rejected))

    def _script_limit(self, record: ConnectionRecord, limit: int, restore_after: float | None) -> None:
        hold = record.limit_hold = object()
        record.wire.set_limit(limit)

        def restore() -> None:
            if record.limit_hold is hold:
                record.limit_hold = None
                self._set_limit(record)

        if restore_after is not None:
            asyncio.get_running_loop().call_later(restore_after, restore)

    def _record(
        self,
        record: ConnectionRecord,
        request: Request,
        apns_id: str,
        *,
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
                provider="apns",
                environment=self._environment,
                connection=record.number,
                stream=request.stream_id,
                header_list=request.headers,
                raw_body=request.body if request.complete else None,
                token=rules.device_token(request.header(":path") or ""),
                topic=request.header("apns-topic") or "",
                apns_id=apns_id,
                accepted=accepted,
                status=status,
                reason=reason,
                fault=fault,
            )
        )
