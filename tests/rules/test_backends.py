"""The contract suite runs on both databases, test by test."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

COLLECT = """
import json, pathlib, sys
import pytest

class Collector:
    def pytest_collection_finish(self, session):
        found = []
        for item in session.items:
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            found.append({
                "test": f"{item.path.name}::{item.originalname}",
                "fixtures": item.fixturenames,
                "parameters": {name: repr(value) for name, value in parameters.items()},
            })
        pathlib.Path(sys.argv[1]).write_text(json.dumps(found))

sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "tests/contract"], plugins=[Collector()]))
"""


def test_both_databases_run_the_very_same_tests(tmp_path: Path) -> None:
    found = tmp_path / "collected.json"
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, str(found)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

    runs: dict[str | None, set[str]] = {}
    for item in json.loads(found.read_text()):
        # A test that asks for one of the two by name would say nothing about the other.
        assert not {"sqlite_url", "postgresql_url", "postgresql"} & set(item["fixtures"]), item["test"]
        backend = item["parameters"].pop("database_url", None)
        runs.setdefault(backend, set()).add(f"{item['test']} {item['parameters']}")
        assert (backend is None) == ("database_url" not in item["fixtures"]), item["test"]

    assert runs["'sqlite'"] == runs["'postgresql'"]
    assert len(runs["'sqlite'"]) > 50
    assert set(runs) <= {None, "'sqlite'", "'postgresql'"}
