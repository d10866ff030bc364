"""README says which promises hold; every one that it claims has tests marked with its name, and no other has."""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.rules.sources import ROOT, name, python_files, tree

PROMISES = [f"P{number}" for number in range(1, 13)]
ROW = re.compile(r"^\| (P\d+) ([a-z, ]+) \| (.+) \| (holds|in part|not yet)(: .+)? \|$", re.MULTILINE)


class Marked(NamedTuple):
    """A mark on a test: which promise, and where it stands."""

    promise: str
    place: str
    on: str


def claims() -> dict[str, str]:
    """What README's table says of each promise: holds, in part, or not yet."""
    return {row[0]: row[3] for row in ROW.findall((ROOT / "README.md").read_text(encoding="utf-8"))}


def marks() -> Iterator[Marked]:
    """Every `pytest.mark.promise(...)` of the tests."""
    for path in python_files("tests"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for call in map(promise_of, node.decorator_list):
                    if call is not None:
                        yield Marked(call, f"{name(path)}:{node.lineno}", node.name)
            elif isinstance(node, ast.Assign) and any(ast.unparse(target) == "pytestmark" for target in node.targets):
                values = node.value.elts if isinstance(node.value, ast.List) else [node.value]
                for call in map(promise_of, values):
                    if call is not None:
                        yield Marked(call, f"{name(path)}:{node.lineno}", path.stem)


def promise_of(node: ast.expr) -> str | None:
    """The name in a `pytest.mark.promise("P1")`; None for any other expression."""
    if not isinstance(node, ast.Call) or ast.unparse(node.func) != "pytest.mark.promise":
        return None
    (argument,) = node.args
    assert isinstance(argument, ast.Constant), "a promise is named by a literal, so that it can be searched for"
    return str(argument.value)


def test_readme_tells_all_of_them() -> None:
    assert list(claims()) == PROMISES


def test_promises_md_explains_all_of_them() -> None:
    headings = re.findall(r"^## (P\d+) ", (ROOT / "docs/promises.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == PROMISES


@pytest.mark.parametrize("promise", PROMISES)
def test_what_is_claimed_is_tested_and_what_is_tested_is_claimed(promise: str) -> None:
    tested = [mark.place for mark in marks() if mark.promise == promise]
    assert bool(tested) == (claims()[promise] != "not yet"), tested


def test_marks_name_promises() -> None:
    assert [mark for mark in marks() if mark.promise not in PROMISES] == []


def test_marks_stand_on_what_pytest_collects() -> None:
    assert [mark for mark in marks() if not re.match(r"test_|Test", mark.on)] == []
