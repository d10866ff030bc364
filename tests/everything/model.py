"""The promises, as far as they can be broken: told of everything that happens, it says which of it may not be.

It knows none of the decisions of the server: only what is committed (`Picture`), what the provider was handed, and
what callers were told and when.
"""

from dataclasses import dataclass, field
from typing import Any

from bellhop_server.app import sorting
from bellhop_server.domain import DAY, MINUTE, SECOND, Micros
from bellhop_server.domain.batch import Item
from bellhop_server.domain.delivery import Verdict
from bellhop_server.domain.device import DeviceState
from bellhop_server.domain.message import AudienceKind, MessageState, Outcome, ResendPolicy, Send
from tests.everything.picture import DeviceRow, MessageRow, Picture, Planned, ResultRow, sent_by
from tests.everything.provider import Push

# Answers by which the provider says that it took nothing.
REFUSED = frozenset(
    {Verdict.NOT_SENT, Verdict.PROVIDER_UNAVAILABLE, Verdict.THROTTLED_TARGET, Verdict.THROTTLED_SENDER}
)
ANSWERED = {
    Outcome.ACCEPTED: {Verdict.ACCEPTED},
    Outcome.TOKEN_INVALID: {Verdict.TOKEN_INVALID, Verdict.TOKEN_GONE_SINCE},
    Outcome.PAYLOAD_INVALID: {Verdict.PAYLOAD_INVALID},
}
# A message with ttl 0 may still be handed over for so long after its start.
NOW_OR_NEVER: Micros = MINUTE
# So long before its end a message may be given up when the next attempt would come after it.
LAST_MOMENTS: Micros = 2 * SECOND


@dataclass(eq=False)
class Call:
    """A call about devices. The numbers say when it began, was committed, and returned (0: never)."""

    kind: str
    app_id: str
    began: int
    device_id: str = ""
    user_id: str = ""
    session_id: str = ""
    address: str = ""
    committed: int = 0
    returned: int = 0
    error: Exception | None = None

    def speaks_of(self, app_id: str, device_id: str, address: str, row: DeviceRow) -> bool:
        """Whether it had to wait for hand-overs to that device at that address, for whom the row says."""
        if self.app_id != app_id:
            return False
        if self.kind == "unregister_user":
            return self.user_id == row.user_id and self.session_id in ("", row.session_id)
        return self.device_id == device_id or self.address == address


@dataclass(eq=False)
class Pair:
    """A device of a message, what the provider was handed for it, and when it was planned at the latest."""

    message: MessageRow
    plan: Planned
    planned: int
    pushes: list[Push] = field(default_factory=list)
    result: ResultRow | None = None


