"""All promises under anything, on PostgreSQL: fewer runs, since they take longer."""

import pytest

from tests.everything.runs import bounded, play
from tests.everything.theatre import Theatre


@pytest.mark.promise("P3")
@pytest.mark.promise("P6")
@pytest.mark.promise("P7")
@pytest.mark.promise("P10")
def test_every_promise_is_kept_whatever_happens(postgresql_theatre: Theatre) -> None:
    play(postgresql_theatre, bounded(25), 100)
