"""That the model can fail (P3): each way to build the fence wrongly is found, with a trace that shows why."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import pytest

from bellhop_server.app import handover
from bellhop_server.app.fencing import Fence, Mark, Names
from bellhop_server.app.handover import Handover
from bellhop_server.app.registering import Registering
from bellhop_server.app.sheet import Sheet
from bellhop_server.app.sorting import Lot, Sorted, sort
from bellhop_server.app.stamping import Stamper
from bellhop_server.domain import Micros
from bellhop_server.domain.batch import Item
from bellhop_server.domain.delivery import Reading
from bellhop_server.domain.registration import RegistryAnswer, RegistryCommand
from tests.model.explorer import Broken, explore
from tests.model.fence_world import FenceWorld
from tests.model.phones import Phones
from tests.model.settings import SETTINGS

pytestmark = pytest.mark.promise("P3")

_ends, _read, _send, _remember = Fence.ends, Handover._read, Handover._send, Fence._remember
Ends = set["asyncio.Future[None]"]


async def read_before_the_mark(self: Handover, sheet: Sheet, items: Sequence[Item]) -> bool:
    reading = await self._read(sheet, items)
    with self._fence.mark(sheet.batch.app_id, sheet.batch.message_ref, items) as mark:
        await self._pass_on(sheet, items, reading, mark, 0.0)
    return True


async def wait_before_the_commit(self: Registering, command: RegistryCommand) -> RegistryAnswer:
    await self._fence.wait(self._ends(command, RegistryAnswer()))
    return await self._store.execute(command)


async def forget_with_the_caller(self: Registering, command: RegistryCommand, nonce: str = "") -> RegistryAnswer:
    answer = await self._store.execute(command)
    await self._fence.wait(self._ends(command, answer))
    return answer


async def do_not_wait(self: Fence, ends: Ends) -> None:
    """Returns at once."""


def without_targets(self: Fence, app_id: str, groups: Sequence[Names], user: str | None = None) -> Ends:
    return _ends(self, app_id, [names._replace(targets=()) for names in groups], user)


def without_devices(self: Fence, app_id: str, groups: Sequence[Names], user: str | None = None) -> Ends:
    return _ends(self, app_id, [names._replace(devices=()) for names in groups], user)


def without_users(self: Fence, app_id: str, groups: Sequence[Names], user: str | None = None) -> Ends:
    return _ends(self, app_id, groups)


def without_what_was_awaited(self: Fence, keys: Sequence[tuple[str, int, str]], ends: Ends) -> None:
    """Remembers nothing."""


def by_device_alone(self: Fence, keys: Sequence[tuple[str, int, str]], ends: Ends) -> None:
    _remember(self, [key for key in keys if key[1:] != (2, "ben")], ends)


_ends_of_command = Registering._ends


def only_when_something_was_found(self: Registering, command: RegistryCommand, answer: RegistryAnswer) -> Ends:
    return _ends_of_command(self, command, answer) if answer.departed else set()


async def end_the_mark_when_submitted(self: Handover, sheet: Sheet, lot: Lot, mark: Mark, deadline: float) -> None:
    for entry in lot.entries:
        assert entry is not None
        mark.end(entry[2])
    await _send(self, sheet, lot, mark, deadline)


def keep_the_mark(self: Mark, *_: object) -> None:
    """Does not end it."""


async def read_once(self: Handover, sheet: Sheet, items: Sequence[Item]) -> Reading | None:
    if not hasattr(self, "first"):
        self.first: dict[int, Reading | None] = {}
    ref = sheet.batch.message_ref
    if ref not in self.first:
        self.first[ref] = await _read(self, sheet, items)
    return self.first[ref]


async def follow_without_a_mark(self: Handover, sheet: Sheet, items: Sequence[Item], deadline: float) -> None:
    with Fence(nullcontext).mark(sheet.batch.app_id, sheet.batch.message_ref, items) as mark:
        await self._pass_on(sheet, items, await self._read(sheet, items), mark, deadline)


def do_not_follow(sheet: Sheet, items: Sequence[Item], reading: Reading, now: Micros, stamper: Stamper) -> Sorted:
    as_marked = {item.device_id: item.target_digest for item in items}
    devices = {key: each._replace(target_digest=as_marked[key]) for key, each in reading.devices.items()}
    return sort(sheet, items, reading._replace(devices=devices), now, stamper)


def any_binding_will_do(sheet: Sheet, items: Sequence[Item], reading: Reading, now: Micros, stamper: Stamper) -> Sorted:
    for item in items:
        if item.device_id in reading.devices:
            item.binding_epoch = reading.devices[item.device_id].binding_epoch
    return sort(sheet, items, reading, now, stamper)


def rows_of_the_plan(self: Phones, device_id: str) -> Any:
    now, self.rows = self.rows, self.story[0]
    try:
        return found(self, device_id)
    finally:
        self.rows = now


found = Phones.found


class Mutation(NamedTuple):
    """What is built wrongly, and where that is found. `reason`: a word of what is found."""

    owner: Any
    attribute: str
    instead: Callable[..., Any]
    setting: str
    reason: str = "though"


REPEATED = "two senders and a logout that is repeated"
LEAVES = "another device takes the token, and leaves twice"
USER_LEAVES = "another device takes the token, and its user leaves twice"
MUTATIONS = [
    Mutation(Handover, "_attempt", read_before_the_mark, REPEATED),
    Mutation(Phones, "found", rows_of_the_plan, REPEATED),
    Mutation(Registering, "_execute", wait_before_the_commit, REPEATED),
    Mutation(Fence, "wait", do_not_wait, REPEATED),
    Mutation(Fence, "ends", without_devices, REPEATED),
    Mutation(Fence, "ends", without_targets, "a logout that nobody waited for, then another device with the token"),
    Mutation(Fence, "ends", without_users, "logouts of a user, repeated"),
    Mutation(Registering, "_ends", only_when_something_was_found, REPEATED),
    Mutation(Fence, "_remember", without_what_was_awaited, LEAVES),
    Mutation(Fence, "_remember", by_device_alone, USER_LEAVES),
    Mutation(Registering, "_execute", forget_with_the_caller, LEAVES),
    Mutation(Handover, "_send", end_the_mark_when_submitted, REPEATED),
    Mutation(Mark, "end", keep_the_mark, "two senders that try again", "outlives"),
    Mutation(Mark, "__exit__", keep_the_mark, REPEATED, "outlives"),
    Mutation(Handover, "_read", read_once, "two senders that try again"),
    Mutation(Handover, "_follow", follow_without_a_mark, "another token, which a third device takes"),
    Mutation(handover, "sort", do_not_follow, "another token, a logout, then another device with that token"),
    Mutation(handover, "sort", any_binding_will_do, "a device that goes and comes back"),
]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.instead.__name__)
def test_the_model_finds_it(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutation.owner, mutation.attribute, mutation.instead)
    setting, _ = SETTINGS[mutation.setting]
    with pytest.raises(Broken, match=mutation.reason) as broken:
        explore(lambda loop: FenceWorld(loop, setting))
    print(broken.value)
