"""docs/simulators.md says what the simulators do: its scripts load, and no key is missing."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from bellhop_simulators import ApnsSimulator, Entry
from bellhop_simulators.faults.actions import Goaway, Then
from bellhop_simulators.faults.conditions import Facts, When

PAGE = (Path(__file__).parents[2] / "docs" / "simulators.md").read_text()
SCRIPTS = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


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
