"""One message to a crowd while something goes wrong; what the sender was told, held against what the provider saw."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from google.protobuf.duration_pb2 import Duration

from bellhop.v1.device_pb2 import DEVICE_STATE_DEAD
from bellhop.v1.message_pb2 import Outcome, Result, SendOptions
from bellhop_client import AdminClient, Client, Notification, SendStream, to_everyone
from bellhop_server import main
from bellhop_server.app import delivering
from bellhop_server.app.hygiene import Hygiene
from bellhop_server.domain.delivery import ANSWER, HANDOVER
from bellhop_server.domain.guard import QUIET
from bellhop_server.ports import Clock, Store
from bellhop_server.settings import Address, Settings
from bellhop_simulators.journal import Entry
from tests.apns_desk import MovableClock
from tests.faults.clocks import all_known, leap
from tests.faults.fault import Case
from tests.faults.networks import HTTP1, Network, Venue, venue

APP = "shop"
ADMIN_TOKEN = "an-admin-token-for-tests"
HELLO = Notification(title="Hello", body="Your table is free.")
LONGEST = HANDOVER + ANSWER
"""Seconds of ours after which nothing may still hang: of the waits for another attempt, none is left."""
_POLL = 0.02
_REFUSED = (Outcome.OUTCOME_TOKEN_INVALID, Outcome.OUTCOME_TOKEN_MISMATCH)


class Crowd:
    """Devices of an application on one server, and who they are to their networks."""

    def __init__(self, address: str, app_secret: str, hygiene: Hygiene) -> None:
        self.back_end = Client(address, app_id=APP, app_secret=app_secret)
        self.hygiene = hygiene
        self.names: dict[str, str] = {}
        """What the journal calls a device, by its id."""
        self._registrations: dict[str, dict[str, Any]] = {}

    async def join(self, at: Venue, count: int, public_key: str, persona: str = "mozilla", strangers: int = 0) -> None:
        """So many more devices."""
        newcomers = []
        for number in range(count):
            name, target = at.target(persona, public_key, stranger=number < strangers)
            device_id = f"{at.network.name.lower()}-{number}"
            self.names[device_id] = name
            self._registrations[name] = {"device_id": device_id, "user_id": "anna", **target}
            newcomers.append(name)
        await asyncio.gather(*map(self.register, newcomers))

    async def register(self, name: str) -> None:
        """Once more, or for the first time."""
        await self.back_end.register_device(**self._registrations[name])

    def send(self, notification: Notification = HELLO, ttl: int = 86_400) -> SendStream:
        """One message to all."""
        options = SendOptions(ttl=Duration(seconds=ttl))
        return self.back_end.send(audience=to_everyone(), notification=notification, options=options)

    async def told(self, stream: SendStream) -> list[Result]:
        """Every result of a message. Raises TimeoutError for one that hangs."""
        async with asyncio.timeout(LONGEST):
            return await stream.results()

    async def check(self, stream: SendStream, results: list[Result]) -> None:
        """All results of a message came once, and whoever asks is told the same numbers."""
        assert sorted(result.device_id for result in results) == sorted(self.names), "one result for each"
        assert stream.summary
        counts = stream.summary.counts
        assert counts.device_count == counts.finished_count == len(results)
        outcomes = Counter((result.platform, result.outcome) for result in results)
        assert {(each.platform, each.outcome): each.count for each in counts.outcomes} == outcomes
        message_id = stream.message_id
        assert (await self.back_end.get_message(message_id=message_id)).message.counts == counts
        assert [each async for each in self.back_end.results(message_id=message_id)] == results
        assert await self.back_end.watch(message_id).results() == results

    async def dead(self) -> set[str]:
        """The devices that were retired."""
        return {each.device_id async for each in self.back_end.devices(states=[DEVICE_STATE_DEAD])}

    def audit(self, at: Venue, results: list[Result], entries: list[Entry]) -> None:
        """What was told as taken was taken once; what was not, was not; and what is in doubt, once at most."""
        taken = Counter(at.name(entry) for entry in entries if entry.accepted)
        struck = {at.name(entry) for entry in entries if entry.fault}
        for result in results:
            if result.platform != at.network.platform:
                continue
            name = self.names[result.device_id]
            there = taken.pop(name, 0)
            match result.outcome:
                case Outcome.OUTCOME_ACCEPTED:
                    assert there == 1, result
                case Outcome.OUTCOME_UNKNOWN:
                    assert there <= 1, result
                case _:
                    assert there == 0, result
            assert result.outcome not in _REFUSED or name in struck, "it is the wrong one that is called dead"
        assert not taken, "somebody got it of whom nobody was told"


@asynccontextmanager
async def crowd(
    folder: Path, clock: MovableClock, *venues: Venue, patience: asyncio.Event | None = None
) -> AsyncIterator[tuple[Crowd, str]]:
    """A server that sends to these networks, and the VAPID key that its browsers subscribe with, if any.

    Time jumps over every wait for another attempt, once `patience` is set if it is given.
    """
    url = _database_url(folder)
    settings = Settings(listen=Address("127.0.0.1", 0), database_url=url, admin_token=ADMIN_TOKEN, master_key="00" * 32)
    providers = {each.network.platform: each.provider for each in venues}

    async def hurry() -> None:
        if patience is not None:
            await patience.wait()
        await leap(clock, url)

    hygienes: list[Hygiene] = []

    def hygiene(store: Store, clock: Clock) -> Hygiene:
        hygienes.append(Hygiene(store, clock))
        return hygienes[0]

    # Nobody tells the server that time has jumped: it has to look.
    with patch.object(delivering, "POLL", _POLL), patch.object(main, "Hygiene", hygiene):
        async with main.running_server(settings, providers=providers, clock=clock) as server:
            leaping = asyncio.create_task(hurry())
            try:
                async with AdminClient(server.address, admin_token=ADMIN_TOKEN) as admin:
                    made = await admin.create_application(app_id=APP, display_name="Shop")
                    public_key = ""
                    for each in venues:
                        stored = await admin.set_credential(app_id=APP, **each.credential)
                        public_key = stored.credential.web_push.vapid_public_key or public_key
                there = Crowd(server.address, made.app_secret, hygienes[0])
                async with there.back_end:
                    yield there, public_key
            finally:
                leaping.cancel()
                await asyncio.wait((leaping,))
                assert leaping.cancelled(), leaping.exception()


async def play(folder: Path, network: Network, engine: str, case: Case) -> Counter[str]:
    """Plays a case; how many devices were told what, in words. Asserts whatever must hold in all cases."""
    clock = MovableClock()
    async with venue(network, engine, clock, answer=case.answer, streams=case.streams) as at:
        async with crowd(folder, clock, at) as (there, public_key):
            await there.join(at, case.devices, public_key, case.persona, case.strangers)
            if case.known:
                before = await there.told(there.send())
                assert {result.outcome for result in before} == {Outcome.OUTCOME_ACCEPTED}
                await all_known(_database_url(folder))
            clock.skew = case.skew
            clock.advance(case.later)
            faults = [at.simulator.faults.add(*each[:2], times=each.times) for each in case.strikes]
            mark = at.simulator.journal.total
            stream = there.send(Notification(title="Hello", body=case.body), case.ttl)
            telling = asyncio.create_task(there.told(stream))
            if case.returns:
                (entry,) = await at.simulator.journal.wait_for(1, fault=faults[0].name)
                await there.register(at.name(entry))
                assert not telling.done()
            results = await telling
            await there.check(stream, results)
            # Then a round of answers is over, and judged at the next look.
            clock.advance(QUIET)
            await there.hygiene.judge()
            refused = {result.device_id for result in results if result.outcome in _REFUSED}
            assert await there.dead() == (refused if case.retired else set())
        # The server has ended: nothing more can come.
        entries = at.pushes(mark)
        there.audit(at, results, entries)
        assert {each.http for each in entries} <= {HTTP1 if engine == HTTP1 else "HTTP/2"}
        assert all(fault.played for fault in faults), "nothing went wrong"
        assert case.requests in (None, len(entries))
        assert _pause(at, entries) >= case.not_before
    return Counter(_told(result) for result in results)


def _database_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'bellhop.db'}"


def _pause(at: Venue, entries: list[Entry]) -> float:
    """The shortest time between a fault and the next request for the same device, by the provider's clock."""
    refused: dict[str, float] = {}
    shortest = float("inf")
    for entry in entries:
        name = at.name(entry)
        if name in refused:
            shortest = min(shortest, entry.time - refused.pop(name))
        if entry.fault:
            refused[name] = entry.time
    return shortest


def _told(result: Result) -> str:
    name = Outcome.Name(result.outcome).removeprefix("OUTCOME_")
    return f"{name} ({result.reason})" if result.reason else name
