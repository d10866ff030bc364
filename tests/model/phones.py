"""A registry of phones in memory, run by the production rules through the production writer, a step at a time."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bellhop_server.app.registering import Registering
from bellhop_server.domain.application import Policy
from bellhop_server.domain.device import Device, DeviceFacts, Found, Platform, Target
from bellhop_server.domain.errors import BellhopError
from bellhop_server.domain.picture import Picture
from bellhop_server.domain.registration import Proof, RegistryAnswer, RegistryCommand, UnregisterUser
from bellhop_server.domain.registry import carry_out
from bellhop_server.store.group_writer import GroupWriter
from tests.unit.app_fakes import NOW
from tests.unit.app_fakes import device as fake_device
from tests.unit.app_fakes import found as as_found

APP = "shop"
USERS = ("anna", "ben", "cora")
AUTHORITY = Proof(authority=True)


class Bound(NamedTuple):
    """Who is reached where: what must not be handed over any more once it has ended."""

    device: str
    user: str
    epoch: int
    address: str


Rows = dict[str, Device]


@dataclass(frozen=True)
class Call:
    """One call of an app or a back end; `user` alone: UnregisterUser. `address` None: the call names no target."""

    verb: str
    device: str = ""
    user: str | None = None
    address: str | None = None

    def of(self, registering: Registering) -> Coroutine[Any, Any, Any]:
        """Makes it."""
        where = None if self.address is None else target(self.address)
        match self.verb:
            case "register":
                return registering.register(APP, self.device, self.user, where, DeviceFacts(), AUTHORITY, NOW)
            case "update":
                return registering.update(APP, self.device, where, None, None, None, {}, (), AUTHORITY)
            case "unregister":
                return registering.unregister(APP, self.device, AUTHORITY)
            case "logout of":
                expected = {"expected_user_id": self.user}
                return registering.unregister(APP, self.device, AUTHORITY, **expected)
            case _:
                assert self.user is not None
                return registering.unregister_user(APP, self.user, NOW)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.verb, self.device, self.user, self.address)))


def login(device: str, user: str, address: str | None = None) -> Call:
    """RegisterDevice."""
    return Call("register", device, user, address)


def anonymous(device: str, address: str | None = None) -> Call:
    """RegisterAnonymousDevice."""
    return Call("register", device, None, address)


def moved(device: str, address: str) -> Call:
    """UpdateDevice with another token."""
    return Call("update", device, None, address)


def logout(device: str) -> Call:
    """UnregisterDevice."""
    return Call("unregister", device)


def logout_of(device: str, user: str) -> Call:
    """UnregisterDevice with an expected user."""
    return Call("logout of", device, user)


def logout_everywhere(user: str) -> Call:
    """UnregisterUser."""
    return Call("unregister user", user=user)


def target(address: str) -> Target:
    """The target with this token."""
    return Target(Platform.APNS, address)


class Phones:
    """The registry. `gate` is awaited before and after each commit; what happens between is one step."""

    def __init__(self, gate: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        self.rows: Rows = {}
        self.story: list[Rows] = []
        """The rows after each commit."""
        self.committed: dict[str, int] = {}
        """By caller: the number of its last commit in `story`."""
        self.logouts: dict[str, list[int]] = {}
        """By user: the numbers of the commits that ended all logins."""
        self._writer: GroupWriter[RegistryCommand, RegistryAnswer] = GroupWriter(self._run, self._apply)
        self._asked: list[tuple[RegistryCommand, str]] = []
        self._gate = gate
        self._epochs = itertools.count(1)

    def give(self, device: str, user: str, address: str) -> None:
        """A login before anything else."""
        row = fake_device(device, user, epoch=self._new_epoch(), target=target(address))
        self.rows = {**self.rows, device: row}
        self.story = [self.rows]

    async def execute(
        self, command: RegistryCommand, committed: Callable[[RegistryAnswer], None] | None = None
    ) -> RegistryAnswer:
        """See `ports.DeviceStore`. The task that asks has the name of its caller."""
        task = asyncio.current_task()
        assert task is not None
        self._asked.append((command, task.get_name()))
        return await self._writer.submit(command, committed)

    def found(self, device_id: str) -> Found | None:
        """The row as a hand-over reads it."""
        row = self.rows.get(device_id)
        return None if row is None else as_found(row)

    def over(self, call: Call, commit: int, since: int) -> frozenset[Bound]:
        """What a call that committed as number `commit` stands for having ended, once it has returned.

        Of a user: all logins that were, and whoever was, before them, where the devices were that such calls have taken
        out `since` the last that returned. Of a device: whoever was, before it or while it had them, where it is or has
        been `since` its last call that returned, or where the call says it is.
        """
        now = self.story[commit]
        if not call.device:
            known = {bound for rows in self.story[: commit + 1] for bound in bounds(rows)}
            ended = {bound for bound in known - bounds(now) if bound.user == call.user}
            for number in self.logouts.get(call.user or "", ()):
                if since < number <= commit:
                    before = self.story[number - 1]
                    left = {row.target.address for row in before.values() if row.user_id == call.user}
                    were = {bound for rows in self.story[:number] for bound in bounds(rows)}
                    ended |= {bound for bound in were - bounds(now) if bound.address in left}
            return frozenset(ended)
        last_at: dict[str, int] = {}
        for number in range(since, commit + 1):
            row = self.story[number].get(call.device)
            if row is not None:
                last_at[row.target.address] = number
        if call.address is not None:
            last_at[call.address] = commit
        ended = set()
        for address, last in last_at.items():
            were = {bound for rows in self.story[: last + 1] for bound in bounds(rows)}
            ended |= {bound for bound in were - bounds(now) if bound.address == address}
        return frozenset(ended)

    def state(self) -> Hashable:
        """What the rows were and are, and what is to be written."""
        told = tuple(tuple(map(_shape, rows.values())) for rows in self.story)
        waiting = tuple((self._caller(member.command), member.future.done()) for member in self._writer._waiting)
        logouts = tuple((user, *numbers) for user, numbers in sorted(self.logouts.items()))
        return told, waiting, tuple(sorted(self.committed.items())), logouts

    def _caller(self, command: RegistryCommand) -> str:
        [name] = [name for asked, name in self._asked if asked is command]
        return name

    async def _run(self, work: Callable[[Any], list[Any]]) -> list[Any]:
        await self._gate("commit")
        outcomes = work(None)
        await self._gate("committed")
        return outcomes

    def _apply(self, _: object, commands: Sequence[RegistryCommand]) -> list[RegistryAnswer | BellhopError]:
        counts = {(APP, user): sum(row.user_id == user for row in self.rows.values()) for user in USERS}
        picture = Picture(self.rows.values(), {}, {APP: Policy()}, counts, lambda app_id: 0)
        answers: list[RegistryAnswer | BellhopError] = []
        for command in commands:
            try:
                answers.append(carry_out(command, picture, self._new_epoch))
            except BellhopError as error:
                answers.append(error)
            keys = {*picture.loaded, *picture.touched}
            rows = {key[1]: row for key in keys if (row := picture.device(key)) is not None}
            self.rows = {name: rows[name] for name in sorted(rows)}
            self.story.append(self.rows)
            self.committed[self._caller(command)] = len(self.story) - 1
            if isinstance(command, UnregisterUser):
                self.logouts.setdefault(command.user_id, []).append(len(self.story) - 1)
        return answers

    def _new_epoch(self) -> int:
        """One that never was."""
        return next(self._epochs)


def bounds(rows: Rows) -> set[Bound]:
    """Who is reached where."""
    return set(_bounds(rows))


def _bounds(rows: Rows) -> Iterator[Bound]:
    for row in rows.values():
        if row.user_id is not None:
            yield Bound(row.device_id, row.user_id, row.binding_epoch, row.target.address)


def _shape(row: Device) -> Hashable:
    return row.device_id, row.user_id, row.binding_epoch, row.target.address, row.state
