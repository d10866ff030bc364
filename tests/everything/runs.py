"""Many runs of the machine, always the same for the same number."""

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test

from tests.everything.machine import EverythingMachine
from tests.everything.theatre import Theatre

STEPS = 50


def bounded(examples: int) -> settings:
    """So many runs of STEPS steps at most. What fails is told as it was met: making it small takes minutes."""
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=False,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


def play(theatre: Theatre, options: settings, number: int) -> None:
    """Raises what the first of them has found, with the steps that led there."""

    class Machine(EverythingMachine):
        def __init__(self) -> None:
            super().__init__(theatre)

    seed(number)(get_state_machine_test(Machine, settings=options))()
