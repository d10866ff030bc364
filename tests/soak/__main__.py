"""`python -m tests.soak [--seed N] [--rounds N] [PART ...]`: what is too long for `make test`, written to docs/soak.md.

Without parts all are run; the page keeps the sections of those that are not. Each part gets the seed, by which its
rounds can be played again (a fresh one unless given), and the number of rounds, if one is given. Ends with 1 if a
promise was broken.
"""

import argparse
import logging
import os
import platform
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from tests.soak.kill import kill
from tests.soak.machine import machine
from tests.soak.report import Report

PAGE = Path(__file__).parents[2] / "docs" / "soak.md"
_INTRODUCTION = """\
# Soak

What `make soak` found, written by that command: the tests that are too long for every day. Each section is the last run
of its part. A round is drawn from the seed of that run and its number; `make soak ARGS='--seed … PART'` draws the same
rounds again, though no two runs meet the same moments to the microsecond."""

PARTS: dict[str, tuple[str, Callable[[int, int | None], Report]]] = {
    "machine": ("Everything at random, against a model of the promises", machine),
    "kill": ("SIGKILL during a send to 20,000 devices", kill),
}


def main() -> int:
    """Runs the parts that are named and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all unless named")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.parts if name not in PARTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    # The simulators run in this process, and asyncio warns of each write to a server that was just killed.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    computer = f"{os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}"
    failures = 0
    for name in arguments.parts or PARTS:
        title, run = PARTS[name]
        began = monotonic()
        report = run(arguments.seed, arguments.rounds)
        failures += report.failures
        minutes = (monotonic() - began) / 60
        run_at = f"{datetime.now(UTC):%d %B %Y}, {computer}, seed {arguments.seed}."
        _write(title, [run_at, "", *report.lines, "", f"`{name}` took {minutes:.0f} minutes."])
    print(PAGE.read_text(encoding="utf-8"))
    return 1 if failures else 0


def _write(title: str, lines: list[str]) -> None:
    """Puts the section of a part in its place on the page, and leaves the others as they are."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    sections: dict[str, str] = {}
    for section in text.split("\n## ")[1:]:
        heading, body = section.split("\n", 1)
        sections[heading] = body.strip()
    sections[title] = "\n".join(lines)
    page = [_INTRODUCTION]
    for known, _ in PARTS.values():
        if known in sections:
            page.append(f"## {known}\n\n{sections[known]}")
    PAGE.write_text("\n\n".join(page) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
