"""How much is measured: every number that the command line can make smaller."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """The defaults are those of docs/performance.md."""

    databases: tuple[str, ...] = ("sqlite", "postgresql")
    devices: int = 100_000
    """Of the fan-out and of the profile."""
    rounds: int = 3
    """Of the fan-out, after one to warm up."""
    audiences: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    """Of the memory."""
    broadcast: int = 1_000_000
    """Devices of the message that single sends and logouts meet."""
    singles: int = 200
    """Single sends and logouts of each kind, idle and then loaded."""
    seconds: float = 10.0
    """Of registrations."""
    sends: int = 40_000
    """Of each adapter alone; peers send a twentieth."""
    messages: int = 20_000
    """Of each round on a SendMany stream; a fifth of them on streams of their own."""
    functions: int = 0
    """How many functions the profile tells as well."""
