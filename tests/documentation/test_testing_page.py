"""The test of docs/testing.md runs, and finds what it is there to find."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation.pages import blocks, replaced


@pytest.mark.parametrize("passes", [True, False], ids=["as told", "sending twice"])
def test_it_runs_as_told(tmp_path: Path, passes: bool) -> None:
    for block in blocks("docs/testing.md", "python"):
        head, _, text = block.partition("\n")
        (tmp_path / re.fullmatch(r"# (\w+\.py)", head)[1]).write_text(text)
    if not passes:
        orders = tmp_path / "orders.py"
        orders.write_text(replaced(orders.read_text(), ('request_id=f"order-{order}-ready"', 'request_id=""')))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:asyncio", "-W", "error"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode == 0) is passes, run.stdout + run.stderr
    assert ("1 passed" if passes else "1 failed") in run.stdout
