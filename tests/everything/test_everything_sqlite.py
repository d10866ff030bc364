"""All promises under anything, on SQLite."""

import pytest

from tests.everything.runs import bounded, play
from tests.everything.theatre import Theatre

pytestmark = [
    pytest.mark.promise("P2"),
    pytest.mark.promise("P3"),
    pytest.mark.promise("P5"),
    pytest.mark.promise("P6"),
    pytest.mark.promise("P7"),
    pytest.mark.promise("P8"),
    pytest.mark.promise("P9"),
    pytest.mark.promise("P10"),
    pytest.mark.promise("P12"),
]

# What the runs must have met, or they show nothing.
MET = {
    "ACCEPTED",
    "CANCELLED",
    "COMPLETED",
    "EXPIRED",
    "SUPERSEDED",
    "TOKEN_INVALID",
    "UNKNOWN",
    "StaleBinding",
    "ServiceUnavailable",
    "deleted",
    "handed over again in doubt",
    "handed over while somebody waits",
    "other content refused",
    "replayed",
    "summary",
}


def test_every_promise_is_kept_whatever_happens(sqlite_theatre: Theatre) -> None:
    play(sqlite_theatre, bounded(300), 0)
    assert sqlite_theatre.seen.keys() >= MET, sqlite_theatre.seen
