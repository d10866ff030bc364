"""Every fault, on every network it can happen on, with both engines: the sender is told the truth, and all adds up."""

from pathlib import Path

import pytest

from tests.faults.matrix import FAULTS, Case
from tests.faults.networks import ENGINES, Network
from tests.faults.play import play

CELLS = [
    pytest.param(network, engine, case, id=f"{fault.name}-{network.name}-{engine}")
    for fault in FAULTS
    for network, case in fault.cases.items()
    for engine in ENGINES
]


@pytest.mark.promise("P7")
@pytest.mark.promise("P9")
@pytest.mark.promise("P11")
@pytest.mark.parametrize(("network", "engine", "case"), CELLS)
async def test_the_sender_is_told_what_the_provider_saw(
    network: Network, engine: str, case: Case, tmp_path: Path
) -> None:
    told = await play(tmp_path, network, engine, case)
    assert told.keys() <= case.told.keys()
    for what, many in case.told.items():
        if many is not None:
            assert told[what] == many, told
