"""`docs/fault-matrix.md`: the table of faults for people."""

from pathlib import Path

from tests.faults.matrix import FAULTS
from tests.faults.networks import ENGINES, Network

PAGE = Path(__file__).parents[2] / "docs" / "fault-matrix.md"

_HEAD = f"""# What may go wrong, and what the sender is told

Each fault is played by the [simulators](simulators.md) while a message goes to 40 devices (200 where it is a share of
them), from `Send` to the streamed result, over TLS, with both HTTP/2 engines ({" and ".join(ENGINES)}), which tell the
same. In every cell the test holds what was told against the journal of the provider: ACCEPTED was taken once, UNKNOWN
once at most, anything else not at all; nobody got it of whom nobody was told; the counts add up, and the stream,
GetMessage and ListResults say the same.

A cell says what is told to how many devices; without a number it is some of them. An empty cell: it cannot happen
there. "Retired": those devices are DEAD afterwards, and no others.

This page is made of `tests/faults/matrix.py` by `make faults`; a test holds them together.
"""


def page() -> str:
    """The whole page."""
    rows = ["| fault | " + " | ".join(Network) + " |", "|---" * (len(Network) + 1) + "|"]
    for fault in FAULTS:
        cells = [fault.cases[network].text if network in fault.cases else "" for network in Network]
        rows.append(f"| {fault.name} | " + " | ".join(cells) + " |")
    return "\n".join((_HEAD, *rows, ""))
