"""The fence in every reachable state (P3): nothing reaches a device for whom a logout that has returned had ended it,
and nobody waits for ever, or for nothing.
"""

import pytest

from tests.model.explorer import explore
from tests.model.fence_world import FenceWorld
from tests.model.settings import SETTINGS

pytestmark = pytest.mark.promise("P3")


@pytest.mark.parametrize("name", SETTINGS)
def test_in_every_state(name: str) -> None:
    setting, least = SETTINGS[name]
    explored = explore(lambda loop: FenceWorld(loop, setting))
    print(f"{name}: {explored.states} states, {explored.steps} steps, {explored.ends} ends")
    assert explored.states >= least
    assert explored.ends >= 2
