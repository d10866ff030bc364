"""The files of this checkout, without what an environment or a tool holds."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("server", "clients")
DEVELOPMENT = ("tests", "scripts", "benchmarks")
TOOLS = ("__pycache__", "build", "dist")


def python_files(*folders: str) -> list[Path]:
    """Those below these folders of the checkout, in order; the folder that holds none has been misspelt or is gone."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, f"no Python file in {folders}"
    return found


def texts(folder: Path = ROOT) -> Iterator[Path]:
    """Every file below that holds text, without the folders of tools: a dot before the name, a build, a cache."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            of_a_tool = path.name.startswith(".") or path.name in TOOLS or (path / "pyvenv.cfg").exists()
            if path.name == ".ci" or not of_a_tool:
                yield from texts(path)
        elif b"\0" not in path.read_bytes():
            yield path


def name(path: Path) -> str:
    """How a file is told: its path within the checkout."""
    return path.relative_to(ROOT).as_posix()


@cache
def text(path: Path) -> str:
    """What the file holds."""
    return path.read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    """What the file says."""
    return ast.parse(text(path), filename=name(path))


def imported_modules(path: Path) -> Iterator[str]:
    """Every absolute module that the file imports, at whatever place."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno}: imports are absolute here"
            assert node.module is not None
            yield node.module
            # A name may be a module of that package; whoever looks it up knows.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
