"""How the objects of a fault script are read: unknown keys and wrong kinds are told with their place."""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


class FaultScriptError(ValueError):
    """A fault script says something that no simulator understands; the text names the place."""


def check_keys(raw: Any, known: Collection[str], place: str) -> None:
    """Check that `raw` is an object with known keys only.

    Raises:
        FaultScriptError: it is not; names the nearest known key.
    """
    if not isinstance(raw, Mapping):
        raise FaultScriptError(f"{place}: must be an object")
    for key in raw:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
            raise FaultScriptError(f"{place}: unknown key {key!r}{hint}")


def checked(
    raw: Mapping[str, Any], kinds: Mapping[str, tuple[Callable[[Any], bool], str]], place: str
) -> dict[str, Any]:
    """The values of `raw` after a check of each against (test, what it must be).

    Raises:
        FaultScriptError: an unknown key, or a value that its test refuses.
    """
    check_keys(raw, kinds, place)
    for key, value in raw.items():
        test, expected = kinds[key]
        if not test(value):
            raise FaultScriptError(f"{place}.{key}: must be {expected}")
    return dict(raw)


def is_count(value: Any) -> bool:
    """A whole number from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_seconds(value: Any) -> bool:
    """A number from 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def is_text(value: Any) -> bool:
    """A text that UTF-8 can carry: JSON knows halves of surrogate pairs."""
    return isinstance(value, str) and _SURROGATE.search(value) is None


def is_flag(value: Any) -> bool:
    """True or false."""
    return isinstance(value, bool)
