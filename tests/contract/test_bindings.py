"""P5 on both databases: bindings that end, logins that are ended, and what comes too late for either."""

import asyncio
from dataclasses import replace

import pytest

from bellhop_server.app.sweeping import ROUND, Sweeper
from bellhop_server.domain import DAY, MINUTE
from bellhop_server.domain.application import Policy
from bellhop_server.domain.device import Device
from bellhop_server.domain.errors import QuotaExceeded, StaleBinding
from bellhop_server.domain.message import Audience, AudienceKind
from bellhop_server.domain.query import DeviceQuery
from bellhop_server.domain.quota import DEVICES_OF_A_USER
from bellhop_server.domain.registration import Expire, RegistryAnswer, Unregister, UnregisterUser
from bellhop_server.store import binding_rows
from bellhop_server.store.database import Database
from bellhop_server.store.registry_group import apply_group
from bellhop_server.store.sql_store import SqlStore
from tests.contract.backstage import Backstage
from tests.contract.registry_commands import (
    AUTHORITY,
    create_applications,
    listed,
    own,
    register,
    together,
    update,
)
from tests.unit.app_fakes import FakeClock

pytestmark = pytest.mark.promise("P5")

END = 1_000 + MINUTE


@pytest.fixture(autouse=True)
async def applications(store: SqlStore) -> None:
    await create_applications(store)


async def until_end(store: SqlStore, device: str = "phone", user: str = "ann", at: str = "t") -> RegistryAnswer:
    """Registers a device whose binding lasts until END."""
    return await store.execute(register(device, user, at, session_id="s", binding_ttl=MINUTE))


async def stored(store: SqlStore, device: str = "phone") -> Device:
    return await store.get_device("shop", device)


# What is kept


async def test_a_binding_comes_back_as_it_was_made(store: SqlStore) -> None:
    answer = await until_end(store)
    device = await stored(store)
    assert answer.device == device
    assert (device.session_id, device.binding_expire_time) == ("s", END)


async def test_the_policy_says_how_long_a_binding_lasts(store: SqlStore) -> None:
    await store.update_application("shop", 1, None, Policy(default_binding_ttl=2 * MINUTE))
    await together(store, [register("phone", "ann", "t"), register("phone", "ann", "t", app="bank")])
    assert (await stored(store)).binding_expire_time == 1_000 + 2 * MINUTE
    assert (await store.get_device("bank", "phone")).binding_expire_time is None
    assert (await store.get_application("shop")).policy.default_binding_ttl == 2 * MINUTE
    await store.update_application("shop", 1, None, Policy())
    assert (await store.get_application("shop")).policy == Policy()


# Nobody sees or reaches who is not bound any more


async def test_lists_and_counts_see_bindings_as_of_their_time(store: SqlStore) -> None:
    await until_end(store)
    await store.execute(register("tablet", "ann", "u"))
    await store.execute(register("free", None, "v"))
    for now, of_ann, anonymous in ((END - 1, ["phone", "tablet"], ["free"]), (END, ["tablet"], ["free", "phone"])):
        for query, expected in (
            (DeviceQuery("shop", now, user_id="ann"), of_ann),
            (DeviceQuery("shop", now, anonymous=True), anonymous),
            (DeviceQuery("shop", now, anonymous=False), of_ann),
            (DeviceQuery("shop", now, user_id="ann", anonymous=True), []),
            (DeviceQuery("shop", now), ["free", "phone", "tablet"]),
        ):
            found = await store.list_devices(query, "", 10)
            assert [device.device_id for device in found] == expected, query
            assert await store.count_devices(query) == len(expected), query


