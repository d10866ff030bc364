"""Nonces on their way: pushed off the way of the call, tried for a while, and never too many."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import pytest

from bellhop_server.app.fencing import Fence
from bellhop_server.app.proving import DATA_KEY, LIFE, MOST, MOST_OF_APPLICATION, MOST_TO_TARGET, Proving
from bellhop_server.app.registering import Registering
from bellhop_server.app.targets import Targets
from bellhop_server.domain import MINUTE, SECOND
from bellhop_server.domain.application import Credential, VapidKey, WebPushCredential, digest_of
from bellhop_server.domain.delivery import HANDOVER, Answer, Chunk, Verdict
from bellhop_server.domain.device import DeviceFacts, Platform, Target
from bellhop_server.domain.errors import ServiceUnavailable
from bellhop_server.domain.registration import Proof, Register, RegistryAnswer, RegistryCommand, Update
from tests.sealing import PlainSealer
from tests.unit.app_fakes import CREDENTIAL, NOW, FakeClock, device

pytestmark = pytest.mark.promise("P2")

NONCE = "a nonce that was made for one target"
TARGET = Target(Platform.APNS, "ab")
TAKEN = Answer(Verdict.ACCEPTED, 200)
AWAY = Answer(Verdict.PROVIDER_UNAVAILABLE, 503, "ServiceUnavailable")
UNSENT = Answer(Verdict.NOT_SENT, 0, "Refused")


class Credentials:
    """A store as far as it is asked."""

    def __init__(self, *credentials: Credential) -> None:
        self.credentials = list(credentials)
        self.away = False

    async def list_credentials(self, app_id: str) -> list[Credential]:
        if self.away:
            raise ServiceUnavailable("store")
        return self.credentials


class Network:
    """Answers one after another, the last for ever; waits for `open`."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.chunks: list[Chunk] = []
        self.fault: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        self.chunks.append(chunk)
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        report(0, self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])


class Desk:
    """Pushes, and what they came to."""

    def __init__(self, *answers: Answer) -> None:
        self.store, self.clock = Credentials(CREDENTIAL), FakeClock()
        self.network = Network(*answers or [TAKEN])
        self.proving = Proving(self.store, self.clock, dict.fromkeys(Platform, self.network))

    async def push(self, target: Target = TARGET) -> Sequence[Chunk]:
        self.proving.push("shop", target, NONCE)
        await self.rest()
        return self.network.chunks

    async def rest(self) -> None:
        if self.proving._pushing:
            _, pending = await asyncio.wait(self.proving._pushing, timeout=5)
            assert not pending


async def test_a_nonce_is_pushed_silently_to_its_target_alone() -> None:
    desk = Desk()
    [chunk] = await desk.push()
    assert chunk.notification.silent
    assert chunk.notification.data == {DATA_KEY: NONCE}
    assert not any((chunk.notification.title, chunk.notification.body))
    assert [(each.address, each.expire_time) for each in chunk.deliveries] == [("ab", NOW + LIFE)]
    assert chunk.deadline == NOW / SECOND + HANDOVER
    assert (chunk.credential_id, chunk.apns_topic) == ("apns", "com.example.shop")


async def test_a_subscription_is_reached_under_the_key_that_it_was_made_with() -> None:
    desk = Desk()
    keys = WebPushCredential((VapidKey("new", "pem"), VapidKey("old", "pem")), "mailto:a@b.example")
    desk.store.credentials = [replace(CREDENTIAL, credential_id="web-push", platform=Platform.WEB_PUSH, secret=keys)]
    browser = Target(Platform.WEB_PUSH, "https://push.example/1", supplement="p.a", vapid_public_key="old")
    [chunk] = await desk.push(browser)
    assert (chunk.vapid_public_key, chunk.deliveries[0].supplement) == ("old", "p.a")


async def test_the_caller_does_not_wait() -> None:
    desk = Desk()
    desk.network.open.clear()
    desk.proving.push("shop", TARGET, NONCE)
    assert desk.network.chunks == []
    desk.network.open.set()
    await desk.rest()
    assert len(desk.network.chunks) == 1


async def test_what_did_not_leave_is_tried_again_as_messages_are() -> None:
    desk = Desk(UNSENT, UNSENT, AWAY, TAKEN)
    chunks = await desk.push()
    assert len(chunks) == 4
    assert desk.clock.slept == pytest.approx([0.1, 0.2, 10])
    assert [chunk.deadline for chunk in chunks] == pytest.approx(
        [NOW / SECOND + HANDOVER + waited for waited in (0, 0.1, 0.3, 10.3)]
    )


