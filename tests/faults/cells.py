"""The cells of the matrix, and what holds in each: the sender is told the truth, and all adds up."""

from pathlib import Path
from typing import Any

import pytest

from tests.faults.fault import Case
from tests.faults.matrix import FAULTS
from tests.faults.networks import Network
from tests.faults.play import play


def cells(network: Network) -> list[Any]:
    """A case and an engine for each, as parameters of a test."""
    return [
        pytest.param(fault.cases[network], engine, id=f"{fault.name} - {engine}")
        for fault in FAULTS
        for engine in fault.engines(network)
    ]


async def hold(folder: Path, network: Network, engine: str, case: Case) -> None:
    """Plays a cell; asserts that it comes out as the table has it."""
    told = await play(folder, network, engine, case)
    assert case.fits(told), f"told {dict(told)}, to be told: {case.text}"
