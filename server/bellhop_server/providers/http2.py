"""One outgoing connection, of HTTP/2 or HTTP/1.1: an engine over a channel, and the clocks that watch both.

Nothing waits inside: a request is taken from the backlog only when the peer grants a stream and a window, and when all
that was written before has gone to the kernel. A request that is not answered at once is asked after by a PING (not in
HTTP/1.1). Those of which it is not known by their deadline that the peer's end has them are reset, or thrown away
together with the connection where the reset could not overtake them. An answer that is late ends the connection too:
the peer still counts that stream, so it takes no more requests, reads the answers to come, and closes. The same holds
for one that has no room while nothing is in flight on it, so that another is tried.
"""

import asyncio
import math
import ssl
from collections.abc import Callable

from bellhop_server.providers.backlog import Backlog, Failure
from bellhop_server.providers.channel import Channel
from bellhop_server.providers.engine import Closed, Draining, Engines, Event, Failed, FailureKind, Limit, Pong, Reply
from bellhop_server.providers.heartbeat import Heartbeat, Pulse
from bellhop_server.providers.in_flight import InFlight
from bellhop_server.providers.limits import Limits
from bellhop_server.providers.reasons import Reason, farewell, quote
from bellhop_server.providers.submission import Submission
from bellhop_server.providers.turns import Turns

# About a hundred answers. Larger slices hold the event loop longer and are slower in all.
_SLICE = 4096
_GOODBYE = 5.0
# Seconds; a timer may fire a little early by our clock.
_SHORTEST = 0.001