async def test_an_audience_reaches_who_is_bound_when_it_is_read(store: SqlStore) -> None:
    await until_end(store)
    await store.execute(register("tablet", "bob", "u"))

    async def read(now: int, audience: Audience) -> tuple[list[tuple[str, str]], list[str]]:
        page = await store.read_audience("shop", audience, "", 10, now)
        return [(item.device_id, item.user_id) for item in page.items], [each.user_id for each in page.missing]

    phone, tablet, nobodys = ("phone", "ann"), ("tablet", "bob"), ("phone", "")
    users = Audience(AudienceKind.USERS, ("ann", "bob"))
    assert [sorted(each) for each in await read(END - 1, users)] == [[phone, tablet], []]
    assert await read(END, users) == ([tablet], ["ann"])
    for audience in (Audience(AudienceKind.EVERYONE), Audience(AudienceKind.DEVICES, ("phone", "tablet"))):
        assert await read(END - 1, audience) == ([phone, tablet], [])
        assert await read(END, audience) == ([nobodys, tablet], [])
        without = replace(audience, exclude_user_ids=("ann",))
        assert await read(END - 1, without) == ([tablet], [])
        assert await read(END, without) == ([nobodys, tablet], [])


async def test_ended_bindings_do_not_count_for_their_user(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellhop_server.domain.quota.DEVICES_OF_A_USER", 2)
    assert DEVICES_OF_A_USER == 1000
    await until_end(store, "one", at="t1")
    await until_end(store, "two", at="t2")
    with pytest.raises(QuotaExceeded):
        await store.execute(register("three", "ann", "t3", now=END - 1))
    # One of those that have ended is in the picture, the other one is not.
    group = [
        register("three", "ann", "t3", now=END),
        register("one", "ann", now=END),
        register("four", "ann", "t4", now=END),
    ]
    answers = await together(store, group)
    assert [isinstance(answer, QuotaExceeded) for answer in answers] == [False, False, True]


# Ends that are written down


class RoundEnded(Exception):
    """The sweeper has nothing left to do."""


class OneRound(FakeClock):
    """A clock that does not let the sweeper sleep until its next round."""

    async def sleep(self, seconds: float) -> None:
        if seconds == ROUND:
            raise RoundEnded


async def test_the_sweeper_writes_down_what_has_ended(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellhop_server.app.sweeping.BINDINGS", 2)
    clock = OneRound()
    for app in ("shop", "bank"):
        for number in range(3):
            ttl = None if number == 2 else MINUTE + number
            await store.execute(register(f"d{number}", "ann", f"t{number}", app=app, binding_ttl=ttl))
    before = {device.device_id: device for device in await listed(store)}
    clock.micros = END + 1
    with pytest.raises(RoundEnded):
        await Sweeper(store, clock).run()
    for device in await listed(store):
        was = before[device.device_id]
        assert device == replace(was.as_of(END + 1), binding_epoch=device.binding_epoch)
        assert (device.binding_epoch > was.binding_epoch) == (device.device_id != "d2")
    assert {device.user_id for device in await listed(store, "bank")} == {None, "ann"}


async def test_a_binding_that_was_prolonged_is_left_alone(store: SqlStore) -> None:
    await until_end(store)
    assert await store.ended_bindings(END - 1, 9) == []
    assert await store.ended_bindings(END, 9) == [("shop", "phone")]
    await store.execute(register("phone", "ann", session_id="s", binding_ttl=MINUTE, now=END - 1))
    before = await stored(store)
    assert (await store.execute(Expire("shop", ("phone", "gone"), END))).departed == ()
    assert await stored(store) == before


@pytest.mark.promise("P2")
async def test_an_app_goes_on_anonymously_with_its_secret(store: SqlStore) -> None:
    secret = "a secret that the phone made for itself"
    mine = own(secret)
    await store.execute(register("phone", "ann", "t", proof=replace(mine, authority=True), binding_ttl=MINUTE))
    first = await stored(store)
    answer = await store.execute(update("phone", "u", proof=mine, now=END))
    assert answer.device == await stored(store)
    assert answer.departed[0] == first
    assert answer.device is not None
    assert answer.device.user_id is None
    assert (await store.execute(Unregister("shop", "phone", mine, END + 1))).removed == 1


@pytest.mark.promise("P3")
async def test_bindings_that_end_within_a_group_have_epochs_of_their_own(store: SqlStore, database: Database) -> None:
    await until_end(store)
    await until_end(store, "tablet", "bob", "u")
    group = [Expire("shop", ("phone", "tablet"), END), register("phone", "ann", "t", now=END)]
    answers = await database.write(lambda connection: apply_group(connection, group))
    assert all(isinstance(answer, RegistryAnswer) for answer in answers)
    epochs = [device.binding_epoch for device in await listed(store)]
    assert len({1, 2, *epochs}) == 4


# Logins that are ended


@pytest.mark.parametrize("session", ["", "s"])
async def test_the_devices_of_a_user_are_taken_out_some_at_a_time(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, session: str
) -> None:
    monkeypatch.setattr("bellhop_server.store.registry_group.CHUNK", 2)
    monkeypatch.setattr(binding_rows, "CHUNK", 2)
    names = [f"d{number}" for number in range(5)]
    await together(store, [register(name, "ann", f"t{name}", session_id="s") for name in names])
    await together(store, [register("a", "ann", "ta", session_id="s2"), register("other", "bob", "to", session_id="s")])
    command = UnregisterUser("shop", "ann", 2_000, session)
    removed, departed, more, rounds = 0, set[str](), True, 0
    while more:
        answer = await store.execute(command)
        assert answer.removed <= 2
        removed, more, rounds = removed + answer.removed, answer.more, rounds + 1
        departed |= {device.device_id for device in answer.departed}
    left = ["a", "other"] if session else ["other"]
    assert [device.device_id for device in await listed(store)] == left
    assert departed == {*names, "a"} - set(left)
    assert (removed, rounds) == (5, 3) if session else (6, 4)


@pytest.mark.promise("P3")
async def test_a_login_that_was_received_before_and_commits_after_binds_nobody(
    store: SqlStore, other_store: SqlStore
) -> None:
    late = {"now": 4_000, "received": 2_999}
    await store.execute(UnregisterUser("shop", "ann", 3_000))
    with pytest.raises(StaleBinding) as caught:
        await other_store.execute(register("phone", "ann", "t", **late))
    assert caught.value.metadata == {"device_id": "phone"}
    await store.execute(UnregisterUser("shop", "bob", 3_000, "s"))
    with pytest.raises(StaleBinding):
        await other_store.execute(register("phone", "bob", "t", session_id="s", **late))
    assert await listed(store) == []
    await other_store.execute(register("phone", "bob", "t", session_id="s2", **late))
    await other_store.execute(register("tablet", "ann", "u", now=4_000, received=3_000))
    await other_store.execute(register("phone", "ann", "t", app="bank", **late))


@pytest.mark.promise("P3")
async def test_a_login_that_races_the_end_of_all_logins_is_ended_or_refused(
    store: SqlStore, other_store: SqlStore
) -> None:
    for turn in range(30):
        name = f"d{turn}"
        login, logout = await asyncio.gather(
            other_store.execute(register(name, "ann", f"t{turn}", now=turn + 1, received=turn)),
            store.execute(UnregisterUser("shop", "ann", turn + 1)),
            return_exceptions=True,
        )
        assert isinstance(logout, RegistryAnswer)
        assert logout.removed == (not isinstance(login, StaleBinding))
    assert await listed(store) == []


async def test_in_one_group_the_order_decides(store: SqlStore, database: Database) -> None:
    group = [
        register("one", "ann", "t1", now=3_000, received=1_000),
        UnregisterUser("shop", "ann", 2_000),
        register("two", "ann", "t2", now=3_000, received=1_000),
        register("three", "ann", "t3", now=3_000, received=2_500),
    ]
    answers = await database.write(lambda connection: apply_group(connection, group))
    assert isinstance(answers[2], StaleBinding)
    assert isinstance(answers[1], RegistryAnswer)
    assert answers[1].removed == 1
    assert [device.device_id for device in await listed(store)] == ["three"]


async def test_an_end_of_logins_that_is_told_later_does_not_bring_an_earlier_one_back(store: SqlStore) -> None:
    await store.execute(UnregisterUser("shop", "ann", 3_000))
    await store.execute(UnregisterUser("shop", "ann", 2_000))
    with pytest.raises(StaleBinding):
        await store.execute(register("phone", "ann", "t", received=2_500))


# Counts of logins and logouts


@pytest.mark.promise("P3")
async def test_a_late_login_is_refused_also_when_the_device_has_gone(store: SqlStore, other_store: SqlStore) -> None:
    await store.execute(register("phone", "ann", "t", binding_generation=1))
    await store.execute(Unregister("shop", "phone", AUTHORITY, 2_000, binding_generation=3))
    with pytest.raises(StaleBinding) as caught:
        await other_store.execute(register("phone", "ann", "t", binding_generation=2, now=3_000))
    assert caught.value.metadata == {"device_id": "phone", "binding_generation": "3"}
    assert await listed(store) == []
    await other_store.execute(register("phone", "ann", "t", binding_generation=2, app="bank"))


async def test_of_racing_logins_the_later_one_is_there_at_the_end(store: SqlStore, other_store: SqlStore) -> None:
    for turn in range(20):
        later, earlier = 2 * turn + 2, 2 * turn + 1
        answers = await asyncio.gather(
            store.execute(register("phone", "bob", "t", binding_generation=later, fresh=f"l{turn}")),
            other_store.execute(register("phone", "ann", "t", binding_generation=earlier, fresh=f"e{turn}")),
            return_exceptions=True,
        )
        assert not isinstance(answers[0], BaseException)
        assert isinstance(answers[1], RegistryAnswer | StaleBinding)
        assert (await stored(store)).user_id == "bob"


async def test_what_was_shown_is_forgotten_after_its_time(store: SqlStore, backstage: Backstage) -> None:
    async def sweep(now: int) -> None:
        while await store.sweep(now, 10):
            pass

    await store.execute(register("phone", "ann", "t", binding_generation=9))
    await store.execute(Unregister("shop", "phone", AUTHORITY, 2_000, binding_generation=9))
    await store.execute(UnregisterUser("shop", "ann", 2_000))
    await sweep(2_000 + DAY - 1)
    assert backstage.execute("SELECT COUNT(*) FROM revocations") == [(1,)]
    await sweep(2_000 + DAY)
    assert backstage.execute("SELECT COUNT(*) FROM revocations") == [(0,)]
    await sweep(2_000 + 90 * DAY - 1)
    with pytest.raises(StaleBinding):
        await store.execute(register("phone", "ann", "t", binding_generation=8, now=2_500))
    await sweep(2_000 + 90 * DAY)
    await store.execute(register("phone", "ann", "t", binding_generation=8, now=2_500))


async def test_an_application_takes_what_it_knows_of_bindings_with_it(store: SqlStore, backstage: Backstage) -> None:
    await store.execute(register("phone", "ann", "t", binding_generation=9))
    await store.execute(UnregisterUser("shop", "ann", 2_000))
    await store.delete_application("shop")
    for table in ("binding_generations", "revocations"):
        assert backstage.execute(f"SELECT COUNT(*) FROM {table}") == [(0,)]


# Calls that were given up


@pytest.mark.promise("P3")
async def test_a_login_that_was_given_up_before_its_turn_does_not_happen(store: SqlStore, backstage: Backstage) -> None:
    """Its caller was told that it failed, and may have logged somebody else in, or out, since."""
    with backstage.blocked():
        first = asyncio.create_task(store.execute(register("first", "ann", "t")))
        await asyncio.sleep(0)
        given_up = asyncio.create_task(store.execute(register("phone", "ann", "u")))
        kept = asyncio.create_task(store.execute(register("kept", "ann", "v")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        given_up.cancel()
    await asyncio.gather(first, kept)
    assert [device.device_id for device in await listed(store)] == ["first", "kept"]
