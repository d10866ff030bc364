"""Percentiles by the nearest rank."""

from collections.abc import Sequence


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The least of the values, in ascending order, that at least so many percent do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
