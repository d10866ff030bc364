"""Fixtures for pytest: `pytest_plugins = ["bellhop_testing.fixtures"]` in the topmost conftest.py."""

from collections.abc import Iterator

import pytest

from bellhop_client.sync import SyncClient
from bellhop_testing.fake import FakeBellhop


@pytest.fixture
def bellhop() -> Iterator[FakeBellhop]:
    """A server with nothing on it but the application `test`. Starting one takes some hundredths of a second."""
    with FakeBellhop() as fake:
        yield fake


@pytest.fixture
def bellhop_client(bellhop: FakeBellhop) -> Iterator[SyncClient]:
    """A client of it that waits. Tests with an event loop make one with `bellhop.client()`."""
    with bellhop.sync_client() as client:
        yield client
