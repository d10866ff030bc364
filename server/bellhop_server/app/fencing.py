"""The fence: once a logout has returned, nothing is handed over any more to the one who left.

A sender **marks** the devices of a hand-over, then reads them, then hands over. A logout commits, then **waits** for
the marks that it finds. Either the sender reads what the logout has written, or its mark is older than the wait. A mark
ends for each device by itself: with the provider's answer, with the certainty that its end has received the request or
never will, and by the deadline of the hand-over at the latest.

A mark names the device, the user and the target. A logout waits for whatever names a device, a target or a user of its
own, and for what a former logout of the same device or user has waited for: that one may have lost its caller, and
what it found may not be there to be found again.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple, Self

from bellhop_server.domain.batch import Item
from bellhop_server.domain.delivery import HANDOVER
from bellhop_server.domain.device import Target
from bellhop_server.domain.errors import ServiceUnavailable

# Seconds. By then every mark that a wait may have found is past its deadline.
LONGEST = HANDOVER + 2.0

# Hexadecimal digits of a target's digest by which marks and items name it. Two that share them wait in vain.
DIGITS = 16

_log = logging.getLogger(__name__)

# By what a mark is found: places in its index.
_DEVICE, _TARGET, _USER = range(3)


class Names(NamedTuple):
    """Devices and targets that have to do with each other: who asks for one of them waits for all."""

    devices: Collection[str] = ()
    targets: Collection[Target] = ()


class Mark:
    """The devices of one hand-over. Each is open until it has ended."""

    __slots__ = ("_fence", "_items", "_left", "_named", "_open", "_waits", "app_id", "message_ref")

    def __init__(self, fence: "Fence", app_id: str, message_ref: int, items: Sequence[Item]) -> None:
        self.app_id = app_id
        self.message_ref = message_ref
        self._fence = fence
        self._items = items
        self._open = bytearray(b"\1") * len(items)
        self._left = len(items)
        self._named: tuple[dict[str, list[int]], ...] | None = None
        self._waits: dict[int, asyncio.Future[None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_all()

    def end(self, position: int) -> None:
        """Nothing more will be handed over to the device in that place. May be said again."""
        if not self._open[position]:
            return
        self._open[position] = 0
        self._left -= 1
        wait = self._waits.pop(position, None)
        if wait is not None and not wait.done():
            wait.set_result(None)
        if not self._left:
            self._fence.remove(self)

    def end_all(self) -> None:
        """Nothing more will be handed over to any of them."""
        if self._left:
            for position in range(len(self._items)):
                self.end(position)

    def open_ends(self, kind: int, names: Mapping[str, Any]) -> Iterator[tuple[str, asyncio.Future[None]]]:
        """Each of the names that open devices have, and what ends with the device."""
        # Most marks end before anybody asks.
        index = (self._named or self._index())[kind]
        # Walks through whichever are fewer.
        for name in index.keys() & names.keys():
            for end in self._ends(index[name]):
                yield name, end

    def all_ends(self) -> Iterable[asyncio.Future[None]]:
        """What ends with each open device."""
        return self._ends(range(len(self._items)))

    def _ends(self, positions: Iterable[int]) -> list[asyncio.Future[None]]:
        return [self._wait(position) for position in positions if self._open[position]]

    def _wait(self, position: int) -> asyncio.Future[None]:
        wait = self._waits.get(position)
        if wait is None:
            wait = self._waits[position] = asyncio.get_running_loop().create_future()
        return wait

    def _index(self) -> tuple[dict[str, list[int]], ...]:
        named: tuple[dict[str, list[int]], ...] = ({}, {}, {})
        for position, item in enumerate(self._items):
            for index, name in zip(named, (item.device_id, item.target_digest, item.user_id), strict=True):
                index.setdefault(name, []).append(position)
        self._named = named
        return named


# Application, kind and name of those for whom it is remembered what was waited for.
_Key = tuple[str, int, str]


class Fence:
    """The marks of this process. `aside` is entered by a call for as long as it waits."""

    def __init__(self, aside: Callable[[], AbstractContextManager[None]]) -> None:
        self._aside = aside
        self._marks: dict[str, set[Mark]] = {}
        self._awaited: dict[_Key, set[asyncio.Future[None]]] = {}

    def mark(self, app_id: str, message_ref: int, items: Sequence[Item]) -> Mark:
        """Marks the devices of `items`, which are not to be changed until the mark has ended."""
        mark = Mark(self, app_id, message_ref, items)
        if items:
            self._marks.setdefault(app_id, set()).add(mark)
        return mark

    def remove(self, mark: Mark) -> None:
        """A mark has ended."""
        marks = self._marks[mark.app_id]
        marks.discard(mark)
        if not marks:
            del self._marks[mark.app_id]

    def ends(self, app_id: str, groups: Sequence[Names], user: str | None = None) -> "set[asyncio.Future[None]]":
        """What to wait for: the marks there are by now that have one of these names. To be called after the commit.

        It is remembered whether or not anybody waits for it: what a group has found for the next call about one of its
        devices, what all of them have found for the next call about the user. The devices of a user are a group each,
        or every device would remember what is on its way to all others.
        """
        found: list[set[asyncio.Future[None]]] = [set() for _ in groups]
        of_user: set[asyncio.Future[None]] = set()
        marks = self._marks.get(app_id, ())
        if marks:
            by_device: dict[str, list[set[asyncio.Future[None]]]] = {}
            by_target: dict[str, list[set[asyncio.Future[None]]]] = {}
            by_user = {} if user is None else {user: [of_user]}
            for names, ends in zip(groups, found, strict=True):
                for device_id in names.devices:
                    by_device.setdefault(device_id, []).append(ends)
                for target in names.targets:
                    by_target.setdefault(target.digest.hex()[:DIGITS], []).append(ends)
            for mark in marks:
                for kind, wanted in ((_DEVICE, by_device), (_TARGET, by_target), (_USER, by_user)):
                    for name, end in mark.open_ends(kind, wanted):
                        for ends in wanted[name]:
                            ends.add(end)
        for names, ends in zip(groups, found, strict=True):
            self._remember([(app_id, _DEVICE, name) for name in names.devices], ends)
        beyond = set().union(*found)
        if user is not None:
            # What names the user is found again for as long as it is open.
            beyond -= of_user
            self._remember([(app_id, _USER, user)], beyond)
        return beyond | of_user

    async def wait_for_message(self, app_id: str, message_ref: int) -> None:
        """Waits for the marks there are by now of one message. Raises as `wait` does."""
        marks = self._marks.get(app_id, ())
        await self.wait({end for mark in marks if mark.message_ref == message_ref for end in mark.all_ends()})

    async def wait(self, ends: "set[asyncio.Future[None]]") -> None:
        """Waits for all of them, `LONGEST` at most. Raises ServiceUnavailable: something is still on its way."""
        if not ends:
            return
        with self._aside():
            _, pending = await asyncio.wait(ends, timeout=LONGEST)
        if pending:
            # No mark should live for so long.
            _log.error("hand-overs do not end", extra={"open": len(pending), "seconds": LONGEST})
            raise ServiceUnavailable(
                "fence", text="What was asked for stands, but something is still being handed over. Repeat to wait on."
            )

    def _remember(self, keys: Sequence[_Key], ends: "set[asyncio.Future[None]]") -> None:
        """Adds to `ends` what is remembered for the keys, and remembers all of it for each."""
        for key in keys:
            ends |= self._awaited.get(key, set())
        for key in keys:
            for end in ends - self._awaited.get(key, set()):
                self._awaited.setdefault(key, set()).add(end)
                end.add_done_callback(partial(self._forget, key))

    def _forget(self, key: _Key, end: asyncio.Future[None]) -> None:
        ends = self._awaited[key]
        ends.discard(end)
        if not ends:
            del self._awaited[key]
