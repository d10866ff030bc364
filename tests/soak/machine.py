"""The machine over everything, for as long as one likes."""

import asyncio
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from bellhop_server.store.migrate import upgrade
from tests.everything.runs import STEPS, bounded, play
from tests.everything.theatre import Theatre
from tests.soak.report import Report

ROUNDS = 20
EXAMPLES = 200

_HEAD = f"""\
A round is {EXAMPLES} runs of up to {STEPS} steps on SQLite: logins, logouts, sends, cancellations, cut streams,
crashes between any two steps, faults of provider and database, clocks that jump; against a model of P2, P3, P5 to P10
and P12. Each round has a number of its own, by which it can be played again."""


def machine(seed: int, rounds: int | None) -> Report:
    """Plays them; tells each on standard error as it ends."""
    wrong: list[str] = []
    met: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="bellhop-soak-") as folder:
        template = Path(folder) / "template.db"
        asyncio.run(upgrade(f"sqlite:///{template}"))
        for number in range(rounds or ROUNDS):
            theatre = Theatre(f"sqlite:///{shutil.copy(template, Path(folder) / f'{number}.db')}")
            try:
                play(theatre, bounded(EXAMPLES), seed + number)
            except Exception as error:
                traceback.print_exception(error)
                wrong.append(f"- round {seed + number}: {str(error).splitlines()[0]}")
            theatre.aclose()
            for what, count in theatre.seen.items():
                met[what] = met.get(what, 0) + count
            print(f"machine {seed + number}: {len(wrong)} broken so far", file=sys.stderr, flush=True)
    lines = [*_HEAD.splitlines(), "", "Met: " + ", ".join(f"{what} {count:,}" for what, count in sorted(met.items()))]
    lines += ["", *(["Broken:", "", *wrong] if wrong else ["No promise was broken."])]
    return Report(lines, len(wrong))
