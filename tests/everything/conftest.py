"""Where runs take place."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.everything.theatre import Theatre


@pytest.fixture
def sqlite_theatre(sqlite_template: Path) -> Iterator[Theatre]:
    """Over a SQLite file, in memory where that can be had: nobody pulls the plug here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        theatre = Theatre(f"sqlite:///{shutil.copy(sqlite_template, folder)}")
        yield theatre
        theatre.aclose()


@pytest.fixture
def postgresql_theatre(postgresql_url: str) -> Iterator[Theatre]:
    """Over a PostgreSQL database."""
    theatre = Theatre(postgresql_url)
    yield theatre
    theatre.aclose()
