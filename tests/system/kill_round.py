"""One send to 20,000 devices during which the server is killed, and what must be true of it in the end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from bellhop.v1.message_pb2 import (
    MESSAGE_STATE_COMPLETED,
    OUTCOME_ACCEPTED,
    OUTCOME_UNKNOWN,
    Notification,
    PushMessage,
    Result,
    SendOptions,
)
from bellhop_client import BellhopError, Client, RetryPolicy, SendStream, to_everyone
from bellhop_server.domain.lanes import LANE_LIMIT
from bellhop_simulators import ApnsSimulator, ConcurrencyPolicy
from tests.system.crowd import APP_SECRET, device_id, gather_crowd, token
from tests.system.database_eye import all_completed
from tests.system.kill_plan import DEVICES, KillPlan, Moment
from tests.system.killable import MASTER_KEY, Killable

# What one kill may leave UNKNOWN: a chunk of what must not go again.
CHUNK = 500
TIMEOUT = 180.0

# Whoever reads here goes on by hand: a stream that went on by itself would call the server that is to be left alone.
_ONCE = RetryPolicy(resuming_attempts=1)


@dataclass(frozen=True, slots=True)
class Kill:
    """One that took place: what the provider had seen and the stream had told by then."""

    moment: Moment
    pushes: int
    told: int
    connections: int


@dataclass(slots=True)
class KillRound:
    """What came out of a round. `wrong` says what must not be, in words; nothing in it: all promises were kept."""

    plan: KillPlan
    kills: list[Kill] = field(default_factory=list)
    outcomes: Counter[int] = field(default_factory=Counter)
    in_doubt: int = 0
    pushed_twice: int = 0
    recovery_seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


class _Reader:
    """Reads the stream of the message over the lives of the server."""

    def __init__(self) -> None:
        self.message_id = self.cursor = ""
        self.results: list[Result] = []
        self.accepted = asyncio.Event()

    async def read(self, stream: SendStream) -> None:
        """Up to the summary, or to where the stream is cut."""
        try:
            async for event in stream:
                self.message_id, self.cursor = stream.message_id, event.cursor
                self.results += event.results.results
                self.accepted.set()
        except BellhopError:
            return


async def play(plan: KillPlan, folder: Path, database_url: str) -> KillRound:
    """Plays a round on an empty database; a server and an APNs of its own come and go with it."""
    played = KillRound(plan)
    async with (
        ApnsSimulator(concurrency=ConcurrencyPolicy(authenticated=plan.streams)) as apns,
        _server(folder, database_url, apns) as server,
        asyncio.timeout(TIMEOUT),
    ):
        apns.faults.add({"delay": plan.delay})
        reader, restarted = _Reader(), monotonic()
        for number, moment in enumerate(plan.moments):
            async with server.client(_ONCE) as client:
                stream = client.watch(reader.message_id, after_cursor=reader.cursor) if number else _send(client, plan)
                reading = asyncio.create_task(reader.read(stream))
                await reader.accepted.wait()
                if not await _reached(moment, apns, database_url):
                    await reading
                    break
                await server.kill()
                await reading
            played.kills.append(Kill(moment, apns.journal.accepted, len(reader.results), len(apns.connections)))
            await server.start()
            restarted = monotonic()
        # From here on nobody calls: whatever happens, the server does by itself.
        await all_completed(database_url)
        played.recovery_seconds = monotonic() - restarted
        async with server.client() as client:
            seen = list(reader.results)
            await reader.read(client.watch(reader.message_id, after_cursor=reader.cursor))
            listed = [result async for result in client.results(message_id=reader.message_id, page_size=1000)]
            message = (await client.get_message(message_id=reader.message_id)).message
    if not played.kills:
        played.wrong.append("the message was completed before the first kill")
    _judge_results(played, seen, reader.results, listed, message)
    _judge_pushes(played, listed, apns)
    return played


@asynccontextmanager
async def _server(folder: Path, database_url: str, apns: ApnsSimulator) -> AsyncIterator[Killable]:
    await gather_crowd(database_url, MASTER_KEY, apns.key, DEVICES)
    server = Killable(folder, database_url, apns)
    server.app_secret = APP_SECRET
    await server.start()
    try:
        yield server
    except Exception as error:
        error.add_note(server.log[-4000:])
        raise
    finally:
        await server.stop()


def _send(client: Client, plan: KillPlan) -> SendStream:
    notification = Notification(title="Hello", collapse_key="news" if plan.replaceable else "")
    return client.send(
        audience=to_everyone(), notification=notification, options=SendOptions(resend=plan.resend), request_id="once"
    )


async def _reached(moment: Moment, apns: ApnsSimulator, database_url: str) -> bool:
    """Returns at that moment; False when the message is completed before it comes."""

    async def come() -> None:
        await apns.journal.wait_for(apns.journal.total + moment.requests, timeout=TIMEOUT)
        await asyncio.sleep(moment.seconds)

    coming, ending = asyncio.create_task(come()), asyncio.create_task(all_completed(database_url))
    done, waiting = await asyncio.wait((coming, ending), return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for task in done:
        task.result()
    return ending not in done


def _judge_results(
    played: KillRound,
    seen: Sequence[Result],
    streamed: Sequence[Result],
    listed: Sequence[Result],
    message: PushMessage,
) -> None:
    """P6, P7 and P10: everybody has one final result, which the stream and the list tell alike, and counts add up."""
    expect = played.wrong.append
    results = Counter(result.device_id for result in listed)
    outcomes = played.outcomes = Counter(result.outcome for result in listed)
    if results != Counter(map(device_id, range(DEVICES))):
        missing, twice = DEVICES - len(results), sum(1 for times in results.values() if times > 1)
        expect(f"{missing} devices have no result and {twice} have several")
    if list(streamed) != list(listed):
        expect("the resumed stream tells something else than ListResults")
    if list(seen) != list(listed[: len(seen)]):
        expect("what had been told before a kill has changed")
    counts = message.counts
    if message.state != MESSAGE_STATE_COMPLETED:
        expect("the message is not completed")
    if not counts.device_count == counts.finished_count == DEVICES:
        expect(f"{counts.finished_count} of {counts.device_count} devices are counted")
    if {each.outcome: each.count for each in counts.outcomes} != outcomes:
        expect("the counts of outcomes do not add up")


def _judge_pushes(played: KillRound, listed: Sequence[Result], apns: ApnsSimulator) -> None:
    """P9: what APNs was given against what the results say of it, for each device and each life of the server."""
    expect = played.wrong.append
    pushes: dict[str, list[tuple[int, str]]] = {}
    for entry in apns.journal.entries:
        if entry.accepted and int(entry.token, 16):
            pushes.setdefault(entry.token, []).append((entry.connection, entry.apns_id))
    played.pushed_twice = sum(1 for each in pushes.values() if len(each) > 1)
    played.in_doubt = sum(1 for result in listed if result.attempts > 1 or result.outcome == OUTCOME_UNKNOWN)
    unknown = played.outcomes[OUTCOME_UNKNOWN]

    if set(played.outcomes) - {OUTCOME_ACCEPTED, OUTCOME_UNKNOWN}:
        expect(f"there are outcomes other than ACCEPTED and UNKNOWN: {dict(played.outcomes)}")
    if unknown > CHUNK * len(played.kills):
        expect(f"{unknown} devices are UNKNOWN after {len(played.kills)} kills")
    if played.in_doubt > LANE_LIMIT * len(played.kills):
        expect(f"{played.in_doubt} devices were in doubt after {len(played.kills)} kills")
    if not played.plan.may_repeat and played.pushed_twice:
        expect(f"{played.pushed_twice} pushes left twice that must not be repeated")
    # The first try and two repeats have each to be cut off before a push that may be repeated is left in doubt.
    if played.plan.may_repeat and unknown and len(played.kills) < 3:
        expect(f"{unknown} devices are UNKNOWN though their pushes may be repeated")
    for number, result in enumerate(listed):
        taken = pushes.get(token(result.device_id), [])
        if len(taken) > result.attempts:
            expect(f"{result.device_id} was pushed {len(taken)} times in {result.attempts} attempts")
        if result.outcome == OUTCOME_ACCEPTED and not taken:
            expect(f"{result.device_id} is ACCEPTED and APNs has never seen it")
        if len({apns_id for _, apns_id in taken}) > 1:
            expect(f"{result.device_id} was pushed under several ids")
        for kill in played.kills:
            if number < kill.told and any(connection > kill.connections for connection, _ in taken):
                expect(f"{result.device_id} was pushed after its result had been told")
