"""`python -m benchmarks [fanout] [memory] [registration] [items]`: Markdown on standard output. Default: all."""

import os
import platform
import sys
from collections.abc import Callable

from benchmarks.fanout import fanout
from benchmarks.items import items
from benchmarks.memory import memory
from benchmarks.registration import registration
from benchmarks.stage import Stage, stage

DEVICES = 100_000
AUDIENCES = (10_000, 1_000_000)

PARTS: dict[str, tuple[str, Callable[[Stage], list[str]]]] = {
    "fanout": (f"Fan-out of one message to {DEVICES:,} devices", lambda on: fanout(on, DEVICES)),
    "memory": ("Memory by the size of the audience", lambda on: memory(on, AUDIENCES)),
    "registration": ("Registration under 64 callers", registration),
    "items": ("Planned devices as rows and packed", items),
}


def main(names: list[str]) -> None:
    """Runs the named parts."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    print(f"{os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}")
    with stage() as on:
        for name in names or PARTS:
            title, measure = PARTS[name]
            print(f"\n## {title}\n", flush=True)
            print("\n".join(measure(on)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
