"""`bellhop serve`, with the names of its threads told to the system, and a profiler in the thread of the event loop.

`python profiled.py FILE`: the first SIGUSR1 starts cProfile, the second stops it and writes FILE. It counts CPU time of
that thread alone, so waiting for another one is not mistaken for work.
"""

import cProfile
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from bellhop_cli.main import main

LOOP = "event-loop"


def _name(name: str) -> None:
    """The system keeps 15 bytes."""
    Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name[:15])


def _name_new_thread(*_: Any) -> None:
    """Runs in each new thread before its own work, as its profile function, which it stops being at once."""
    sys.setprofile(None)
    _name(threading.current_thread().name)


def _toggle_profile_on_signal(file: Path) -> None:
    profile = cProfile.Profile(time.thread_time)
    running = False

    def toggle(*_: Any) -> None:
        nonlocal running
        if running:
            profile.disable()
            profile.dump_stats(f"{file}.new")
            Path(f"{file}.new").rename(file)
        else:
            profile.enable()
        running = not running

    signal.signal(signal.SIGUSR1, toggle)


if __name__ == "__main__":
    threading.setprofile(_name_new_thread)
    _name(LOOP)
    _toggle_profile_on_signal(Path(sys.argv[1]))
    main(["serve"])
