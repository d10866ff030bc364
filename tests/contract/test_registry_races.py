"""P2 under concurrency: many writers, one outcome."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from bellhop_server.domain.application import digest_of
from bellhop_server.domain.device import DeadTarget, DeviceState
from bellhop_server.domain.errors import CredentialsInvalid, DeviceNotFound, InvalidRequest
from bellhop_server.domain.registration import RegistryAnswer, RegistryCommand, Unregister, UnregisterUser
from bellhop_server.store.registry import SqlDevices
from bellhop_server.store.sql_store import SqlStore
from tests.contract.registry_commands import (
    AUTHORITY,
    NOBODY,
    create_applications,
    listed,
    live_secrets,
    own,
    register,
    target,
    together,
    update,
)

pytestmark = pytest.mark.promise("P2")

PAIRS = 50


@pytest.fixture(autouse=True)
async def applications(store: SqlStore, other_store: SqlStore) -> None:
    """Both have talked to the database before, so that neither is late."""
    await create_applications(store)
    await listed(other_store)


async def one_holder_each(store: SqlDevices) -> None:
    held = Counter(device.target for device in await listed(store) if device.state is not DeviceState.UNVERIFIED)
    assert held == Counter({target(f"t{pair}"): 1 for pair in range(PAIRS)})


async def test_of_two_clients_that_race_for_a_token_one_has_it(store: SqlStore) -> None:
    commands: list[RegistryCommand] = []
    for pair in range(PAIRS):
        commands += [register(f"a{pair}", "ann", f"t{pair}"), register(f"b{pair}", "bob", f"t{pair}")]
    answers = await together(store, commands)
    assert not [answer for answer in answers if isinstance(answer, BaseException)]
    await one_holder_each(store)


async def test_of_two_writers_that_race_for_a_token_one_has_it(store: SqlStore, other_store: SqlStore) -> None:
    for pair in range(PAIRS):
        await asyncio.gather(
            store.execute(register(f"a{pair}", "ann", f"t{pair}")),
            other_store.execute(register(f"b{pair}", "bob", f"t{pair}")),
        )
    await one_holder_each(store)


async def test_of_two_writers_that_race_for_a_device_one_has_it_wholly(store: SqlStore, other_store: SqlStore) -> None:
    epochs: set[int] = set()
    for pair in range(PAIRS):
        answers = await asyncio.gather(
            store.execute(register(f"d{pair}", "ann", f"t{pair}ann", fresh=f"{pair}ann")),
            other_store.execute(register(f"d{pair}", "bob", f"t{pair}bob", fresh=f"{pair}bob")),
        )
        epochs.update(answer.device.binding_epoch for answer in answers if answer.device)
    assert len(epochs) == 2 * PAIRS
    for device in await listed(store):
        number = device.device_id.removeprefix("d")
        assert device.target == target(f"t{number}{device.user_id}")
        assert list(await live_secrets(store, f"{number}ann", f"{number}bob")) == [f"{number}{device.user_id}"]


async def test_a_device_that_leaves_its_token_in_time_is_not_taken_out_for_it(
    store: SqlStore, other_store: SqlStore
) -> None:
    """Either it has left when the other one takes the token, or it is taken out first and comes back."""
    for pair in range(PAIRS):
        await store.execute(register("old", "ann", f"t{pair}"))
        await asyncio.gather(
            store.execute(register("old", "ann", f"u{pair}", now=2_000)),
            other_store.execute(register("new", "bob", f"t{pair}")),
        )
        held = {device.device_id: device.target for device in await listed(store)}
        assert held == {"new": target(f"t{pair}"), "old": target(f"u{pair}")}


async def test_a_device_that_is_taken_out_leaves_no_live_secret(store: SqlStore, other_store: SqlStore) -> None:
    for pair in range(PAIRS):
        await store.execute(register(f"old{pair}", "ann", f"t{pair}"))
        await asyncio.gather(
            store.execute(register(f"old{pair}", "bob", fresh=f"late {pair}", now=2_000)),
            other_store.execute(register(f"new{pair}", "ann", f"t{pair}")),
            return_exceptions=True,
        )
    assert {device.device_id for device in await listed(store)} == {f"new{pair}" for pair in range(PAIRS)}
    late = await store.find_secrets([digest_of(f"late {pair}") for pair in range(PAIRS)])
    assert [secret for secret in late if secret.retire_time is None] == []


async def test_tokens_that_go_round_between_writers(store: SqlStore, other_store: SqlStore) -> None:
    calls = []
    for turn in range(10):
        for place in range(8):
            writer = (store, other_store)[(turn + place) % 2]
            calls.append(writer.execute(register(f"d{place}", "ann", f"t{(turn + place) % 8}", now=1_000 + turn)))
    await asyncio.gather(*calls)
    held = [device.target for device in await listed(store)]
    assert len(set(held)) == len(held)


async def test_an_anonymous_stranger_wins_no_race_against_a_known_token(store: SqlStore, other_store: SqlStore) -> None:
    await together(store, [register(f"owner{pair}", "ann", f"t{pair}") for pair in range(PAIRS)])
    await asyncio.gather(
        *(other_store.execute(register(f"thief{pair}", None, f"t{pair}", proof=NOBODY)) for pair in range(PAIRS)),
        *(store.execute(update(f"owner{pair}", f"t{pair}")) for pair in range(PAIRS)),
    )
    states = {device.device_id: device.state for device in await listed(store)}
    for pair in range(PAIRS):
        assert states[f"owner{pair}"] is DeviceState.ACTIVE
        assert states[f"thief{pair}"] is DeviceState.UNVERIFIED


async def test_what_is_bound_before_unregister_user_ends_with_it(store: SqlStore, other_store: SqlStore) -> None:
    """Whichever comes first, no device that was answered before the call began survives it."""
    await together(store, [register(f"d{pair}", "ann", f"t{pair}") for pair in range(PAIRS)])
    moves = [other_store.execute(register(f"d{pair}", "bob", now=2_000)) for pair in range(0, PAIRS, 2)]
    logout = store.execute(UnregisterUser("shop", "ann", 2_000))
    answer, *_ = await asyncio.gather(logout, *moves, return_exceptions=True)
    assert not isinstance(answer, BaseException)
    assert answer.removed >= PAIRS // 2
    assert all(device.user_id == "bob" for device in await listed(store))


async def test_providers_words_and_registrations_do_not_wait_for_each_other(
    store: SqlStore, other_store: SqlStore
) -> None:
    """Rows are locked in one order by all who change devices, or PostgreSQL would have to break circles."""
    ids = [f"d{number}" for number in range(40)]
    await together(store, [register(each, "ann", f"t{each}") for each in ids])
    calls: list[Awaitable[object]] = []
    for turn in range(8):
        order = ids if turn % 2 else ids[::-1]
        calls += [other_store.execute(register(each, "bob" if turn % 2 else "ann", f"t{each}")) for each in order]
        calls.append(store.mark_accepted("shop", [(each, target(f"t{each}").digest) for each in order]))
        calls.append(
            store.retire_targets("shop", [DeadTarget(each, target(f"t{each}").digest, 1_000) for each in order[::-1]])
        )
        calls += [store.execute(Unregister("shop", order[0], AUTHORITY, 2_000))]
    await asyncio.gather(*calls)
    assert set(ids[1:-1]) <= {device.device_id for device in await listed(store)}


def newcomer(name: str, at: str) -> RegistryCommand:
    """Names a token that somebody has, and is to be shown a nonce."""
    return register(name, None, at, proof=NOBODY, fresh_nonce=digest_of(f"nonce {name}"))


def shows(name: str, at: str | None = None) -> RegistryCommand:
    return replace(update(name, at, proof=own(f"fresh {name} 1000")), target_nonce=digest_of(f"nonce {name}"))


@pytest.mark.parametrize("names_it", [True, False])
async def test_of_newcomers_that_prove_one_token_at_once_one_has_it(
    store: SqlStore, other_store: SqlStore, names_it: bool
) -> None:
    for pair in range(PAIRS):
        at = f"t{pair}"
        rivals = [f"a{pair}", f"b{pair}"]
        await together(store, [register(f"owner{pair}", "ann", at), *(newcomer(each, at) for each in rivals)])
        first, second = (shows(each, at if names_it else None) for each in rivals)
        await asyncio.gather(store.execute(first), other_store.execute(second))
        assert f"owner{pair}" not in {device.device_id for device in await listed(store)}
    await one_holder_each(store)
    assert {device.state for device in await listed(store)} == {DeviceState.ACTIVE}


async def test_a_proof_that_names_nothing_and_a_holder_that_changes_end_with_one(
    store: SqlStore, other_store: SqlStore
) -> None:
    """What the command does not name is not locked by it, unless it is looked up first."""
    for pair in range(PAIRS):
        at, name = f"t{pair}", f"new{pair}"
        await together(store, [register(f"owner{pair}", "ann", at), newcomer(name, at)])
        proved, *others = await asyncio.gather(
            store.execute(shows(name)),
            other_store.execute(register(f"owner{pair}", "bob", at)),
            other_store.execute(register(f"late{pair}", "cora", at)),
            other_store.execute(update(name, f"u{pair}", proof=own(f"fresh {name} 1000"))),
            return_exceptions=True,
        )
        assert isinstance(proved, RegistryAnswer | InvalidRequest | CredentialsInvalid | DeviceNotFound)
        wrong = [each for each in others if isinstance(each, BaseException)]
        assert all(isinstance(each, CredentialsInvalid | DeviceNotFound) for each in wrong), wrong
        held = Counter(device.target for device in await listed(store) if device.state is not DeviceState.UNVERIFIED)
        assert max(held.values()) == 1
        assert held[target(at)] == 1
