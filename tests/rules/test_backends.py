"""The contract suite runs on both databases, test by test."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_both_databases_run_the_very_same_tests() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/contract"]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert collected.returncode == 0, collected.stdout + collected.stderr
    ids = {line for line in collected.stdout.splitlines() if "::" in line}
    on_sqlite = {test.replace("sqlite", "*") for test in ids if "[" in test and "sqlite" in test.partition("[")[2]}
    on_postgresql = {
        test.replace("postgresql", "*") for test in ids if "[" in test and "postgresql" in test.partition("[")[2]
    }

    assert on_sqlite == on_postgresql
    # No test of the suite is for one of them, or for none.
    assert len(ids) == len(on_sqlite) + len(on_postgresql)
    assert len(on_sqlite) > 50
