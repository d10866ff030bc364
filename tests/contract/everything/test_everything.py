"""All promises under anything, on both databases."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.contract.everything.machine import EverythingMachine
from tests.contract.everything.theatre import Theatre


def bounded(examples: int) -> settings:
    """So many runs, always the same."""
    return settings(
        max_examples=examples,
        stateful_step_count=50,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def play(theatre: Theatre, options: settings) -> None:
    class Machine(EverythingMachine):
        def __init__(self) -> None:
            super().__init__(theatre)

    run_state_machine_as_test(Machine, settings=options)


@pytest.fixture
def sqlite_theatre(sqlite_template: Path) -> Iterator[Theatre]:
    # In memory where that can be had: nobody pulls the plug here.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        theatre = Theatre(f"sqlite:///{shutil.copy(sqlite_template, folder)}")
        yield theatre
        theatre.aclose()


def test_every_promise_is_kept_whatever_happens(sqlite_theatre: Theatre) -> None:
    play(sqlite_theatre, bounded(int(os.environ.get("N", "20"))))
    print(sqlite_theatre.seen)