class Model:
    """What has happened."""

    def __init__(self, picture: Picture, stage: Any) -> None:
        self._picture = picture
        self._stage = stage
        self.sends: dict[str, Send] = {}
        self.calls: list[Call] = []
        self.cancels: dict[int, list[tuple[int, int]]] = {}
        self.owners: dict[tuple[str, str], int] = {}
        self.kept: dict[int, MessageRow] = {}
        self.pairs: dict[str, Pair] = {}
        self.by_message: dict[int, dict[tuple[str, str], Pair]] = {}
        self.latest: Micros = 0
        self._history: dict[tuple[str, str], list[tuple[int, DeviceRow | None]]] = {}
        self._read: dict[int, int] = {}
        self.seen: dict[str, int] = {}

    def saw(self, what: str) -> None:
        """Counts what the runs have met, so that it can be told that they met it."""
        self.seen[what] = self.seen.get(what, 0) + 1

    def intend(self, send: Send) -> Send:
        """A send that may come to be a message."""
        return self.sends.setdefault(sent_by(send), send)

    def send_of(self, ref: int) -> Send:
        return self.sends[self._picture.labels[ref]]

    async def committed(self) -> None:
        """A transaction has ended: looks at what there is now, and whether it may be."""
        tick = self._stage.now()
        self.latest = max(self.latest, self._stage.clock.now())
        before = self._picture.devices
        await self._picture.look()
        self._note_devices(before, tick)
        for ref in self.kept.keys() - self._picture.messages.keys():
            self._check_deletion(self.kept.pop(ref))
        for ref, message in self._picture.messages.items():
            if self.kept.get(ref) != message:
                if ref not in self.kept:
                    self._check_new(message)
                self.kept[ref] = message
                self._note_plan(message, tick)
                self._note_results(message)

    def _note_devices(self, before: dict[tuple[str, str], DeviceRow], tick: int) -> None:
        devices = self._picture.devices
        if devices == before:
            return
        for key in before.keys() | devices.keys():
            if before.get(key) != devices.get(key):
                self._history.setdefault(key, [(0, None)]).append((tick, devices.get(key)))
        bound = [(app, row.address) for (app, _), row in devices.items() if row.state is not DeviceState.UNVERIFIED]
        assert len(bound) == len(set(bound)), "P2: a token has two devices"

    def _check_deletion(self, message: MessageRow) -> None:
        over = message.complete_time
        assert over is not None, "P6: an accepted message is gone"
        assert over + 30 * DAY <= self.latest, "P6: a message is gone before its time"
        self.saw("deleted")

    def _check_new(self, message: MessageRow) -> None:
        send = self.send_of(message.ref)
        assert send.app_id == message.app_id
        if not message.request_id:
            return
        key = message.app_id, message.request_id
        owner = self.owners.get(key)
        if owner is not None:
            forgotten = owner not in self.kept and owner not in self._picture.messages
            assert forgotten, "P8: a request id has two messages"
            self.saw("request id forgotten")
        self.owners[key] = message.ref

    def _note_plan(self, message: MessageRow, tick: int) -> None:
        pairs = self.by_message.setdefault(message.ref, {})
        plan = self._picture.planned.get(message.ref, {})
        for name in plan.keys() - pairs.keys():
            one = plan[name]
            pair = pairs[name] = Pair(message, one, tick)
            item = Item(one.device_id, one.user_id, one.epoch, "", 1)
            # What the provider knows a push by says which device of which message it is.
            self.pairs[sorting._provider_message_id(sorting._identity(message), item)] = pair
        assert len(pairs) == message.device_count, "P7: what is planned is in no batch, or twice"

    def _note_results(self, message: MessageRow) -> None:
        rows = self._picture.results.get(message.ref, [])
        assert [row.seq for row in rows] == list(range(1, message.result_seq + 1)), "P10: cursors have a gap"
        first = self._read.get(message.ref, 0)
        self._read[message.ref] = len(rows)
        for row in rows[first:]:
            if row.outcome is Outcome.NOT_REGISTERED:
                assert row.platform == 0
                continue
            pair = self.by_message[message.ref][row.device_id, row.user_id]
            assert pair.result is None, "P7: a second result"
            pair.result = row
            self._check_result(message, pair, row)
            self.saw(row.outcome.name)
        finished = sum(row.outcome is not Outcome.NOT_REGISTERED for row in rows)
        assert (message.finished_count, message.not_registered_count) == (finished, len(rows) - finished), "P7: numbers"
        over = message.planned and finished == message.device_count
        assert (message.over, message.complete_time is not None) == (over, over), "P7: the end is not where it is"
        if over:
            cancelled = message.cancel_time is not None
            assert (message.state is MessageState.CANCELLED) == cancelled
            self.saw(message.state.name)

    def _check_result(self, message: MessageRow, pair: Pair, row: ResultRow) -> None:
        verdicts = {push.answer.verdict for push in pair.pushes if push.answer is not None}
        if row.outcome in ANSWERED:
            assert verdicts & ANSWERED[row.outcome], f"P7: nobody said {row.outcome.name}"
            return
        crashed = any(tick > pair.planned for tick in self._stage.crashes)
        if row.outcome is Outcome.UNKNOWN:
            assert Verdict.UNKNOWN in verdicts or crashed, "P9: UNKNOWN without a doubt"
            return
        assert self._surely_not_taken(pair), f"P9: {row.outcome.name}, and yet it may have arrived"
        if row.outcome is Outcome.CANCELLED:
            assert message.cancel_time is not None
        elif row.outcome is Outcome.EXPIRED:
            assert self._may_expire(message, pair), "EXPIRED before its time"
        elif row.outcome is Outcome.SUPERSEDED:
            assert self._was_superseded(message, pair), "SUPERSEDED by nobody"
        else:
            raise AssertionError(f"{row.outcome.name} for no reason")

    def _surely_not_taken(self, pair: Pair) -> bool:
        return all(push.left is None or (push.answer and push.answer.verdict in REFUSED) for push in pair.pushes)

    def last_call(self, message: MessageRow) -> Micros:
        return message.fire_time + (self.send_of(message.ref).options.ttl or NOW_OR_NEVER)

    def _may_expire(self, message: MessageRow, pair: Pair) -> bool:
        end, now = self.last_call(message), self._stage.clock.now()
        if self.latest >= end - LAST_MOMENTS:
            return True
        answer = pair.pushes[-1].answer if pair.pushes else None
        if answer is None or answer.verdict not in REFUSED:
            return False
        asked = answer.retry_after is not None and now + answer.retry_after * SECOND >= end - LAST_MOMENTS
        return asked or self.send_of(message.ref).options.ttl == 0

    def _was_superseded(self, message: MessageRow, pair: Pair) -> bool:
        key = message.app_id, pair.plan.device_id
        states = [row for tick, row in self._history[key] if tick >= pair.planned] + [self._at(key, pair.planned)]
        return any(
            row is None
            or not self._means(message, pair, row)
            or row.state is not DeviceState.ACTIVE
            or (row.expire_time is not None and row.expire_time <= self.latest)
            for row in states
        )

    def _at(self, key: tuple[str, str], tick: int) -> DeviceRow | None:
        return next((row for since, row in reversed(self._history[key]) if since <= tick), None)

    def _means(self, message: MessageRow, pair: Pair, row: DeviceRow) -> bool:
        """Whether the message is for the device as it is in that row."""
        audience = self.send_of(message.ref).audience
        if audience.kind is AudienceKind.USERS and (row.user_id, row.epoch) != (pair.plan.user_id, pair.plan.epoch):
            return False
        # From its end on a binding is none, whatever is stored.
        ended = row.expire_time is not None and row.expire_time <= self.latest
        return ended or row.user_id not in audience.exclude_user_ids

    def received(self, push: Push) -> None:
        """The provider has a request in hand; it has not left yet."""
        pair = self._pair(push)
        message = self.kept[pair.message.ref]
        pair.pushes.append(push)
        assert push.app_id == message.app_id
        now, end = push.received_time, self.last_call(message)
        assert self.latest >= message.fire_time, "handed over before its time"
        assert now < end, "handed over after its last call"
        left = push.deadline - self._stage.clock.monotonic()
        assert left <= min(8.0, (end - now) / SECOND) + 1e-3, "it may be handed over for too long"
        row = self._picture.devices.get((message.app_id, pair.plan.device_id))
        if row is not None and self.send_of(message.ref).audience.kind is AudienceKind.USERS:
            expired = row.expire_time is not None and row.expire_time <= now
            assert not (expired and self._means(message, pair, row)), "P5: handed over to a binding that has ended"

    def left(self, push: Push) -> None:
        """A request has been handed over, or may have been."""
        pair = self._pair(push)
        assert pair.result is None, "P7: handed over after its result"
        self._check_doubts(pair, push)
        for began, returned in self.cancels.get(pair.message.ref, ()):
            assert not returned, f"handed over after its cancellation, which took from {began} to {returned}"
        self._check_fence(pair, push)
        self.saw("handed over")

    def _check_doubts(self, pair: Pair, push: Push) -> None:
        others = [each for each in pair.pushes if each is not push and each.left is not None]
        doubtful = [each for each in others if each.answer is None or each.answer.verdict not in REFUSED]
        if not doubtful:
            return
        send = self.send_of(pair.message.ref)
        resend = send.options.resend
        replaces = resend is ResendPolicy.IF_REPLACEABLE and send.notification.collapse_key
        assert resend is ResendPolicy.ALWAYS or replaces, "P9: handed over again, which nobody asked for"
        assert send.options.ttl, "P9: now or never, and twice"
        assert len(doubtful) <= 2, "P9: handed over again too often"
        self.saw("handed over again in doubt")

    def _check_fence(self, pair: Pair, push: Push) -> None:
        """P3: whoever had been told that this device is not meant any more, is told the truth."""
        message, plan = pair.message, pair.plan
        key, address = (message.app_id, plan.device_id), push.delivery.address

        def fits(row: DeviceRow | None) -> bool:
            return row is not None and row.address == address and self._means(message, pair, row)

        history = self._history[key]
        if fits(history[-1][1]):
            return
        last = next((place for place in reversed(range(len(history))) if fits(history[place][1])), None)
        assert last is not None, "P3: handed over to somebody whom it was never meant for"
        row, changed = history[last][1], history[last + 1][0]
        assert row is not None
        self.saw("handed over while somebody waits")
        for call in self.calls:
            waited = call.returned and call.error is None and max(call.began, call.committed) >= changed
            if waited and call.speaks_of(*key, address, row):
                raise AssertionError(f"P3: handed over to {plan} at {address} after {call}")

    def _pair(self, push: Push) -> Pair:
        pair = self.pairs.get(push.delivery.provider_message_id)
        assert pair is not None, "something is handed over that was never planned"
        return pair

    async def check(self) -> None:
        """What must hold whenever nothing moves."""
        counted, left = await self._picture.counted(), await self._picture.left_to_do()
        for ref in self.kept:
            rows = self._picture.results.get(ref, [])
            if ref not in self._picture.messages:
                continue
            numbers: dict[Outcome, int] = {}
            for row in rows:
                if row.outcome is not Outcome.NOT_REGISTERED:
                    numbers[row.outcome] = numbers.get(row.outcome, 0) + 1
            assert counted.get(ref, {}) == numbers, "P7: the counts do not add up"
            waiting = left.get(ref, [])
            assert len(waiting) == len(set(waiting)), "P7: a device is in two batches"
            done = {name for name, pair in self.by_message[ref].items() if pair.result is not None}
            assert done | set(waiting) == self.by_message[ref].keys(), "P7: somebody was forgotten"
