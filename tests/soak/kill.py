"""Twenty rounds of kills on each database."""

import asyncio
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bellhop.v1.message_pb2 import OUTCOME_ACCEPTED, OUTCOME_UNKNOWN, ResendPolicy
from bellhop_server.store.migrate import upgrade
from tests.postgres import postgres_server
from tests.soak.report import Report
from tests.system.kill_plan import KillPlan, kill_plan
from tests.system.kill_round import CHUNK, Kill, KillRound, play

ROUNDS = 20
# On SQLite a server knows at once that its predecessor is dead; on PostgreSQL it mostly waits for leases to end.
_AT_ONCE = {"SQLite": 1, "PostgreSQL": 2}

_HEAD = f"""\
A round is one message to 20,000 devices by a real `bellhop serve`, which is killed once to three times: first while the
message is planned, early, in the middle or late, then while its successor takes up what was left. After the last
restart nobody calls. Looked at then: one final result for every device, told alike by the stream, resumed from its
cursor over every kill, and by ListResults, and counted right; what had been told before a kill unchanged, and not
pushed again; at most {CHUNK} devices UNKNOWN for each kill; with `resend: NEVER` no push that the provider saw twice.

*kills*: when, with the pushes that the provider had taken and the results that the stream had told by then. *provider*:
seconds until it answers, and streams on a connection. *in doubt*: devices that a kill left so; *twice*: those of them
that the provider saw twice. *after*: seconds from the last restart to the end of the message.

| round | database | resend | provider | kills | ACCEPTED | UNKNOWN | in doubt | twice | after |
|---|---|---|---|---|---|---|---|---|---|"""


def kill(seed: int, rounds: int | None) -> Report:
    """Plays them; tells each on standard error as it ends."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bellhop-soak-")))
        server = stack.enter_context(postgres_server())

        def database(backend: str, number: int) -> str:
            if backend == "SQLite":
                return f"sqlite:///{folder / f'{number}.db'}"
            name = f"soak_{number}_{os.getpid()}"
            server.execute(f"CREATE DATABASE {name}")
            return server.url(name)

        played = {
            backend: asyncio.run(_play_all(backend, seed, rounds or ROUNDS, folder, database)) for backend in _AT_ONCE
        }
    lines = _HEAD.splitlines()
    wrong: list[str] = []
    for backend, results in played.items():
        for number, result in enumerate(results):
            lines.append(_row(number, backend, result))
            wrong += [f"- round {number} on {backend}: {sentence}" for sentence in result.wrong[:5]]
    lines += ["", *(["Broken:", "", *wrong] if wrong else ["No promise was broken."])]
    return Report(lines, sum(1 for results in played.values() for result in results if result.wrong))


async def _play_all(
    backend: str, seed: int, rounds: int, folder: Path, database: Callable[[str, int], str]
) -> list[KillRound]:
    # Databases are made one after the other: Alembic knows one migration at a time.
    turns, making = asyncio.Semaphore(_AT_ONCE[backend]), asyncio.Lock()

    async def one(number: int) -> KillRound:
        async with turns:
            async with making:
                url = await asyncio.to_thread(database, backend, number)
                await upgrade(url)
            result = await _survive(kill_plan(number, seed), folder, url)
        print(f"{backend} {number}: {'; '.join(result.wrong[:5]) or 'kept'}", file=sys.stderr, flush=True)
        return result

    return await asyncio.gather(*map(one, range(rounds)))


async def _survive(plan: KillPlan, folder: Path, url: str) -> KillRound:
    """A round that breaks off is a broken promise, not the end of the soak."""
    try:
        return await play(plan, folder, url)
    except Exception as error:
        traceback.print_exception(error)
        return KillRound(plan, wrong=[f"broke off: {type(error).__name__}: {error}"])


def _row(number: int, backend: str, result: KillRound) -> str:
    plan = result.plan
    cells = (
        number,
        backend,
        ResendPolicy.Name(plan.resend).removeprefix("RESEND_POLICY_"),
        f"{plan.delay} s, {plan.streams}",
        "; ".join(map(_moment, result.kills)),
        f"{result.outcomes[OUTCOME_ACCEPTED]:,}",
        f"{result.outcomes[OUTCOME_UNKNOWN]:,}",
        f"{result.in_doubt:,}",
        f"{result.pushed_twice:,}",
        f"{result.recovery_seconds:.1f} s",
    )
    return f"| {' | '.join(map(str, cells))} |"


def _moment(kill: Kill) -> str:
    return f"{kill.moment.phase} ({kill.pushes:,}, {kill.told:,})"
