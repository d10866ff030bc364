"""Many small commands in few transactions: the next group is whatever came in while the last one was under way."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy import Connection

from bellhop_server.domain.errors import BellhopError, Overloaded, ServiceUnavailable, Unavailable

C = TypeVar("C")
A = TypeVar("A")

Outcomes = list[A | BellhopError]


class _Member(NamedTuple, Generic[C, A]):
    command: C
    future: asyncio.Future[A]
    applied: Callable[[A], None] | None


class GroupWriter(Generic[C, A]):
    """Hands commands to `apply` in groups, in the order in which they came.

    `run` is `database.write`, or `database.read` where commands are questions. `apply` answers each command in its
    place: with what `submit` returns, or with an error for it to raise. Should `apply` itself raise, its members go one
    by one, each with an outcome of its own. A member whose caller has gone before its group forms is dropped.
    """

    def __init__(
        self,
        run: Callable[[Callable[[Connection], Outcomes[A]]], Awaitable[Outcomes[A]]],
        apply: Callable[[Connection, list[C]], Outcomes[A]],
        *,
        group_limit: int = 500,
        waiting_limit: int = 10_000,
    ) -> None:
        self._run = run
        self._apply = apply
        self._group_limit = group_limit
        self._waiting_limit = waiting_limit
        self._waiting: deque[_Member[C, A]] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, command: C, applied: Callable[[A], None] | None = None) -> A:
        """Returns once the command is committed. `applied` hears its answer then, also if the caller has gone.

        Raises Overloaded, ServiceUnavailable, and the error that `apply` answers or raises for this command.
        """
        return await self._enqueue(command, applied)

    async def submit_all(self, commands: Iterable[C], applied: Callable[[int, A], None]) -> list[A | Exception]:
        """What `submit` would return or raise for each, once all are settled. `applied` hears of each, by its place and
        with its answer, as it is committed."""
        futures: list[asyncio.Future[A] | BellhopError] = []
        for place, command in enumerate(commands):
            try:
                futures.append(self._enqueue(command, partial(applied, place)))
            except BellhopError as error:
                futures.append(error)
        outcomes: list[A | Exception] = []
        try:
            for each in futures:
                try:
                    outcomes.append(each if isinstance(each, BellhopError) else await each)
                except Exception as error:
                    outcomes.append(error)
            return outcomes
        finally:
            # Where the caller has gone, what has not had its turn yet is dropped.
            for each in futures:
                if not isinstance(each, BellhopError):
                    each.cancel()

    def _enqueue(self, command: C, applied: Callable[[A], None] | None) -> asyncio.Future[A]:
        if self._closed:
            raise ServiceUnavailable("store")
        if len(self._waiting) >= self._waiting_limit:
            raise Overloaded("store")
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Member(command, future, applied))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        return future

    async def aclose(self) -> None:
        """Takes nothing more and finishes what was taken."""
        self._closed = True
        if self._flusher is not None:
            await self._flusher

    async def _flush(self) -> None:
        try:
            while group := self._next_group():
                await self._carry_out(group)
        finally:
            self._flusher = None

    def _next_group(self) -> list[_Member[C, A]]:
        group: list[_Member[C, A]] = []
        while self._waiting and len(group) < self._group_limit:
            member = self._waiting.popleft()
            if not member.future.done():
                group.append(member)
        return group

    def _answers(self, connection: Connection, commands: list[C]) -> Outcomes[A]:
        outcomes = self._apply(connection, commands)
        if len(outcomes) != len(commands):
            # Inside the transaction, so that nothing is kept that nobody was told of.
            raise RuntimeError(f"{len(outcomes)} outcomes for {len(commands)} commands")
        return outcomes

    async def _carry_out(self, group: Sequence[_Member[C, A]]) -> None:
        commands = [member.command for member in group]
        try:
            outcomes = await self._run(lambda connection: self._answers(connection, commands))
        except Exception as error:
            if len(group) == 1:
                _settle(group[0], error)
            elif isinstance(error, Unavailable | Overloaded):
                # Asking again for each of them would only keep them waiting.
                for member in group:
                    _settle(member, ServiceUnavailable("store"))
            else:
                for member in group:
                    await self._carry_out([member])
            return
        for member, outcome in zip(group, outcomes, strict=True):
            _settle(member, outcome)


def _settle(member: _Member[C, A], outcome: A | Exception) -> None:
    if not isinstance(outcome, Exception):
        if member.applied is not None:
            member.applied(outcome)
        if not member.future.done():
            member.future.set_result(outcome)
    elif not member.future.done():
        member.future.set_exception(outcome)
