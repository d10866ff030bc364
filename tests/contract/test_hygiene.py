"""P11: dead targets go, live ones stay: whole runs on both databases, on every network."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext, suppress

import pytest

from bellhop_server.app.fencing import Fence
from bellhop_server.app.handover import Handover
from bellhop_server.app.hygiene import Hygiene
from bellhop_server.app.recording import Recorder
from bellhop_server.domain import DAY, HOUR, SECOND
from bellhop_server.domain.application import (
    ApnsCredential,
    Application,
    Credential,
    FcmCredential,
    Policy,
    ProviderSecret,
    VapidKey,
    WebPushCredential,
)
from bellhop_server.domain.batch import NewBatch
from bellhop_server.domain.delivery import Answer, Chunk, Verdict
from bellhop_server.domain.device import DeadTarget, Device, DeviceFacts, DeviceState, Platform, Target
from bellhop_server.domain.guard import LEAST_DOUBT, MOST_REFUSALS, QUIET
from bellhop_server.domain.message import Outcome
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.domain.query import DeviceQuery
from bellhop_server.domain.registration import Proof, Register
from bellhop_server.queue.local import LocalQueue
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import APP, Known, claimed, put_devices, results_of, send
from tests.sealing import STAMPER
from tests.unit.app_fakes import FakeClock

pytestmark = pytest.mark.promise("P11")

SECRETS: dict[Platform, ProviderSecret] = {
    Platform.APNS: ApnsCredential("KEY1234567", "TEAM123456", "pem", ("com.example.shop",)),
    Platform.FCM: FcmCredential("project", "a@b", "id", "pem"),
    Platform.WEB_PUSH: WebPushCredential((VapidKey("key", "pem"),), "mailto:a@b.example"),
}
ACCEPTED = Answer(Verdict.ACCEPTED, 200)
# What each network says that is no proof.
CALLED_BAD = [
    (Platform.APNS, Answer(Verdict.TOKEN_INVALID, 400, "BadDeviceToken")),
    (Platform.APNS, Answer(Verdict.TOKEN_MISMATCH, 400, "DeviceTokenNotForTopic")),
    (Platform.FCM, Answer(Verdict.TOKEN_INVALID, 400, "INVALID_ARGUMENT")),
    (Platform.FCM, Answer(Verdict.TOKEN_MISMATCH, 403, "SENDER_ID_MISMATCH")),
    (Platform.WEB_PUSH, Answer(Verdict.TOKEN_MISMATCH, 400, "VapidPkHashMismatch")),
]
DEVICES = 500
BATCH = 100
Order = Callable[[list[str], set[str]], list[str]]


def by_chance(names: list[str], bad: set[str]) -> list[str]:
    return random.Random(8).sample(names, len(names))


def good_first(names: list[str], bad: set[str]) -> list[str]:
    return sorted(names, key=lambda name: name in bad)


def bad_first(names: list[str], bad: set[str]) -> list[str]:
    return sorted(names, key=lambda name: name not in bad)


def a_fifth_at_a_time(names: list[str], bad: set[str]) -> list[str]:
    """As many bad ones as would be believed, for as long as there are good ones."""
    ill, well = sorted(bad), sorted(set(names) - bad)
    order: list[str] = []
    while well:
        order += [*well[:4], *ill[:1]]
        well, ill = well[4:], ill[1:]
    return order + ill


class Networks:
    """A provider that calls some devices' targets what it is told, at every network."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.answers: dict[str, Answer] = {}

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        for index, delivery in enumerate(chunk.deliveries):
            report(index, self.answers.get(delivery.address, ACCEPTED))


