"""What the endpoints of a simulated provider share."""

from dataclasses import dataclass, field

from bellhop_simulators.clock import Clock
from bellhop_simulators.faults.script import Faults
from bellhop_simulators.journal import Journal
from bellhop_simulators.serving.connections import Connections


@dataclass(eq=False)
class World:
    """Time, faults and records. Clock, journal and faults may be those of other providers too."""

    clock: Clock
    journal: Journal
    faults: Faults
    connections: Connections = field(default_factory=Connections, init=False)
