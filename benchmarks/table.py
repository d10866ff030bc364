"""Tables of Markdown."""

from collections.abc import Iterable


def table(heads: str, rows: Iterable[Iterable[object]]) -> list[str]:
    """Lines of Markdown; `heads` are separated by bars."""
    names = [head.strip() for head in heads.split("|")]
    return [_line(names), "|" + "---|" * len(names), *(_line(row) for row in rows)]


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