class Run:
    """A worker's part, and the messages that it hands over."""

    def __init__(self, store: SqlStore, database: Database) -> None:
        self.store = store
        self.clock = FakeClock()
        self.networks = {platform: Networks(platform) for platform in Platform}
        self.recorder = Recorder(store, LocalQueue(), self.clock)
        self.hygiene = Hygiene(store, self.clock)
        self._database = database
        self._handover = Handover(
            store, self.clock, Fence(nullcontext), self.recorder, self.hygiene, dict(self.networks.items()), STAMPER
        )
        self._messages = 0

    async def devices(
        self, platform: Platform, count: int = DEVICES, *, accepted: bool = True, first: int = 0
    ) -> list[str]:
        """Devices whose targets had worked before."""
        names = [f"{platform.name.lower()}-{number:04}" for number in range(first, first + count)]
        await put_devices(self._database, [Known(name, platform=platform) for name in names])
        if accepted:
            await self.have_worked()
        return names

    async def have_worked(self) -> None:
        statement = "UPDATE devices SET target_accepted = true"
        await self._database.write(lambda connection: connection.exec_driver_sql(statement))

    async def send(self, platform: Platform, names: Sequence[str], bad: dict[str, Answer], batch: int = BATCH) -> None:
        """One message, told to all of them in this order, by so many a batch."""
        self._messages += 1
        self.networks[platform].answers = bad
        now = self.clock.now()
        accepted = await self.store.accept(send(message_id=f"m{self._messages}"), "mark", f"m{self._messages}", now)
        message = accepted.message
        for first in range(0, len(names), batch):
            items = [Known(name, platform=platform).item for name in names[first : first + batch]]
            last = first + batch >= len(names)
            page = AudiencePage(items, [], None if last else items[-1].device_id)
            before = "" if not first else names[first - 1]
            new = [NewBatch(items, now, message.options.priority)]
            await self.store.add_plan(message.ref, before, page, new, now)
            for each in await claimed(self.store, now=now):
                assert await self._handover.carry_out(each, lambda results: None)
        told = {each.device_id: each.outcome for _, each in await results_of(self.store, message)}
        assert told.keys() == set(names)
        assert {name for name, outcome in told.items() if outcome is not Outcome.ACCEPTED} == bad.keys()

    async def settle(self) -> None:
        """Nothing comes for a while."""
        self.clock.micros += int(QUIET * SECOND)
        await self.hygiene.judge()

    async def dead(self) -> set[str]:
        states = (DeviceState.DEAD,)
        found = await self.store.list_devices(DeviceQuery(APP, self.clock.now(), states=states), "", 10_000)
        return {each.device_id for each in found}


@pytest.fixture
async def run(store: SqlStore, database: Database) -> AsyncIterator[Run]:
    await store.create_application(Application(APP, "Shop", Policy(), 0, 0), [])
    for platform, secret in SECRETS.items():
        await store.put_credential(Credential(APP, platform.name.lower(), platform, 0, 0, secret), None)
    run = Run(store, database)
    writer = asyncio.create_task(run.recorder.run())
    yield run
    writer.cancel()
    with suppress(asyncio.CancelledError):
        await writer