class Connection:
    """Takes requests from the backlog while it is `usable`, and reports the end of each to it.

    `changed` is called after each change of the public attributes, and when there is more work than fits.
    """

    def __init__(
        self,
        backlog: Backlog,
        engines: Engines,
        tls: tuple[ssl.SSLContext, str],
        turns: Turns,
        limits: Limits,
        clock: Callable[[], float],
        changed: Callable[["Connection"], None],
    ) -> None:
        self.usable = False
        """Takes requests: TLS and, of HTTP/2, SETTINGS are there, and no end in sight."""
        self.proven = False
        """Has had an answer."""
        self.unused = False
        """Came into use, and has had no request yet."""
        self.over = False
        """Every request has been reported; nothing more will come."""
        self.reason: Reason | None = None
        """Why it takes no more requests, or failed; None while it may yet be used."""
        self.detail = ""
        """More about that, for the log; holds nothing secret."""
        self.began = clock()
        self.channel = Channel(*tls, clock, self._wake)
        """The asyncio protocol to connect."""
        self._backlog = backlog
        self._engines = engines
        self._turns = turns
        self._limits = limits
        self._clock = clock
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._speak("h2")
        self._started = self._ready = self._closing = False
        self._end_by = self._room_by = self._wakes_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Requests submitted and not yet answered."""
        return len(self._in_flight)

    def retire(self, detail: str, reason: Reason = Reason.CONNECTION_RETIRED) -> None:
        """Takes no new request, reads the answers still to come, then closes."""
        if self._ready:
            self._drain(reason, detail)
            self._wake()
        else:
            self.abort(reason, detail)

    def abort(self, reason: Reason, detail: str = "") -> None:
        """Ends it now: bytes that have not left this machine never will; answers that have arrived still count."""
        self._drain(reason, detail)
        self.channel.abort()
        if not self.channel.connected and not self.over:
            self._finish()

    def step(self, budget: int) -> tuple[int, bool]:
        """One slice of what was received, then as many requests as fit (`Worker`)."""
        if self.over:
            return 0, False
        done, more, before, weight = 0, False, len(self._in_flight), self._engine.weight
        try:
            if self._establish():
                more = self._receive()
                done = before - len(self._in_flight)
                if (now := self._clock()) >= self._in_flight.deadline:
                    self._time_out(now)
                if self.usable and not self.channel.blocked:
                    submitted, left = self._submission.fill(max(budget // weight - done, 1))
                    self.unused = self.unused and not submitted
                    done, more = done + submitted, more or left
            self._flush()
        except ssl.SSLError as error:
            self.abort(Reason.TLS_FAILED, error.reason or str(error))
        if not more:
            self._expect_room()
        if self._wakes_at > self._in_flight.ask_at():
            self._arm()
        if self.channel.lost and not more:
            self._finish()
        elif self.reason and self._started and not self._in_flight:
            self._close()
        elif not more and self._backlog.pending():
            self._changed(self)
        return max(done, 1) * weight, more

    def _wake(self) -> None:
        self._turns.want(self)

    def _speak(self, protocol: str) -> None:
        engine = self._engine = self._engines[protocol](self._limits.streams)
        self._in_flight = InFlight(engine, self._limits)
        self._heartbeat = Heartbeat(engine, self._in_flight, self._limits)
        margin = 2 * self._limits.confirm
        self._submission = Submission(self, self._backlog, engine, self._clock, self._in_flight, margin)

    def _establish(self) -> bool:
        """Whether HTTP is spoken, which this brings about."""
        if self._started or self.reason:  # A handshake that has failed must not be gone on with.
            return self._started
        if self._timer is None:
            self._end_by = self._clock() + self._limits.setup
            self._arm()
        if not self.channel.handshake():
            return False
        # A peer that knows no ALPN means HTTP/1.1.
        protocol = self.channel.protocol or "http/1.1"
        if protocol not in self._engines:
            self.abort(Reason.NO_HTTP2)
            return False
        if protocol != "h2":
            self._speak(protocol)
        self._started = True
        self._engine.start()
        self._handle(self._engine.events())
        return True

    def _receive(self) -> bool:
        """Reads a slice; returns whether there may be more."""
        taken = 0
        while taken < _SLICE:
            data = self.channel.read(_SLICE - taken)
            if not data:
                if data is not None:
                    self._drain(Reason.CONNECTION_LOST, self.channel.reason)
                    self.channel.abort()
                return False
            taken += len(data)
            self._handle(self._engine.feed(data))
        return True

    def _flush(self) -> None:
        channel, engine = self.channel, self._engine
        if self._started and not channel.blocked and not channel.lost:
            while data := engine.take():
                channel.write(data)
            self._handle(engine.events())
        channel.flush()

    def _handle(self, events: list[Event]) -> None:
        done, confirmed = self._backlog.done, self._in_flight.confirmed
        pop = self._in_flight.unconfirmed.pop
        for event in events:
            if isinstance(event, Reply):
                entry = pop(event.stream, None) or confirmed.pop(event.stream, None)
                if entry is not None:
                    done(entry[1], entry[2], event, self)
                    if not self.proven:
                        self.proven = True
                        self._changed(self)
            elif isinstance(event, Failed):
                self._fail(event.stream, Failure(event.kind, event.reason, event.code, quote(event.detail)))
            elif isinstance(event, Pong):
                for _, work, index in self._in_flight.confirm(event.data):
                    self._backlog.handed_over(work, index)
            elif isinstance(event, Limit):
                if not self._ready and not self.reason:
                    self.usable = self.unused = self._ready = True
                    self._end_by = math.inf
                    self._changed(self)
            elif isinstance(event, Draining):
                self._drain(Reason.GO_AWAY, f"code {event.code} {farewell(event.debug)}")
            elif isinstance(event, Closed):
                self._drain(event.reason, event.detail)

    def _fail(self, stream: int, failure: Failure) -> None:
        entry = self._in_flight.unconfirmed.pop(stream, None)
        if entry is not None:
            self._backlog.failed(entry[1], entry[2], failure, self)
        elif (entry := self._in_flight.confirmed.pop(stream, None)) is not None:
            # Whoever was told that it was handed over counts on it that it is not handed over again.
            self._backlog.done(entry[1], entry[2], failure, self)

    def _drain(self, reason: Reason, detail: str = "") -> None:
        if self.reason is None:
            self.usable, self.reason, self.detail = False, reason, quote(detail)
            self._changed(self)
        elif self.reason is Reason.CONNECTION_RETIRED and self._in_flight:
            # What comes between is why these get no answer.
            self.reason, self.detail = reason, quote(detail)

    def _expect_room(self) -> None:
        """Has a usable connection that takes nothing of what waits, though nothing is in flight, end after a while."""
        if not self.usable or self._in_flight or self.channel.blocked or not self._backlog.pending():
            self._room_by = math.inf
        elif self._room_by == math.inf:
            self._room_by = self._clock() + self._limits.stall
            self._arm()

    def _close(self) -> None:
        """Says goodbye. The channel is lost, and the connection over, when that is written."""
        if not self._closing:
            self._closing = True
            self._engine.close()
            self._flush()
            self.channel.close()
            self._end_by = self._clock() + _GOODBYE
            self._arm()

    def _finish(self) -> None:
        self._drain(Reason.CONNECTION_LOST, self.channel.reason)
        self._handle(self._engine.eof(self.reason or Reason.CONNECTION_LOST))
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        self._changed(self)

    def _tick(self) -> None:
        """Does what is due."""
        now = self._clock()
        if self.over or self.channel.lost:
            return
        if now >= self._end_by:
            self.abort(Reason.CONNECT_TIMEOUT)
        elif self._ready and now >= self._heartbeat.due(self.channel.heard) and self._beat(now) is Pulse.DEAD:
            self.abort(Reason.PING_TIMEOUT)
        else:
            if now >= self._in_flight.deadline or self._in_flight.ask(now, self.channel.written):
                self._wake()
            if now >= self._room_by:
                self._room_by = math.inf
                if self.usable and not self._in_flight and self._backlog.pending():
                    self.retire("", Reason.NO_CAPACITY)
            self._arm()

    def _time_out(self, now: float) -> None:
        """Takes back what the peer may not have got in time, and gives up on late answers."""
        in_flight, channel = self._in_flight, self.channel
        late, unanswered = in_flight.late(now)
        if late and (channel.blocked or in_flight.may_arrive(late, channel.written, channel.arrived())):
            self.abort(Reason.WRITE_TIMEOUT)
            return
        for stream, reason in late.items():
            kind = FailureKind.NOT_SENT if self._engine.cancel(stream) else FailureKind.UNKNOWN
            self._fail(stream, Failure(kind, reason))
            self.retire("not received in time")
        # These are not reset, or their answers would count as our misbehaviour.
        for stream in unanswered:
            self._fail(stream, Failure(FailureKind.UNKNOWN, Reason.ANSWER_TIMEOUT))
            # The peer still counts these streams: with a limit of one nothing could follow here.
            self.retire("no answer in time")

    def _beat(self, now: float) -> Pulse:
        pulse = self._heartbeat.feel(now, self.channel.heard)
        if pulse is Pulse.ASKED:
            self._wake()
        elif pulse is Pulse.UNSURE:
            self.retire("silent for long")
        return pulse

    def _arm(self) -> None:
        """Sets the timer to the next thing that can be due; what is submitted until then is not due before it."""
        now, limits = self._clock(), self._limits
        horizon = now + min(limits.answer, limits.ping_answer, limits.ping_idle)
        due = min(self._end_by, self._room_by, self._in_flight.due(), horizon)
        if self._ready:
            due = min(due, self._heartbeat.due(self.channel.heard))
        self._wakes_at = due
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(max(due - now, _SHORTEST), self._tick)
