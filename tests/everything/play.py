"""One run: the stage, the model that watches it, and what people do, each told in one call."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

from bellhop_server.domain import DAY, SECOND, Micros
from bellhop_server.domain.acceptance import Accepted
from bellhop_server.domain.application import ApnsCredential, Application, Credential, Policy
from bellhop_server.domain.device import DeviceFacts, Platform, Target
from bellhop_server.domain.errors import BellhopError, MessageNotFound, RequestIdReused, ServiceUnavailable
from bellhop_server.domain.message import ResultFilter, Send
from bellhop_server.domain.registration import Proof
from bellhop_server.store.database import Database
from tests.everything.model import Call, Model
from tests.everything.picture import Picture, Rows, sent_by
from tests.everything.provider import SteeredProvider
from tests.everything.stage import COMMITTED, Stage, StageLoop
from tests.everything.watcher import Watcher

APPS = ("shop", "bank")
AT_FIRST = (("phone", "ann", "aa" * 32), ("tablet", "ann", "bb" * 32), ("watch", "bob", "cc" * 32))
# How time passes in the end, in seconds: longer than any delay, schedule or default time to live.
LAST_LEAPS = (1.0, 12.0, 30.0, 60.0, 1_000.0, 4_000.0, 8_000.0, DAY / SECOND, 60.0)


class Alarm(logging.Handler):
    """Keeps what the server logs as an error: it survives much that must not happen all the same."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Play:
    """A run from an empty database on. Everything that people do returns when nothing moves any more."""

    def __init__(self, loop: StageLoop, database: Database, rows: Rows, seed: int) -> None:
        self.loop = loop
        self.order = random.Random(seed)
        self.picture = Picture(rows)
        self.mood = "healthy"
        self.hurry: int | None = None
        """So many steps are taken the next time before something else begins."""
        self.stage = Stage(loop, database, self.order, self._provider, lambda: self.model.committed())
        self.model = Model(self.picture, self.stage)
        self.watchers: list[Watcher] = []
        self.alarm = Alarm()
        self._failed: list[BaseException] = []
        self._runs: set[str] = set()

    def _provider(self, stage: Stage) -> SteeredProvider:
        self.provider = SteeredProvider(stage, self.order, self.mood, (self._received, self._left))
        return self.provider

    def _received(self, push: Any) -> None:
        self._guard(lambda: self.model.received(push))

    def _left(self, push: Any) -> None:
        self._guard(lambda: self.model.left(push))

    def _guard(self, check: Callable[[], None]) -> None:
        # The server would take what the provider raises for the provider's failure.
        try:
            check()
        except Exception as error:
            self._failed.append(error)

    async def begin(self) -> None:
        """Starts the server, with two applications that can send."""
        logging.getLogger("bellhop_server").addHandler(self.alarm)
        self.stage.start()
        store = self.stage.server.store
        secret = ApnsCredential("KEY1234567", "TEAM123456", "pem", ("com.example.shop",))

        async def create() -> None:
            for app_id in APPS:
                await store.create_application(Application(app_id, "", Policy(), 1, 1), [])
                await store.put_credential(Credential(app_id, "apns", Platform.APNS, 1, 0, secret), None)

        await self._do(create())
        for app_id in APPS:
            for device_id, user_id, token in AT_FIRST:
                await self.register(app_id, device_id, user_id, token)

    async def end(self) -> None:
        """P12: lets everything come to its end."""
        self.stage.fuse = self.hurry = None
        self.stage.server.gate.refuse = 0
        self.set_mood("healthy")
        self.provider.go_on(1.0)
        for watcher in self.watchers:
            watcher.go_on()
        for seconds in LAST_LEAPS:
            await self.advance(seconds)
            self.provider.go_on(1.0)
            await self.settle()
            # The results of a batch may be committed before its end is, which a crash puts off until its lease is over.
            left = await self.picture.left_to_do()
            if all(message.over for message in self.picture.messages.values()) and not left and seconds > 1:
                break
        late = [message for message in self.picture.messages.values() if not message.over]
        assert not late, f"P12: it never ends: {late}"
        assert not left, "P7: something is left of what is over"
        assert not self.stage.server.fence._marks, "a mark was left behind"
        assert not self.stage.server.fence._awaited, "a wait was left behind"
        assert not self.stage.server.deliverer._lanes._in_hand, "something is in hand that nobody has"
        assert not self._runs, f"P12: it never returns: {self._runs}"
        for watcher in self.watchers:
            assert watcher.ended or watcher.gone, "P10: a stream without an end"

    async def close(self) -> None:
        """Ends the server, however things stand."""
        await self.stage.kill()
        logging.getLogger("bellhop_server").removeHandler(self.alarm)

    async def settle(self) -> None:
        steps, self.hurry = self.hurry, None
        if steps is None:
            await self.stage.settle()
        else:
            await self.stage.settle(steps)
        if self._failed:
            raise self._failed[0]
        assert not self.alarm.records, self.alarm.records[0].getMessage()
        await self.model.check()

    async def _do(self, work: Coroutine[Any, Any, None], name: str = "") -> None:
        self._start(work, name)
        await self.settle()

    def _start(self, work: Coroutine[Any, Any, None], name: str = "") -> None:
        task = self.stage.spawn(work)
        self._runs.add(text := f"{name} {task.get_name()}")

        def done(task: "asyncio.Task[None]") -> None:
            self._runs.discard(text)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._failed.append(error)

        task.add_done_callback(done)

    async def advance(self, seconds: float) -> None:
        await self.settle()
        await self.stage.advance(seconds)
        await self.settle()

    async def set_wall(self, by: Micros) -> None:
        self.stage.clock.set_wall(by)
        await self.settle()

    async def crash(self) -> None:
        await self.stage.crash()
        await self.settle()

    def set_mood(self, mood: str) -> None:
        self.mood = self.provider.mood = mood

    async def go_on(self, share: float) -> None:
        self.provider.go_on(share)
        await self.settle()

    async def register(
        self,
        app_id: str,
        device_id: str,
        user_id: str | None,
        token: str | None,
        *,
        authority: bool = True,
        **binding: Any,
    ) -> None:
        target = None if token is None else Target(Platform.APNS, token)
        call = self._call("register", app_id, device_id, user_id or "", binding.get("session_id", ""), token)
        server = self.stage.server.registering
        now = self.stage.clock.now()
        work = server.register(app_id, device_id, user_id, target, DeviceFacts(), Proof(authority), now, **binding)
        await self._do(self._serve(call, work), "register")

    async def rotate(self, app_id: str, device_id: str, token: str) -> None:
        call = self._call("update", app_id, device_id, address=token)
        target = Target(Platform.APNS, token)
        server = self.stage.server.registering
        work = server.update(app_id, device_id, target, None, None, None, {}, (), Proof(True))
        await self._do(self._serve(call, work), "update")

    async def unregister(self, app_id: str, device_id: str, **binding: Any) -> None:
        call = self._call("unregister", app_id, device_id)
        work = self.stage.server.registering.unregister(app_id, device_id, Proof(True), **binding)
        await self._do(self._serve(call, work), "unregister")

    async def unregister_user(self, app_id: str, user_id: str, session_id: str) -> None:
        call = self._call("unregister_user", app_id, "", user_id, session_id)
        now = self.stage.clock.now()
        work = self.stage.server.registering.unregister_user(app_id, user_id, now, session_id=session_id)
        await self._do(self._serve(call, work), "unregister_user")

    def _call(
        self,
        kind: str,
        app_id: str,
        device_id: str,
        user_id: str = "",
        session_id: str = "",
        address: str | None = None,
    ) -> Call:
        call = Call(kind, app_id, self.stage.now(), device_id, user_id, session_id, address or "")
        self.model.calls.append(call)
        return call

    async def _serve(self, call: Call, work: Coroutine[Any, Any, Any]) -> None:
        def committed() -> None:
            call.committed = self.stage.now()

        COMMITTED.set(committed)
        try:
            await work
        except BellhopError as error:
            call.error = error
            self.model.saw(type(error).__name__)
        call.returned = self.stage.now()

    async def send(self, send: Send, at_once: int = 1) -> None:
        """The same send by so many callers at the same moment."""
        self.model.intend(send)
        for _ in range(at_once):
            self._start(self._send(send), "send")
        await self.settle()

    async def _send(self, send: Send) -> None:
        began, key = self.stage.now(), (send.app_id, send.request_id)
        known = self.model.owners.get(key) if send.request_id else None
        try:
            accepted = await self.stage.server.sending.accept(send, lambda now: None)
        except ServiceUnavailable:
            return
        except RequestIdReused:
            assert self.picture.labels[self.model.owners[key]] != sent_by(send), "P8: a repeat was refused"
            self.model.saw("other content refused")
            return
        except MessageNotFound:
            assert known is not None, "P8: a send of something that is not there"
            assert known not in self.picture.messages
            return
        self._check_accepted(send, accepted, known, began)

    def _check_accepted(self, send: Send, accepted: Accepted, known: int | None, began: int) -> None:
        ref = accepted.message.ref
        assert ref in self.model.kept, "P6: accepted, and not committed"
        assert self.picture.labels[ref] == sent_by(send), "P8: other content was taken for a repeat"
        if send.request_id:
            assert self.model.owners[send.app_id, send.request_id] == ref
        if accepted.replayed:
            self.model.saw("replayed")
        else:
            assert known is None or known not in self.picture.messages, "P8: accepted twice"

    async def cancel(self, ref: int) -> None:
        message = self.model.kept[ref]

        async def cancel() -> None:
            began = self.stage.now()
            try:
                now = await self.stage.server.cancelling.cancel(message.app_id, message.message_id)
            except (ServiceUnavailable, MessageNotFound):
                return
            assert now.ref == ref
            self.model.cancels.setdefault(ref, []).append((began, self.stage.now()))

        await self._do(cancel(), "cancel")

    async def watch(self, ref: int, shows: ResultFilter) -> None:
        async def begin() -> None:
            try:
                message = await self.stage.server.store.get_message_by_ref(ref)
            except (ServiceUnavailable, MessageNotFound):
                return
            watcher = Watcher(self.stage, self.picture, self.model, message, shows, self._failed)
            self.watchers.append(watcher)
            watcher.go_on()

        await self._do(begin(), "watch")

    async def cut(self, watcher: Watcher, *, again: bool) -> None:
        """Cuts a stream off; it goes on now, or in the end."""
        watcher.cut()
        await self.settle()
        if again:
            watcher.go_on()
            await self.settle()
