"""What a part of the soak has to say."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Report:
    """Lines of Markdown, and how many of its rounds broke a promise."""

    lines: list[str]
    failures: int
