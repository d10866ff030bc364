"""Every fault that can happen on APNs, with every engine: the sender is told what the provider saw."""

from pathlib import Path

import pytest

from tests.faults.cells import cells, hold
from tests.faults.fault import Case
from tests.faults.networks import Network


@pytest.mark.promise("P7")
@pytest.mark.promise("P9")
@pytest.mark.promise("P11")
@pytest.mark.parametrize(("case", "engine"), cells(Network.APNS))
async def test_a_fault_is_told_as_it_is(case: Case, engine: str, tmp_path: Path) -> None:
    await hold(tmp_path, Network.APNS, engine, case)
