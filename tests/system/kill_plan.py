"""When a server is killed during a send: drawn from a seed, so that a round can be told and played again."""

import random
from dataclasses import dataclass
from typing import NamedTuple

from bellhop.v1.message_pb2 import (
    RESEND_POLICY_ALWAYS,
    RESEND_POLICY_IF_REPLACEABLE,
    RESEND_POLICY_NEVER,
    ResendPolicy,
)

DEVICES = 20_000

# Of the first kill of a round, in turn; by requests that the provider has seen since the server was started.
_PHASES = {"planning": (0, 0), "early": (1, 2_000), "middle": (4_000, 14_000), "late": (14_000, 16_000)}
# Of those that follow: from before anything goes out again to well under way.
_RECOVERY = (0, 3_000)
_MOST_KILLS = 3
_RESENDS = (RESEND_POLICY_NEVER, RESEND_POLICY_ALWAYS, RESEND_POLICY_NEVER, RESEND_POLICY_IF_REPLACEABLE)
# Seconds that the provider thinks before each answer, and how many requests it takes at once on a connection. Both are
# slow enough for a kill to come when it is due: the provider and whoever kills share a process.
_DELAYS = (0.005, 0.02, 0.05)
_STREAMS = (50, 200)


class Moment(NamedTuple):
    """A kill: so many seconds after the provider has seen so many requests since the server was started."""

    phase: str
    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class KillPlan:
    """One round: how the message is sent and when the server is killed."""

    seed: int
    resend: ResendPolicy.ValueType
    replaceable: bool
    delay: float
    streams: int
    moments: tuple[Moment, ...]

    @property
    def may_repeat(self) -> bool:
        """Whether a push in doubt goes again."""
        return self.resend == RESEND_POLICY_ALWAYS or self.replaceable


def kill_plan(number: int, seed: int) -> KillPlan:
    """The round with that number, from 0, of a series with that seed."""
    dice = random.Random(f"{seed}/{number}")
    first = list(_PHASES)[number % len(_PHASES)]
    phases = [first] + ["recovery"] * dice.randint(0, _MOST_KILLS - 1)
    moments = [
        Moment(phase, dice.randint(*_PHASES.get(phase, _RECOVERY)), round(dice.uniform(0, 0.2), 3)) for phase in phases
    ]
    # Not in step with the phases: over sixteen rounds every pair of both comes.
    resend = _RESENDS[(number + number // len(_PHASES)) % len(_RESENDS)]
    replaceable = resend == RESEND_POLICY_IF_REPLACEABLE
    return KillPlan(seed, resend, replaceable, dice.choice(_DELAYS), dice.choice(_STREAMS), tuple(moments))
