"""`python -m tests.faults` plays every cell and writes docs/fault-matrix.md; ends with 1 if one is not as expected."""

import asyncio
import sys
import tempfile
from pathlib import Path

from bellhop_server import logs
from tests.faults.fault import Fault
from tests.faults.networks import Network
from tests.faults.page import PAGE, page
from tests.faults.play import play

surprises: list[str] = []


def played(fault: Fault, network: Network, engine: str) -> str:
    """What is told when it is played."""
    case = fault.cases[network]
    with tempfile.TemporaryDirectory() as folder:
        told = asyncio.run(play(Path(folder), network, engine, case))
    if case.fits(told):
        return case.text
    surprises.append(f"{fault.name}, {network}, {engine}: told {dict(told)}, to be told: {case.text}")
    return ", ".join(f"{what} {many}" for what, many in told.items())


if __name__ == "__main__":
    logs.configure("error")
    PAGE.write_text(page(played), "utf-8")
    print(*surprises, f"{PAGE.name} is written.", sep="\n")
    sys.exit(1 if surprises else 0)
