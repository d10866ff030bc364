"""One message to a crowd while something goes wrong; what the sender was told, held against what the provider saw."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from bellhop.v1.device_pb2 import DEVICE_STATE_DEAD
from bellhop.v1.message_pb2 import Outcome, Result, SendOptions
from bellhop_client import AdminClient, Client, Notification, to_everyone
from bellhop_server.app.hygiene import LOOK
from bellhop_server.domain import SECOND
from bellhop_server.domain.guard import QUIET
from bellhop_server.main import running_server
from bellhop_server.settings import Address, Settings
from tests.apns_desk import MovableClock
from tests.faults.clocks import Leaps
from tests.faults.matrix import Case
from tests.faults.networks import Network, Venue, venue

APP = "shop"
ADMIN_TOKEN = "an-admin-token-for-tests"
SECONDS = 30.0
_PAUSE = 0.05


class Crowd:
    """Devices of an application on one server, and who they are to their networks."""

    def __init__(self, address: str, app_secret: str, clock: MovableClock) -> None:
        self.back_end = Client(address, app_id=APP, app_secret=app_secret)
        self.clock = clock
        self.names: dict[str, str] = {}
        """What the journal calls a device, by its id."""

    async def join(self, at: Venue, count: int, persona: str, public_key: str) -> None:
        """So many more devices."""
        for _ in range(count):
            name, target = at.target(persona, public_key)
            device_id = f"{at.network.name.lower()}-{len(self.names)}"
            self.names[device_id] = name
            await self.back_end.register_device(device_id=device_id, user_id="anna", **target)

    async def send(self, title: str, ttl: int = 86_400) -> list[Result]:
        """Every result of one message to all; asserts that it adds up, wherever it is read."""
        options = SendOptions(ttl=Duration(seconds=ttl))
        stream = self.back_end.send(audience=to_everyone(), notification=Notification(title=title), options=options)
        async with asyncio.timeout(SECONDS):
            results = [result async for event in stream for result in event.results.results]
        assert stream.summary
        counts = stream.summary.counts
        assert counts.device_count == counts.finished_count == len(results) == len(self.names)
        assert sum(each.count for each in counts.outcomes) == len(results)
        assert {result.device_id for result in results} == self.names.keys(), "one result for each"
        kept = [each async for each in self.back_end.results(message_id=stream.message_id)]
        assert sorted(map(str, kept)) == sorted(map(str, results))
        message = await self.back_end.get_message(message_id=stream.message_id)
        assert message.message.counts.finished_count == len(results)
        return results

    async def judged(self, expected: set[str]) -> None:
        """Waits until what was called dead has been judged: these are retired, and nobody else."""
        self.clock.advance(QUIET)
        async with asyncio.timeout(SECONDS):
            while await self._dead() != expected:  # noqa: ASYNC110 - the server tells nobody of it
                await asyncio.sleep(_PAUSE)
        # Whoever has looked twice since has judged.
        await asyncio.sleep(2 * LOOK)
        assert await self._dead() == expected

    async def _dead(self) -> set[str]:
        return {each.device_id async for each in self.back_end.devices(states=[DEVICE_STATE_DEAD])}

    def audit(self, at: Venue, results: list[Result], mark: int) -> None:
        """What was told as taken was taken once; what was not, was not; and what is in doubt, once at most."""
        entries = [entry for entry in at.simulator.journal.entries if entry.number > mark and entry.accepted]
        taken = Counter(entry.path if at.network is Network.WEB_PUSH else entry.token for entry in entries)
        for result in results:
            there = taken.pop(self.names[result.device_id], 0)
            match result.outcome:
                case Outcome.OUTCOME_ACCEPTED:
                    assert there == 1, result
                case Outcome.OUTCOME_UNKNOWN:
                    assert there <= 1, result
                case _:
                    assert there == 0, result
        assert not taken, "somebody got it of whom nobody was told"


@asynccontextmanager
async def crowd(
    folder: Path, clock: MovableClock, *venues: Venue, leaping: bool = True
) -> AsyncIterator[tuple[Crowd, str]]:
    """A server that sends to these networks, and the VAPID key that its browsers subscribe with, if any.

    `leaping`: time jumps over every wait for another attempt.
    """
    url = f"sqlite:///{folder / 'bellhop.db'}"
    settings = Settings(listen=Address("127.0.0.1", 0), database_url=url, admin_token=ADMIN_TOKEN, master_key="00" * 32)
    providers = {each.network.platform: each.provider for each in venues}
    async with running_server(settings, providers=providers, clock=clock) as server:
        leaps = asyncio.create_task(Leaps(clock, url).run() if leaping else asyncio.sleep(0))
        try:
            async with AdminClient(server.address, admin_token=ADMIN_TOKEN) as admin:
                made = await admin.create_application(app_id=APP, display_name="Shop")
                public_key = ""
                for each in venues:
                    stored = await admin.set_credential(app_id=APP, **each.credential)
                    public_key = stored.credential.web_push.vapid_public_key or public_key
            there = Crowd(server.address, made.app_secret, clock)
            async with there.back_end:
                yield there, public_key
        finally:
            leaps.cancel()
            await asyncio.wait((leaps,))


async def play(folder: Path, network: Network, engine: str, case: Case) -> Counter[str]:
    """Plays a case; how many devices were told what, in words. Asserts whatever must hold in all cases."""
    clock = MovableClock()
    async with venue(network, engine, clock) as at, crowd(folder, clock, at) as (there, public_key):
        await there.join(at, case.devices, case.persona, public_key)
        if case.known:
            before = await there.send("Before")
            assert {result.outcome for result in before} == {Outcome.OUTCOME_ACCEPTED}
        clock.skew = case.skew
        for then, when, times in case.strikes:
            at.simulator.faults.add(dict(then), dict(when), times=times)
        mark, begin = at.simulator.journal.total, clock.now()
        results = await there.send("Hello", case.ttl)
        assert (clock.now() - begin) / SECOND >= case.not_before
        there.audit(at, results, mark)
        refused = {
            result.device_id
            for result in results
            if result.outcome in (Outcome.OUTCOME_TOKEN_INVALID, Outcome.OUTCOME_TOKEN_MISMATCH)
        }
        await there.judged(refused if case.retired else set())
    return Counter(_told(result) for result in results)


def _told(result: Result) -> str:
    name = Outcome.Name(result.outcome).removeprefix("OUTCOME_")
    return f"{name} ({result.reason})" if result.reason else name
