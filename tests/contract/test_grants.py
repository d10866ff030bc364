"""P1 on both databases: a bind grant binds once, whoever races for it, and what is known of it is forgotten in time."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from bellhop_server.domain import DAY, MINUTE
from bellhop_server.domain.application import BindingPolicy, Policy, SecretKind
from bellhop_server.domain.errors import BindGrantExpired, CredentialsInvalid, DeniedByPolicy
from bellhop_server.domain.grant import Grant
from bellhop_server.domain.registration import Proof, Register, RegistryAnswer, Unregister, UnregisterUser
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from bellhop_server.store.tables import grant_uses
from tests.contract.registry_commands import AUTHORITY, create_applications, listed, register, together

pytestmark = pytest.mark.promise("P1")

PAIRS = 30
END = 1_000 + 5 * MINUTE


@pytest.fixture(autouse=True)
async def applications(store: SqlStore, other_store: SqlStore) -> None:
    await create_applications(store)
    await listed(other_store)


def grant(name: str = "g", device: str = "phone", session: str = "", **changes: Any) -> Grant:
    return replace(Grant("shop", name, "ann", device, session, 1_000, END), **changes)


def show(shown: Grant, device: str = "phone", at: str | None = None, **binding: Any) -> Register:
    fields = {"now": 2_000, "session_id": shown.session_id, "app": shown.app_id, **binding}
    return register(device, shown.user_id, at or f"t{device}", grant=shown, **fields)


async def uses(database: Database) -> int:
    return await database.read(
        lambda connection: connection.execute(select(func.count()).select_from(grant_uses)).scalar_one()
    )


async def test_it_is_used_with_the_registration_and_shown_again_while_that_stands(
    store: SqlStore, other_store: SqlStore
) -> None:
    first = await store.execute(show(grant()))
    again = await other_store.execute(show(grant(), now=3_000))
    assert first.device is not None
    assert again.device is not None
    assert (again.created, again.departed) == (False, ())
    assert again.device.binding_epoch == first.device.binding_epoch
    assert again.secret_issued
    with pytest.raises(BindGrantExpired):
        await other_store.execute(show(grant(device=""), "tablet"))
    await store.execute(Unregister("shop", "phone", AUTHORITY, 4_000))
    with pytest.raises(BindGrantExpired):
        await other_store.execute(show(grant(), now=5_000))
    assert await listed(store) == []


async def test_what_is_refused_uses_nothing(store: SqlStore, database: Database) -> None:
    with pytest.raises(CredentialsInvalid):
        await store.execute(show(grant(), "tablet"))
    await store.update_application("shop", 1, None, Policy(binding_policy=BindingPolicy.SECRET))
    with pytest.raises(DeniedByPolicy):
        await store.execute(show(grant()))
    assert await uses(database) == 0
    assert await listed(store) == []
    await store.update_application("shop", 1, None, Policy(binding_policy=BindingPolicy.GRANT))
    with pytest.raises(DeniedByPolicy):
        await store.execute(register("phone", "ann", "t", proof=Proof(True, kinds=frozenset({SecretKind.CLIENT}))))
    await store.execute(show(grant()))
    assert await uses(database) == 1


async def test_grants_of_two_applications_have_nothing_to_do_with_each_other(store: SqlStore) -> None:
    banks = grant(app_id="bank")
    await together(store, [show(grant()), show(banks)])
    with pytest.raises(BindGrantExpired):
        await store.execute(show(replace(banks, device_id=""), "tablet"))
    assert len(await listed(store, "bank")) == 1


# Races


async def test_of_two_devices_that_race_for_one_grant_one_is_bound(store: SqlStore, other_store: SqlStore) -> None:
    for pair in range(PAIRS):
        shown = grant(f"g{pair}", "")
        answers = await asyncio.gather(
            store.execute(show(shown, f"a{pair}")),
            other_store.execute(show(shown, f"b{pair}")),
            store.execute(show(shown, f"c{pair}")),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in answers) == [
            "BindGrantExpired",
            "BindGrantExpired",
            "RegistryAnswer",
        ]
    assert len(await listed(store)) == PAIRS


async def test_a_device_that_repeats_itself_at_once_has_one_binding(store: SqlStore, other_store: SqlStore) -> None:
    for pair in range(PAIRS):
        shown, name = grant(f"g{pair}", ""), f"d{pair}"
        answers = await asyncio.gather(
            store.execute(show(shown, name, fresh=f"one {pair}")),
            other_store.execute(show(shown, name, fresh=f"two {pair}")),
        )
        epochs = {answer.device.binding_epoch for answer in answers if answer.device is not None}
        assert len(epochs) == 1
        assert sorted(answer.created for answer in answers) == [False, True]


@pytest.mark.promise("P3")
async def test_a_grant_and_the_logout_that_follows_it_on_its_way(store: SqlStore, other_store: SqlStore) -> None:
    """In whichever order they commit, the logout ends what the grant has bound, or the grant is over."""
    for pair in range(PAIRS):
        shown = grant(f"g{pair}", "", issue_time=10 * pair)
        granted, _ = await asyncio.gather(
            store.execute(show(shown, now=10 * pair + 5, received=10 * pair + 5)),
            other_store.execute(UnregisterUser("shop", "ann", 10 * pair + 9)),
            return_exceptions=True,
        )
        assert isinstance(granted, RegistryAnswer | BindGrantExpired)
        assert await listed(store) == []
        with pytest.raises(BindGrantExpired):
            await store.execute(show(shown, now=10 * pair + 10))


async def test_a_replay_that_races_the_end_of_its_binding_brings_nothing_back(
    store: SqlStore, other_store: SqlStore
) -> None:
    for pair in range(PAIRS):
        shown, name = grant(f"g{pair}", ""), f"d{pair}"
        await store.execute(show(shown, name))
        replayed, _ = await asyncio.gather(
            store.execute(show(shown, name, now=3_000)),
            other_store.execute(register(name, "bob", now=3_000)),
            return_exceptions=True,
        )
        assert isinstance(replayed, RegistryAnswer | BindGrantExpired)
        with pytest.raises(BindGrantExpired):
            await store.execute(show(shown, name, now=4_000))
    assert {device.user_id for device in await listed(store)} == {"bob"}


@pytest.mark.promise("P5")
@pytest.mark.parametrize("ended", ["", "web"])
async def test_logins_that_were_ended_end_what_was_granted_before_to_the_microsecond(
    store: SqlStore, other_store: SqlStore, ended: str
) -> None:
    await store.execute(UnregisterUser("shop", "ann", 7_000, ended))
    for issued, gone in ((6_999, True), (7_000, False), (7_001, False)):
        shown = grant(f"g{issued}", session="web", issue_time=issued)
        command = show(shown, now=9_000)
        if gone:
            with pytest.raises(BindGrantExpired):
                await other_store.execute(command)
        else:
            assert (await other_store.execute(command)).device is not None


# What is known of them


async def test_a_use_is_known_for_a_day_after_the_grants_end(store: SqlStore, database: Database) -> None:
    await together(store, [show(grant(f"g{number}"), at="t") for number in range(3)])
    await store.execute(show(grant("later", expire_time=END + MINUTE), at="t", now=3_000))
    assert await uses(database) == 4
    assert await store.sweep(END + DAY - 1, 100) == 0
    assert await store.sweep(END + DAY, 2) == 2
    assert await store.sweep(END + DAY, 100) == 1
    assert await uses(database) == 1
    assert await store.sweep(END + DAY + MINUTE, 100) == 1


async def test_a_call_that_waited_for_longer_than_its_grant_finds_it_used_or_over(store: SqlStore) -> None:
    """Asked for in time, carried out when the sweeper has been there."""
    await store.execute(show(grant(device=""), "tablet"))
    await store.sweep(END + MINUTE, 100)
    with pytest.raises(BindGrantExpired):
        await store.execute(show(grant(device=""), now=END - 1))
    with pytest.raises(BindGrantExpired):
        await store.execute(show(grant("fresh"), now=END))
