"""The fence: once a logout has returned, nothing is handed over any more to the one who left.

A sender **marks** the devices of a hand-over, then reads them, then hands over. A logout commits, then **waits** for
the marks that it finds. Either the sender reads what the logout has written, or its mark is older than the wait. A mark
ends for each device by itself: with the provider's answer, with the certainty that its end has received the request or
never will, and by the deadline of the hand-over at the latest.

A mark names the device, the user and the target. A logout waits for whatever names a device, a target or a user of its
own, and for what a former logout of the same device has waited for: that one may have lost its caller, and what it
found may not be there to be found again.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Self

from bellhop_server.domain.batch import Item
from bellhop_server.domain.delivery import HANDOVER
from bellhop_server.domain.device import Target

# Seconds. By then every mark that a wait may have found is past its deadline.
LONGEST = HANDOVER + 2.0

# Hexadecimal digits of a target's digest by which marks and items name it. Two that share them wait in vain.
DIGITS = 16


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

    def open_ends(
        self, devices: Iterable[str], targets: Iterable[str], users: Iterable[str]
    ) -> Iterable[asyncio.Future[None]]:
        """What ends with each open device that has one of these names."""
        # Most marks end before anybody asks.
        by_device, by_target, by_user = self._named or self._index()
        positions: set[int] = set()
        for index, names in ((by_device, devices), (by_target, targets), (by_user, users)):
            for name in names:
                positions.update(index.get(name, ()))
        return self._ends(positions)

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


class Fence:
    """The marks of this process. `aside` is entered by a call for as long as it waits."""

    def __init__(self, aside: Callable[[], AbstractContextManager[None]]) -> None:
        self._aside = aside
        self._marks: dict[str, set[Mark]] = {}
        self._awaited: dict[tuple[str, str], set[asyncio.Future[None]]] = {}

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

    def ends(
        self,
        app_id: str,
        *,
        devices: Collection[str] = (),
        targets: Collection[Target] = (),
        users: Collection[str] = (),
    ) -> "set[asyncio.Future[None]]":
        """What to wait for: the marks there are by now that have one of these names. To be called after the commit.

        It is remembered for the next call about one of the devices, whether or not anybody waits for it.
        """
        names = [target.digest.hex()[:DIGITS] for target in targets] if app_id in self._marks else []
        ends = {end for mark in self._marks.get(app_id, ()) for end in mark.open_ends(devices, names, users)}
        keys = [(app_id, device_id) for device_id in devices]
        for key in keys:
            ends.update(self._awaited.get(key, ()))
        for key in keys:
            for end in ends - self._awaited.get(key, set()):
                self._remember(key, end)
        return ends

    async def wait_for_message(self, app_id: str, message_ref: int) -> None:
        """Waits for the marks there are by now of one message."""
        marks = self._marks.get(app_id, ())
        await self.wait({end for mark in marks if mark.message_ref == message_ref for end in mark.all_ends()})

    async def wait(self, ends: "set[asyncio.Future[None]]") -> None:
        """Waits for all of them, `LONGEST` at most."""
        if ends:
            with self._aside():
                await asyncio.wait(ends, timeout=LONGEST)

    def _remember(self, key: tuple[str, str], end: asyncio.Future[None]) -> None:
        self._awaited.setdefault(key, set()).add(end)
        end.add_done_callback(lambda end: self._forget(key, end))

    def _forget(self, key: tuple[str, str], end: asyncio.Future[None]) -> None:
        ends = self._awaited[key]
        ends.discard(end)
        if not ends:
            del self._awaited[key]
