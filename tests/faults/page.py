"""`docs/fault-matrix.md`: the table of faults for people."""

from collections.abc import Callable
from pathlib import Path

from bellhop_server.domain.delivery import ANSWER, HANDOVER
from tests.faults.fault import Fault
from tests.faults.matrix import ANSWERS, CONNECTIONS
from tests.faults.networks import Network
from tests.faults.refusals import KEYS, TOKENS

PAGE = Path(__file__).parents[2] / "docs" / "fault-matrix.md"

SECTIONS = (
    ("Connections and streams", CONNECTIONS),
    ("Single answers", ANSWERS),
    ("Keys and clocks", KEYS),
    ("Device tokens", TOKENS),
)

_HEAD = f"""# What may go wrong, and what the sender is told

Each fault is played by the [simulators](simulators.md) while a message goes to 40 devices (200 where it is a share of
them): from `Send` to the streamed result, through a whole server, over TLS. In every cell a test holds what was told
against the journal of the provider:

- ACCEPTED was taken exactly once, UNKNOWN once at most, anything else not at all, and nobody else got it.
- Each device has one result; the stream, its `summary`, GetMessage, ListResults and WatchMessage say the same.
- Nothing hangs: a hand-over has {HANDOVER:.0f} seconds and an answer {ANSWER:.0f}. Waits for another attempt are as
  long as ever, and Retry-After is kept to, but the clock jumps over them.
- Only who was struck is called dead.

A cell says what is told, and to how many devices. `same`: as with the engine to the left. Empty: it cannot happen
there. `ngh2` and `h2` are the two engines of HTTP/2; HTTP/1.1 is a push service that speaks nothing else. "Retired":
these devices are DEAD afterwards, else nobody is.

One network that is away altogether holds up nobody on the others: `tests/faults/test_one_network_down.py`.

This page is written by `make faults`, which plays every cell of the table in `tests/faults/`; a test holds them
together.
"""

Cell = Callable[[Fault, Network, str], str]


def expected(fault: Fault, network: Network, engine: str) -> str:
    """What is to be told."""
    return fault.cases[network].text


def page(cell: Cell = expected) -> str:
    """The whole page; `cell` says what is told."""
    columns = [(network, engine) for network in Network for engine in network.engines]
    lines = [_HEAD]
    for title, faults in SECTIONS:
        lines += [f"## {title}", ""]
        lines.append("| fault | " + " | ".join(f"{network}: {engine}" for network, engine in columns) + " |")
        lines.append("|---" * (len(columns) + 1) + "|")
        lines += [f"| {fault.name} | " + " | ".join(_cells(fault, cell)) + " |" for fault in faults]
        lines.append("")
    return "\n".join(lines)


def _cells(fault: Fault, cell: Cell) -> list[str]:
    cells = []
    for network in Network:
        said = ""
        for engine in network.engines:
            text = cell(fault, network, engine) if engine in fault.engines(network) else ""
            cells.append("same" if text and text == said else text)
            said = text or said
    return cells
