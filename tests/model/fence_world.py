"""Senders, logouts and a provider around the production fence; what happens next is chosen from outside.

What is real: the fence and its marks, the hand-over, the recorder, the use case of registrations, the writer of the
registry and its rules. What is not: a clock that stands still, rows in memory, a provider that does what it is told.
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from bellhop_server.app.fencing import DIGITS, Fence, Mark
from bellhop_server.app.handover import Handover
from bellhop_server.app.hygiene import Hygiene
from bellhop_server.app.proving import Proving
from bellhop_server.app.recording import Recorder
from bellhop_server.app.registering import Registering
from bellhop_server.app.targets import Targets
from bellhop_server.domain import Micros
from bellhop_server.domain.batch import BatchReport, ClaimedBatch, Item, Recorded
from bellhop_server.domain.delivery import Answer, Chunk, Reading, Verdict
from bellhop_server.domain.device import Platform
from bellhop_server.domain.message import Audience, AudienceKind, Message
from bellhop_server.domain.notification import Notification, Priority
from bellhop_server.domain.registration import RegistryAnswer, RegistryCommand
from bellhop_server.queue.local import LocalQueue
from tests.model.explorer import Loop
from tests.model.phones import APP, Bound, Call, Phones
from tests.model.settings import Sender, Setting
from tests.sealing import STAMPER, PlainSealer
from tests.unit.app_fakes import CREDENTIAL, FakeClock, message


@dataclass(eq=False)
class Request:
    """One request to the provider: `queued` in the connection, `arrived` at its end, or over."""

    sender: int
    address: str
    report: Callable[[Answer], None]
    handed_over: Callable[[], None]
    stage: str = "queued"


@dataclass(eq=False)
class Serving:
    """A call that is being served. `left`: its caller is there no more; `cancelled`: the server knows."""

    call: Call
    task: "asyncio.Task[Any]"
    left: bool = False
    cancelled: bool = False
    waits_for: "frozenset[asyncio.Future[None]]" = frozenset()


@dataclass(eq=False)
class Caller:
    """Where a caller is."""

    calls: Sequence[Call]
    number: int = 0
    waiting: bool = False


@dataclass(eq=False)
class Sending:
    """Where a sender is."""

    plan: Sender
    message: Message
    items: list[Item] = field(default_factory=list)
    epoch: int = 0
    begun: bool = False
    refusals: int = 0
    task: "asyncio.Task[None] | None" = None
    retry: list[Item] | None = None
    reading: Reading | None = None


class WatchedFence(Fence):
    """The fence, and a note of what each caller waits for."""

    def __init__(self, waits: Callable[[str, "set[asyncio.Future[None]]"], None]) -> None:
        super().__init__(nullcontext)
        self._waits_of = waits

    async def wait(self, ends: "set[asyncio.Future[None]]") -> None:
        task = asyncio.current_task()
        assert task is not None
        self._waits_of(task.get_name(), ends)
        await super().wait(ends)


class FenceWorld:
    """A world for the explorer; also the store and the provider of the parts in it."""

    platform = Platform.APNS

    def __init__(self, loop: Loop, setting: Setting) -> None:
        self.arrived: list[Bound] = []
        """What reached the provider's end."""
        self.ended: dict[Bound, str] = {}
        """What must not arrive any more, and by which call that has returned."""
        self.fence = WatchedFence(self._waiting_for)
        self.phones = Phones(self._gate)
        self._loop = loop
        self._gates: dict[str, asyncio.Future[None]] = {}
        self._requests: list[Request] = []
        self._since: dict[str, int] = {}
        clock = FakeClock()
        recorder = Recorder(self, LocalQueue(), clock)
        loop.create_task(recorder.run())
        self._handover = Handover(
            self, clock, self.fence, recorder, Hygiene(self, clock), {Platform.APNS: self}, STAMPER
        )
        self._registering = Registering(
            self, clock, self.fence, Targets(self, clock, {}), Proving(self, clock, {}), PlainSealer()
        )
        for bound in setting.bound:
            self.phones.give(*bound)
        self._senders = [self._sending(number, plan) for number, plan in enumerate(setting.senders)]
        self._callers = [Caller(calls) for calls in setting.callers]
        self._served: dict[str, Serving] = {}

    @property
    def waiting(self) -> set[str]:
        """The calls that have not returned, whether or not their callers are there."""
        return set(self._served)

    # What the explorer asks

    def steps(self) -> Mapping[str, Callable[[], None]]:
        steps: dict[str, Callable[[], None]] = {}
        for number, sending in enumerate(self._senders):
            if not sending.begun:
                steps[f"S{number} begins"] = lambda sending=sending: self._begin(sending)
            elif sending.retry is not None:
                steps[f"S{number} tries again"] = lambda sending=sending: self._carry_out(sending, sending.retry)
        for number, caller in enumerate(self._callers):
            if caller.number == len(caller.calls):
                continue
            name = f"C{number}.{caller.number} {caller.calls[caller.number]}"
            if not caller.waiting:
                steps[f"{name} begins"] = lambda caller=caller, name=name: self._call(caller, name)
            elif caller.number < len(caller.calls) - 1:
                steps[f"{name} loses patience"] = lambda caller=caller, name=name: self._leave(caller, name)
        for name, serving in self._served.items():
            if serving.left and not serving.cancelled:
                steps[f"{name} is cancelled"] = lambda serving=serving: self._cancel(serving)
        for label, gate in self._gates.items():
            if not gate.done():
                steps[label] = lambda gate=gate, label=label: self._open(label, gate)
        for request in self._requests:
            steps |= self._moves(request)
        return steps

    def state(self) -> Hashable:
        marks = {mark: self._name(mark) for mark in self.fence._marks.get(APP, ())}
        ends = {wait: (name, at) for mark, name in marks.items() for at, wait in mark._waits.items()}

        def known(waits: "Sequence[asyncio.Future[None]] | frozenset[asyncio.Future[None]]") -> Hashable:
            return frozenset(ends.get(each) for each in waits if not each.done())

        return (
            self.phones.state(),
            frozenset(marks.values()),
            frozenset((key, known(frozenset(waits))) for key, waits in self.fence._awaited.items()),
            tuple((each.number, each.waiting) for each in self._callers),
            frozenset((name, each.left, each.cancelled, known(each.waits_for)) for name, each in self._served.items()),
            tuple(
                (
                    each.begun,
                    each.task is None,
                    each.refusals,
                    None if each.retry is None else tuple(map(repr, each.retry)),
                    tuple(map(repr, each.items)),
                    None if each.reading is None else tuple(each.reading.devices.values()),
                )
                for each in self._senders
            ),
            frozenset(self._gates),
            tuple(sorted((each.sender, each.address, each.stage) for each in self._requests)),
            frozenset(self.ended),
            tuple(sorted(self._since.items())),
        )

    def check(self) -> None:
        for mark in self.fence._marks.get(APP, ()):
            sending = self._senders[mark.message_ref]
            busy = [each for each in self._requests if each.sender == mark.message_ref and each.stage != "confirmed"]
            assert sending.task is not None, "a mark outlives its attempt"
            assert busy or f"S{mark.message_ref} reads" in self._gates or sending.reading, "a mark outlives its request"
        if not any(label.startswith("commit") for label in self._gates):
            for serving in self._served.values():
                assert any(not each.done() for each in serving.waits_for), f"{serving.call} waits for nothing"

    def check_end(self) -> None:
        assert not self._served, f"{', '.join(self._served)}: for ever"
        assert all(caller.number == len(caller.calls) for caller in self._callers)
        for sending in self._senders:
            assert sending.begun
            assert sending.task is None
        assert not self.fence._marks, "a mark is left"
        assert not self.fence._awaited, "something is remembered for ever"

    # The store

    async def execute(
        self, command: RegistryCommand, committed: Callable[[RegistryAnswer], None] | None = None
    ) -> RegistryAnswer:
        return await self.phones.execute(command, committed)

    async def list_credentials(self, app_id: str) -> list[Any]:
        return [CREDENTIAL]

    async def get_message_by_ref(self, ref: int) -> Message:
        return self._senders[ref].message

    async def start(self, batch_id: int, lease: str, now: Micros, lease_until: Micros) -> bool:
        return True

    async def read_present(self, app_id: str, message_ref: int, device_ids: Sequence[str]) -> Reading:
        await self._gate(f"S{message_ref} reads")
        found = {each: row for each in device_ids if (row := self.phones.found(each)) is not None}
        sending = self._senders[message_ref]
        sending.reading = reading = Reading(found, False, [CREDENTIAL])
        await self._gate(f"S{message_ref} has read")
        sending.reading = None
        return reading

    async def record(self, reports: Sequence[BatchReport], now: Micros) -> list[Recorded]:
        for report in reports:
            if report.done:
                [items] = [each.items for each in report.again] or [None]
                self._senders[report.message_ref].retry = items
        return [Recorded(report.message_ref, 1, report.results, False) for report in reports]

    async def mark_accepted(self, app_id: str, taken: Sequence[tuple[str, str]]) -> None:
        """Nothing here depends on it."""

    # The provider

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        left = len(chunk.deliveries)
        over = self._loop.create_future()

        def told(index: int, answer: Answer) -> None:
            nonlocal left
            report(index, answer)
            left -= 1
            if not left:
                over.set_result(None)

        for index, delivery in enumerate(chunk.deliveries):
            self._requests.append(
                Request(
                    int(chunk.notification.title),
                    delivery.address,
                    lambda answer, index=index: told(index, answer),
                    lambda index=index: handed_over(index),
                )
            )
        await over

    def _moves(self, request: Request) -> dict[str, Callable[[], None]]:
        name, sending = f"S{request.sender} at {request.address}", self._senders[request.sender]
        if request.stage == "queued":
            moves = {f"{name} arrives": lambda: self._arrive(request)}
            if sending.refusals:
                moves[f"{name} is refused"] = lambda: self._refuse(request)
            if sending.plan.loses:
                moves[f"{name} is given up"] = lambda: self._answer(request, Verdict.UNKNOWN)
            return moves
        moves = {f"{name} is answered": lambda: self._answer(request, Verdict.ACCEPTED)}
        if sending.plan.confirms and request.stage == "arrived":
            moves[f"{name} is confirmed"] = lambda: self._confirm(request)
        return moves

    def _arrive(self, request: Request) -> None:
        sending = self._senders[request.sender]
        bound = Bound(sending.plan.device, sending.plan.user, sending.epoch, request.address)
        request.stage = "arrived"
        self.arrived.append(bound)
        assert bound not in self.ended, f"{bound} arrives though {self.ended[bound]} has returned"

    def _refuse(self, request: Request) -> None:
        self._senders[request.sender].refusals -= 1
        self._answer(request, Verdict.NOT_SENT)

    def _confirm(self, request: Request) -> None:
        request.stage = "confirmed"
        request.handed_over()

    def _answer(self, request: Request, verdict: Verdict) -> None:
        self._requests.remove(request)
        request.report(Answer(verdict, 200 if verdict is Verdict.ACCEPTED else 0))

    # The senders

    def _sending(self, number: int, plan: Sender) -> Sending:
        audience = Audience(AudienceKind.USERS, (plan.user,))
        sent = message(audience, ref=number, message_id=f"m{number}", notification=Notification(title=str(number)))
        sending = Sending(plan, sent, refusals=plan.refusals)
        if plan.early:
            self._plan(sending)
        return sending

    def _plan(self, sending: Sending) -> None:
        row = self.phones.found(sending.plan.device)
        if row is not None and row.user_id == sending.plan.user:
            digest = row.target_digest[:DIGITS]
            sending.items = [Item(row.device_id, row.user_id, row.binding_epoch, digest, Platform.APNS)]
            sending.epoch = row.binding_epoch

    def _begin(self, sending: Sending) -> None:
        sending.begun = True
        if not sending.plan.early:
            self._plan(sending)
        if sending.items:
            self._carry_out(sending, sending.items)

    def _carry_out(self, sending: Sending, items: list[Item] | None) -> None:
        assert items is not None
        sending.items, sending.retry = items, None
        ref = sending.message.ref
        batch = ClaimedBatch(ref, ref, APP, "lease", interruptions=0, priority=Priority.NORMAL, items=items)
        sending.task = self._loop.create_task(self._handover.carry_out(batch, lambda results: None))
        sending.task.add_done_callback(lambda task: self._carried_out(sending, task))

    def _carried_out(self, sending: Sending, task: "asyncio.Task[None]") -> None:
        sending.task = None
        if not task.cancelled():
            task.result()

    # The callers

    def _call(self, caller: Caller, name: str) -> None:
        call = caller.calls[caller.number]
        caller.waiting = True
        task = self._loop.create_task(call.of(self._registering), name=name)
        serving = self._served[name] = Serving(call, task)
        task.add_done_callback(lambda task: self._returned(caller, name, serving))

    def _leave(self, caller: Caller, name: str) -> None:
        caller.waiting = False
        caller.number += 1
        self._served[name].left = True

    def _cancel(self, serving: Serving) -> None:
        serving.cancelled = True
        serving.task.cancel()

    def _returned(self, caller: Caller, name: str, serving: Serving) -> None:
        del self._served[name]
        if serving.left:
            return
        caller.waiting = False
        caller.number += 1
        if not serving.task.cancelled() and serving.task.exception() is None:
            call, commit = serving.call, self.phones.committed[name]
            who = call.device or f"user {call.user}"
            for bound in self.phones.over(call, commit, self._since.get(who, 0)):
                self.ended.setdefault(bound, str(call))
            self._since[who] = commit

    def _waiting_for(self, name: str, ends: "set[asyncio.Future[None]]") -> None:
        self._served[name].waits_for = frozenset(ends)

    # Steps that code waits for

    async def _gate(self, label: str) -> None:
        gate = self._gates[label] = self._loop.create_future()
        await gate

    def _open(self, label: str, gate: "asyncio.Future[None]") -> None:
        del self._gates[label]
        gate.set_result(None)

    def _name(self, mark: Mark) -> Hashable:
        items = tuple((item.device_id, item.user_id, item.target_digest) for item in mark._items)
        return mark.message_ref, items, bytes(mark._open)
