"""`python -m benchmarks [PART …] [--devices N …]`: Markdown on standard output. Without a part: all."""

import argparse
import os
import platform
from collections.abc import Callable
from dataclasses import fields

from benchmarks.encryption import encryption
from benchmarks.fanout import fanout
from benchmarks.items import items
from benchmarks.memory import memory
from benchmarks.networks import networks
from benchmarks.profiling import profile
from benchmarks.registration import registration
from benchmarks.sendmany import sendmany
from benchmarks.singles import singles
from benchmarks.sizes import Sizes
from benchmarks.stage import DATABASES, Stage, stage

PARTS: dict[str, tuple[str, Callable[[Stage, Sizes], list[str]]]] = {
    "fanout": ("Fan-out of one message to {sizes.devices:,} devices", fanout),
    "profile": ("Where the time of a fan-out goes", profile),
    "memory": ("Memory by the size of the audience", memory),
    "registration": ("Registration under 64 callers", registration),
    "singles": ("Single sends and logouts, idle and during a broadcast to {sizes.broadcast:,}", singles),
    "sendmany": ("Messages to one device each, {sizes.messages:,} on a stream", sendmany),
    "encryption": ("Encryptions of a Web Push", encryption),
    "networks": ("Adapters alone, {sizes.sends:,} sends each", networks),
    "items": ("Planned devices as rows and packed", items),
}


def main() -> None:
    """Runs the named parts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What Bellhop costs.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; without one: all")
    sizes = Sizes()
    for field in fields(Sizes):
        default = getattr(sizes, field.name)
        if isinstance(default, tuple):
            choices = tuple(DATABASES) if field.name == "databases" else None
            kind = type(default[0])
            parser.add_argument(f"--{field.name}", nargs="+", type=kind, default=default, choices=choices)
        else:
            parser.add_argument(f"--{field.name}", type=type(default), default=default)
    told = vars(parser.parse_args())
    names = told.pop("parts") or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    sizes = Sizes(**told)
    print(f"{os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}")
    with stage() as on:
        for name in names:
            title, measure = PARTS[name]
            print(f"\n## {title.format(sizes=sizes)}\n", flush=True)
            print("\n".join(measure(on, sizes)), flush=True)


if __name__ == "__main__":
    main()
