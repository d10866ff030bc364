"""A send and registrations that are under way while the database of a real server is away, and what comes of them."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from bellhop.v1.device_pb2 import ApnsTarget
from bellhop.v1.message_pb2 import OUTCOME_ACCEPTED, RESEND_POLICY_NEVER, Notification, Result, SendOptions
from bellhop_client import BellhopError, Client, RetryPolicy, to_everyone, to_users
from bellhop_simulators import ApnsSimulator, ConcurrencyPolicy
from tests.system.crowd import APP_SECRET, device_id, gather_crowd, token
from tests.system.killable import MASTER_KEY, Killable

DEVICES = 3_000
SECONDS = 10.0
CALLERS = 4
# Slow enough that the send is still under way when the database goes.
_DELAY = 0.05
_STREAMS = 10


@dataclass(slots=True)
class Endured:
    """What happened.

    Devices whose registration was acknowledged and those that are there in the end, refused calls, messages that were
    accepted meanwhile and those that are there in the end, what the stream told and what the provider took.
    """

    acknowledged: list[str] = field(default_factory=list)
    refusals: list[BellhopError] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    results: list[Result] = field(default_factory=list)
    registered: set[str] = field(default_factory=set)
    pushed: Counter[str] = field(default_factory=Counter)
    log: str = ""


async def endure(folder: Path, database_url: str, away: Callable[[Killable], AbstractContextManager[None]]) -> Endured:
    """Takes the database of a server away for ten seconds by `away`, whose context is entered and left in a thread."""
    told = Endured()
    async with AsyncExitStack() as stack:
        concurrency = ConcurrencyPolicy(authenticated=_STREAMS)
        apns = await stack.enter_async_context(ApnsSimulator(concurrency=concurrency))
        apns.faults.add({"delay": _DELAY})
        await gather_crowd(database_url, MASTER_KEY, apns.key, DEVICES)
        server = Killable(folder, database_url, apns)
        server.app_secret = APP_SECRET
        await server.start()
        stack.push_async_callback(server.stop)
        client = await stack.enter_async_context(server.client())

        stream = client.send(
            audience=to_everyone(),
            notification=Notification(title="Hello"),
            options=SendOptions(resend=RESEND_POLICY_NEVER),
            request_id="before",
        )
        async for event in stream:
            told.results += event.results.results
            if len(told.results) >= 100:
                break
        rest = asyncio.create_task(stream.results())
        callers = _Callers(client, told)
        await callers.have_registered()

        outage = away(server)
        await asyncio.to_thread(outage.__enter__)
        try:
            sending = asyncio.create_task(_send_meanwhile(server, told))
            await asyncio.sleep(SECONDS)
        finally:
            await asyncio.to_thread(outage.__exit__, None, None, None)
        await callers.have_registered()
        await callers.end()
        await sending
        told.results += await rest
        told.registered = {device.device_id async for device in client.devices(page_size=1000)}
        told.kept = {message.message_id async for message in client.messages()}
        told.pushed = Counter(entry.token for entry in apns.journal.entries if entry.accepted and int(entry.token, 16))
        assert await server.stop() == 0
        told.log = server.log
    return told


def judge(told: Endured, *, silent: bool = False) -> None:
    """Nothing that was acknowledged is lost, everything is told once, and the server has come back by itself.

    `silent`: a database that does not answer rather than refuse; whoever waits may lose patience first.
    """
    assert told.refusals or silent, "nobody noticed"
    for refusal in told.refusals:
        if silent and refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            continue
        assert refusal.code is grpc.StatusCode.UNAVAILABLE, refusal
        assert (refusal.reason, refusal.metadata) == ("SERVICE_UNAVAILABLE", {"cause": "store"})
    assert set(told.acknowledged) <= told.registered
    assert set(told.accepted) < told.kept
    assert silent or not told.accepted
    assert Counter(result.device_id for result in told.results) == Counter(map(device_id, range(DEVICES)))
    # The process was there all the while and knows what it did: nothing is in doubt, and nothing went twice.
    assert {result.outcome for result in told.results} == {OUTCOME_ACCEPTED}
    assert told.pushed == Counter(token(device_id(number)) for number in range(DEVICES))
    if not silent:
        assert "the database is away" in told.log
        assert "the database is back" in told.log


class _Callers:
    """Register one device after the other, whatever the answer."""

    def __init__(self, client: Client, told: Endured) -> None:
        self._client = client
        self._told = told
        self._successes = 0
        self._changed = asyncio.Condition()
        self._tasks = [asyncio.create_task(self._register(caller)) for caller in range(CALLERS)]

    async def have_registered(self) -> None:
        """Returns once as many more registrations as there are callers have been acknowledged, twice over."""
        wanted = self._successes + 2 * CALLERS
        async with self._changed:
            await self._changed.wait_for(lambda: self._successes >= wanted)

    async def end(self) -> None:
        """No more of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _register(self, caller: int) -> None:
        turn = 0
        while True:
            turn += 1
            # Before the crowd in order, so that the send has planned past them.
            name = f"a{caller}-{turn}"
            target = ApnsTarget(token=f"{caller + 1:032x}{turn:032x}")
            try:
                await self._client.register_device(device_id=name, user_id="anna", apns=target)
            except BellhopError as error:
                self._told.refusals.append(error)
                continue
            self._told.acknowledged.append(name)
            async with self._changed:
                self._successes += 1
                self._changed.notify_all()


async def _send_meanwhile(server: Killable, told: Endured) -> None:
    """One more message, to somebody else: refused, or accepted once the database answers."""
    async with server.client(RetryPolicy(opening_attempts=1)) as client:
        options = SendOptions(resend=RESEND_POLICY_NEVER)
        stream = client.send(
            audience=to_users("berta"), notification=Notification(title="Hello"), options=options, accept_only=True
        )
        try:
            told.accepted = [event.accepted.message_id async for event in stream]
        except BellhopError as error:
            told.refusals.append(error)
