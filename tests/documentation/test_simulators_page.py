"""docs/simulators.md says what the simulators do: its scripts load, its suite runs, and no key is missing."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from bellhop_simulators import ApnsSimulator, Entry
from bellhop_simulators.faults.actions import Goaway, Then
from bellhop_simulators.faults.conditions import Facts, When

PAGE = (Path(__file__).parents[2] / "docs" / "simulators.md").read_text()
SCRIPTS = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_of_the_page_loads(script: str, tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text(script)
    apns = ApnsSimulator()

    apns.faults.load(path)

    assert len(apns.faults) == script.count('"then"')


def test_every_key_is_on_the_page() -> None:
    keys = {field.name for kind in (Then, Goaway, Facts, When) for field in fields(kind)} - {
        "summary",
        "wanted",
        "seen",
    }
    keys |= {field.name for field in fields(Entry)} - {"header_list", "raw_body"}

    assert [key for key in sorted(keys) if f"`{key}`" not in PAGE] == []


def test_the_suite_of_the_page_runs(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    tests = sum(text.count("async def test_") for text in FILES.values())

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-o", "asyncio_default_fixture_loop_scope=function"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{tests + 1} passed" in run.stdout, "one of them has two cases"
