"""What a file may be called, how long it may be, and what must not stand in it."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.rules.sources import DEVELOPMENT, PRODUCT, ROOT, imported_modules, name, python_files, text, texts, tree

LINES = {"server": 300, "clients": 300, "scripts": 300, "benchmarks": 300, "tests": 400}
LONGER = {
    "server/bellhop_server/ports.py": 600,  # What every adapter has to keep is read as one.
    "server/bellhop_server/domain/errors.py": 400,  # A closed list: one small class for each reason.
}
# Nothing of ours imports what callers import beside the client; what tests import is not the product.
FOR_CALLERS = {"bellhop_client.outbox", "bellhop_testing.fixtures"}
# This file holds what it looks for.
EVERYTHING = [path for path in python_files(*PRODUCT, *DEVELOPMENT) if path != Path(__file__)]

TEXTS = [path for path in texts() if path != Path(__file__)]

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError|pragma: no cover")
SILENCED = re.compile(r"#\s*(?:ruff: )?(noqa|type: ignore)")
SILENCED_TYPES = re.compile(r"#\s*type: ignore")
SILENCED_WITH_REASON = re.compile(r"#\s*(?:ruff: )?(noqa: [A-Z0-9, ]+|type: ignore\[[a-z-, ]+\]) *(?:- |\(|# )\S")
SOMEBODYS_FOLDER = re.compile(r"(?<![\w.])/(?:home|Users|root)/\w|[A-Z]:\\Users")


@pytest.mark.parametrize("folder", LINES)
def test_no_file_is_longer_than_a_reader_can_hold(folder: str) -> None:
    lengths = {name(path): text(path).count("\n") for path in python_files(folder)}
    assert {path: length for path, length in lengths.items() if length > LONGER.get(path, LINES[folder])} == {}


def test_every_module_says_what_it_is_by_its_name() -> None:
    nothing_said = {"utils", "util", "common", "helpers", "helper", "misc", "base", "core"}
    parts = {name(path): {*path.relative_to(ROOT).with_suffix("").parts} for path in EVERYTHING}
    assert [path for path, words in parts.items() if words & nothing_said] == []


def test_every_module_says_what_it_is_in_a_docstring() -> None:
    assert [name(path) for path in EVERYTHING if not ast.get_docstring(tree(path))] == []


def test_nothing_is_left_to_be_done() -> None:
    assert places(UNFINISHED) == []


def test_who_silences_a_check_says_why() -> None:
    silenced = {place for path in EVERYTHING for place in lines(path, SILENCED)}
    explained = {place for path in EVERYTHING for place in lines(path, SILENCED_WITH_REASON)}
    assert sorted(silenced - explained) == []


def test_what_mypy_does_not_read_does_not_silence_it() -> None:
    unread = python_files(*DEVELOPMENT)
    assert [place for path in unread if path != Path(__file__) for place in lines(path, SILENCED_TYPES)] == []


def test_no_path_belongs_to_one_machine() -> None:
    assert [place for path in TEXTS for place in lines(path, SOMEBODYS_FOLDER)] == []


def test_pages_and_settings_are_among_the_texts() -> None:
    read = {name(path) for path in TEXTS}
    assert {"README.md", "Makefile", ".ci/run", "docs/promises.md", "proto/bellhop/v1/notifier.proto"} <= read
    assert not any(path.startswith((".venv/", ".mypy_cache/")) or "__pycache__" in path for path in read)


@pytest.mark.parametrize(
    ("pattern", "found", "passed"),
    [
        (UNFINISHED, "x = 1  # TODO: two", "x = 1  # what is to do"),
        (SOMEBODYS_FOLDER, 'Path("/home/ann/x")', 'Path("a/home/ann")'),
        (SILENCED, "x  # noqa: S105 - why", "x  # quiet"),
        (SILENCED_TYPES, "x  # type: ignore[misc]  # why", "x  # noqa: S105 - why"),
        (SILENCED_WITH_REASON, "x  # noqa: S105 - why", "x  # noqa: S105"),
        (SILENCED_WITH_REASON, "x  # type: ignore[attr-defined]  # why", "x  # type: ignore[attr-defined]"),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern: re.Pattern[str], found: str, passed: str) -> None:
    assert pattern.search(found)
    assert not pattern.search(passed)


def test_every_module_is_used() -> None:
    """A module that nothing imports is dead, or was never wired in."""
    product = {module_name(path): path for path in python_files(*PRODUCT)}
    imported = {module for path in product.values() for module in imported_modules(path)}
    scripts = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["scripts"].values()
    started = {script.partition(":")[0] for script in scripts}
    # Alembic finds its modules by their folder.
    found = {module for module, path in product.items() if "migrations" in path.parts}
    packages = {module for module, path in product.items() if path.name == "__init__.py"}
    unused = product.keys() - imported - started - found - packages - FOR_CALLERS
    assert sorted(unused - {literal for path in product.values() for literal in literals(path)}) == []


def literals(path: Path) -> set[str]:
    """Every text in the file: a command's module is imported by its name."""
    constants = (node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


def module_name(path: Path) -> str:
    """The dotted name under which a file of the product is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    start = next(index for index, part in enumerate(parts) if part.startswith("bellhop_"))
    return ".".join(part for part in parts[start:] if part != "__init__")


def lines(path: Path, pattern: re.Pattern[str]) -> list[str]:
    """`file:line` of every line of the file in which the pattern is found."""
    return [f"{name(path)}:{number}" for number, line in enumerate(text(path).splitlines(), 1) if pattern.search(line)]


def places(pattern: re.Pattern[str]) -> list[str]:
    """`file:line` of every line of the checkout in which the pattern is found."""
    return [place for path in EVERYTHING for place in lines(path, pattern)]