@pytest.mark.parametrize(("platform", "answer"), CALLED_BAD, ids=lambda value: getattr(value, "reason", None))
async def test_of_sixty_percent_that_are_called_bad_nobody_is_deleted(
    run: Run, platform: Platform, answer: Answer
) -> None:
    names = await run.devices(platform)
    bad = dict.fromkeys(names[: DEVICES * 6 // 10], answer)
    await run.send(platform, by_chance(names, set(bad)), bad)
    await run.settle()
    assert await run.dead() == set()
    # Nor when it goes on like that.
    await run.send(platform, by_chance(names, set(bad)), bad)
    await run.settle()
    assert await run.dead() == set()


@pytest.mark.parametrize(("platform", "answer"), CALLED_BAD, ids=lambda value: getattr(value, "reason", None))
async def test_of_one_percent_that_are_called_bad_each_is_deleted_and_nobody_else(
    run: Run, platform: Platform, answer: Answer
) -> None:
    names = await run.devices(platform)
    bad = dict.fromkeys(names[3::100], answer)
    await run.send(platform, by_chance(names, set(bad)), bad)
    assert await run.dead() == set()
    await run.settle()
    assert await run.dead() == set(bad)


@pytest.mark.parametrize("order", [good_first, bad_first, a_fifth_at_a_time])
@pytest.mark.parametrize("batch", [7, DEVICES])
async def test_no_order_gets_anybody_deleted_of_sixty_percent(run: Run, order: Order, batch: int) -> None:
    names = await run.devices(Platform.APNS)
    bad = dict.fromkeys(names[: DEVICES * 6 // 10], CALLED_BAD[0][1])
    await run.send(Platform.APNS, order(names, set(bad)), bad, batch)
    await run.settle()
    assert await run.dead() == set()


@pytest.mark.parametrize("order", [good_first, bad_first])
async def test_no_order_saves_anybody_of_one_percent(run: Run, order: Order) -> None:
    names = await run.devices(Platform.APNS)
    bad = dict.fromkeys(names[3::100], CALLED_BAD[0][1])
    await run.send(Platform.APNS, order(names, set(bad)), bad, 7)
    await run.settle()
    assert await run.dead() == set(bad)


async def test_one_network_says_nothing_of_another(run: Run) -> None:
    phones, browsers = await run.devices(Platform.APNS, 100), await run.devices(Platform.WEB_PUSH, 100)
    await run.send(Platform.WEB_PUSH, browsers, dict.fromkeys(browsers[:60], CALLED_BAD[4][1]))
    await run.send(Platform.APNS, phones, {phones[7]: CALLED_BAD[0][1]})
    await run.settle()
    assert await run.dead() == {phones[7]}


async def test_targets_that_never_worked_do_not_count_and_go_with_the_others(run: Run) -> None:
    names = await run.devices(Platform.FCM, 100)
    new = await run.devices(Platform.FCM, 60, accepted=False, first=100)
    await run.send(Platform.FCM, new, dict.fromkeys(new, CALLED_BAD[2][1]))
    await run.settle()
    assert await run.dead() == set()
    await run.send(Platform.FCM, names, {names[0]: CALLED_BAD[2][1]})
    await run.settle()
    assert await run.dead() == {names[0], *new}


async def test_a_few_at_a_time_are_judged_when_there_are_enough(run: Run) -> None:
    names = await run.devices(Platform.FCM, 30)
    bad = {names[0]: CALLED_BAD[2][1]}
    await run.send(Platform.FCM, names, bad)
    await run.settle()
    assert await run.dead() == set()
    await run.send(Platform.FCM, names, bad)
    await run.settle()
    assert await run.dead() == {names[0]}


@pytest.mark.parametrize(
    ("platform", "answer"),
    [
        (Platform.APNS, Answer(Verdict.TOKEN_GONE_SINCE, 410, "Unregistered", invalid_since=HOUR)),
        (Platform.FCM, Answer(Verdict.TOKEN_GONE_SINCE, 404, "UNREGISTERED")),
        (Platform.WEB_PUSH, Answer(Verdict.TOKEN_GONE_SINCE, 410, "Gone")),
    ],
)
async def test_what_is_proved_goes_at_once_however_many_they_are(run: Run, platform: Platform, answer: Answer) -> None:
    names = await run.devices(platform, 100)
    gone = dict.fromkeys(names[:60], answer)
    await run.send(platform, names, gone)
    assert await run.dead() == set(gone)


async def test_what_was_registered_meanwhile_lives(run: Run) -> None:
    names = await run.devices(Platform.APNS, 100)
    again, moved, _ = names[:3]
    for name in names[:3]:
        await register(run, name, Target(Platform.APNS, name))
    await run.have_worked()
    await run.send(Platform.APNS, names, dict.fromkeys(names[:3], CALLED_BAD[0][1]))
    run.clock.micros += SECOND
    await register(run, again, Target(Platform.APNS, again))
    await register(run, moved, Target(Platform.APNS, "ff"))
    await run.settle()
    assert await run.dead() == {names[2]}


async def test_whoever_is_dead_is_revived_by_registering_anew(run: Run) -> None:
    names = await run.devices(Platform.APNS, 100)
    await run.send(Platform.APNS, names, {names[0]: CALLED_BAD[0][1]})
    await run.settle()
    assert await run.dead() == {names[0]}
    await register(run, names[0], Target(Platform.APNS, "ff"))
    assert await run.dead() == set()


# A key that is refused for some


DOUBT = Answer(Verdict.TOKEN_DOUBTED, 403, "Forbidden")


async def doubted(run: Run, names: list[str], *, whom: Sequence[str]) -> None:
    await run.send(Platform.WEB_PUSH, names, dict.fromkeys(whom, DOUBT))
    await run.settle()


async def test_a_subscription_dies_by_its_third_refusal_a_day_after_its_first(run: Run) -> None:
    names = await run.devices(Platform.WEB_PUSH, 100)
    for passed in (0, HOUR, DAY - 3 * HOUR):
        run.clock.micros += passed
        await doubted(run, names, whom=names[:1])
        assert await run.dead() == set()
    run.clock.micros += 2 * HOUR
    await doubted(run, names, whom=names[:1])
    assert await run.dead() == {names[0]}


async def test_a_push_that_is_taken_ends_the_row(run: Run) -> None:
    names = await run.devices(Platform.WEB_PUSH, 100)
    for whom in ([names[0]], [names[0]], [], [names[0]], [names[0]]):
        run.clock.micros += DAY
        await doubted(run, names, whom=whom)
    assert await run.dead() == set()
    await doubted(run, names, whom=names[:1])
    assert await run.dead() == {names[0]}


async def test_a_wrong_key_for_most_kills_nobody_however_long(run: Run) -> None:
    names = await run.devices(Platform.WEB_PUSH, 100)
    for _ in range(2 * MOST_REFUSALS):
        run.clock.micros += DAY
        await doubted(run, names, whom=names[:60])
    assert await run.dead() == set()
    assert {each.refusals for each in await everybody(run)} == {0}


async def everybody(run: Run) -> list[Device]:
    return await run.store.list_devices(DeviceQuery(APP, run.clock.now(), states=tuple(DeviceState)), "", 10_000)


async def register(run: Run, device_id: str, target: Target) -> None:
    now = run.clock.now()
    command = Register(APP, device_id, None, target, DeviceFacts(), Proof(True), device_id.encode(), now, now)
    await run.store.execute(command)


# What the store does with refusals


async def test_refusals_are_counted_by_the_very_target(store: SqlStore) -> None:
    await store.create_application(Application(APP, "Shop", Policy(), 0, 0), [])
    await store.create_application(Application("bank", "Bank", Policy(), 0, 0), [])
    old, new = Target(Platform.WEB_PUSH, "https://push.example/1"), Target(Platform.WEB_PUSH, "https://push.example/2")

    async def present(target: Target, now: int, app: str = APP) -> None:
        facts, proof = DeviceFacts(), Proof(True)
        await store.execute(Register(app, "b", None, target, facts, proof, b"%d" % now, now, now))

    async def refusals() -> tuple[int, int | None, DeviceState]:
        found = await store.get_device(APP, "b")
        return found.refusals, found.refused_since, found.state

    await present(old, 1)
    await present(old, 2, "bank")
    seen = DeadTarget("b", old.digest, 1)
    await store.note_refusals(APP, [seen, DeadTarget("nobody", old.digest, 1)], 10)
    await store.note_refusals(APP, [], 11)
    assert await refusals() == (1, 10, DeviceState.ACTIVE)
    await store.note_refusals(APP, [seen], 20)
    assert await refusals() == (2, 10, DeviceState.ACTIVE)

    # What was refused is not what is there now, be it the same one presented anew.
    await present(old, 30)
    assert await refusals() == (0, None, DeviceState.ACTIVE)
    await store.note_refusals(APP, [seen], 40)
    assert await refusals() == (0, None, DeviceState.ACTIVE)
    await present(new, 50)
    await store.note_refusals(APP, [DeadTarget("b", old.digest, 50)], 60)
    assert await refusals() == (0, None, DeviceState.ACTIVE)

    seen = DeadTarget("b", new.digest, 50)
    for now in (70, 80, 69 + LEAST_DOUBT):
        await store.note_refusals(APP, [seen], now)
    assert await refusals() == (3, 70, DeviceState.ACTIVE)
    await store.note_refusals(APP, [seen], 70 + LEAST_DOUBT)
    assert await refusals() == (4, 70, DeviceState.DEAD)
    assert (await store.get_device("bank", "b")).refusals == 0

    await present(new, 90 + LEAST_DOUBT)
    assert await refusals() == (0, None, DeviceState.ACTIVE)
    seen = DeadTarget("b", new.digest, 90 + LEAST_DOUBT)
    await store.note_refusals(APP, [seen], 100 + LEAST_DOUBT)
    await store.mark_accepted(APP, [("b", new.digest)])
    assert await refusals() == (0, None, DeviceState.ACTIVE)