@pytest.mark.parametrize("answer", [UNSENT, AWAY])
async def test_it_is_not_tried_for_ever(answer: Answer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk = Desk(answer)
    assert 3 < len(await desk.push()) < 20
    assert desk.clock.now() < NOW + LIFE
    [line] = caplog.records
    assert (line.getMessage(), line.app_id, line.outcome) == ("a nonce did not arrive", "shop", "EXPIRED")
    assert NONCE not in str(line.__dict__)
    assert TARGET.address not in line.target


@pytest.mark.parametrize(
    "answer",
    [
        Answer(Verdict.TOKEN_INVALID, 400, "BadDeviceToken"),
        Answer(Verdict.UNKNOWN, 0, "NoAnswer"),
        Answer(Verdict.CREDENTIALS_INVALID, 403, "InvalidProviderToken"),
    ],
)
async def test_what_is_refused_or_may_have_arrived_is_not_tried_again(answer: Answer) -> None:
    assert len(await Desk(answer).push()) == 1


async def test_without_a_credential_nothing_is_pushed() -> None:
    desk = Desk()
    desk.store.credentials = []
    assert await desk.push() == []


@pytest.mark.parametrize("broken", ["store", "network"])
async def test_what_breaks_is_told_and_harms_nobody(broken: str, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.store.away = broken == "store"
    desk.network.fault = RuntimeError("broken") if broken == "network" else None
    await desk.push()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    desk.store.away, desk.network.fault = False, None
    desk.network.chunks.clear()
    assert len(await desk.push()) == 1


async def test_a_target_gets_few_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    for _ in range(MOST_TO_TARGET + 2):
        await desk.push()
    assert len(desk.network.chunks) == MOST_TO_TARGET
    assert [record.getMessage() for record in caplog.records] == ["a nonce is not pushed"] * 2
    await desk.push(Target(Platform.APNS, "cd"))
    assert len(desk.network.chunks) == MOST_TO_TARGET + 1
    desk.clock.micros += MINUTE
    await desk.push()
    assert len(desk.network.chunks) == MOST_TO_TARGET + 2


async def test_there_is_an_end_to_what_is_under_way() -> None:
    desk = Desk()
    desk.network.open.clear()
    for number in range(MOST_OF_APPLICATION + 5):
        desk.proving.push("shop", Target(Platform.APNS, f"{number:04x}"), NONCE)
    for app in range(10):
        for number in range(MOST_OF_APPLICATION - 1):
            desk.proving.push(f"app-{app}", Target(Platform.APNS, f"{app}{number:04x}"), NONCE)
    await asyncio.sleep(0)
    assert len(desk.network.chunks) == MOST
    assert sum(chunk.app_id == "shop" for chunk in desk.network.chunks) == MOST_OF_APPLICATION
    desk.network.open.set()
    await desk.rest()
    assert not desk.proving._of_application
    await desk.push(Target(Platform.APNS, "ef"))
    assert len(desk.network.chunks) == MOST + 1


async def test_what_is_under_way_is_given_up_at_the_end() -> None:
    desk = Desk()
    desk.network.open.clear()
    desk.proving.push("shop", TARGET, NONCE)
    await asyncio.sleep(0)
    await desk.proving.aclose()
    assert not desk.proving._pushing


# What registering has pushed


class Pushes:
    """Hears what is to be pushed."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, Target, str]] = []

    def push(self, app_id: str, target: Target, nonce: str) -> None:
        self.pushed.append((app_id, target, nonce))


class Registry(Credentials):
    """Issues a nonce when it is offered one and told to."""

    def __init__(self) -> None:
        super().__init__(CREDENTIAL)
        self.commands: list[Register | Update] = []
        self.issues = True
        self.asked = asyncio.Event()

    async def execute(self, command: RegistryCommand, committed: Callable[[RegistryAnswer], None]) -> RegistryAnswer:
        assert isinstance(command, Register | Update)
        self.commands.append(command)
        self.asked.set()
        found = device(command.device_id, None, target=command.target or TARGET)
        answer = RegistryAnswer(device=found, nonce_issued=self.issues and bool(command.fresh_nonce))
        committed(answer)
        await asyncio.sleep(0)
        return answer


class Office:
    def __init__(self) -> None:
        self.store, self.pushes, clock = Registry(), Pushes(), FakeClock()
        self.registering = Registering(
            self.store, clock, Fence(nullcontext), Targets(self.store, clock, {}), self.pushes, PlainSealer()
        )

    async def register(self, *, authority: bool = False, target: Target | None = TARGET, nonce: str = "") -> None:
        facts, proof = DeviceFacts(), Proof(authority)
        await self.registering.register("shop", "d1", None, target, facts, proof, NOW, target_nonce=nonce)

    async def update(self, *, target: Target | None = TARGET, nonce: str = "") -> None:
        proof = Proof(False, digest_of("secret"))
        await self.registering.update("shop", "d1", target, None, None, None, {}, (), proof, target_nonce=nonce)


async def test_the_nonce_that_is_pushed_is_the_one_that_is_waited_for() -> None:
    office = Office()
    await office.register()
    await office.update()
    nonces = [nonce for _, _, nonce in office.pushes.pushed]
    assert [digest_of(nonce) for nonce in nonces] == [command.fresh_nonce for command in office.store.commands]
    assert len(set(nonces)) == 2
    assert {(app_id, target) for app_id, target, _ in office.pushes.pushed} == {("shop", TARGET)}
    assert all(len(nonce) >= 32 for nonce in nonces)


async def test_nothing_is_pushed_that_was_not_issued() -> None:
    office = Office()
    office.store.issues = False
    await office.register()
    await office.update()
    assert office.pushes.pushed == []


async def test_neither_authority_nor_who_names_no_target_is_offered_one() -> None:
    office = Office()
    await office.register(authority=True)
    await office.register(target=None)
    await office.update(target=None)
    assert {command.fresh_nonce for command in office.store.commands} == {b""}


async def test_what_is_shown_is_compared_as_a_digest() -> None:
    office = Office()
    await office.register(nonce=NONCE)
    await office.update(nonce=NONCE)
    await office.update()
    assert [command.target_nonce for command in office.store.commands] == [digest_of(NONCE), digest_of(NONCE), None]


async def test_a_nonce_is_pushed_though_the_caller_has_gone() -> None:
    office = Office()
    call = asyncio.create_task(office.register())
    await office.store.asked.wait()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert len(office.pushes.pushed) == 1
