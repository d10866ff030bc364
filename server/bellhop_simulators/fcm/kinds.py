"""How JSON is read into messages of the API: the JSON form of protobuf, with Google's complaints.

Names come in lowerCamelCase or snake_case, null is a field that is not set, an unknown name is refused.
"""

import datetime
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Violations = list[tuple[str, str]]
"""(field, description) of each fault that was found."""

_CAPITAL = re.compile(r"[A-Z]")
_DURATION = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?s")
_INT32 = re.compile(r"-?[0-9]{1,10}")
_FLOAT_END = 3.5e38


class Kind(Protocol):
    """What a field may hold."""

    def read(self, value: Any, place: str, faults: Violations) -> Any:
        """The value if it is one; else a fault is added to `faults` and it is None."""


@dataclass(frozen=True)
class Scalar:
    """One value that passes `test`."""

    label: str
    test: Callable[[Any], bool]

    def read(self, value: Any, place: str, faults: Violations) -> Any:
        """As of `Kind`."""
        if self.test(value):
            return value
        _complain(self.label, value, place, faults)
        return None


@dataclass(frozen=True)
class TextMap:
    """An object whose values are texts."""

    def read(self, value: Any, place: str, faults: Violations) -> dict[str, str] | None:
        """As of `Kind`."""
        if not isinstance(value, dict):
            _complain("object", value, place, faults)
            return None
        for number, one in enumerate(value.values()):
            TEXT.read(one, f"{place}[{number}].value", faults)
        return value


@dataclass(frozen=True)
class Listed:
    """A list."""

    of: Kind

    def read(self, value: Any, place: str, faults: Violations) -> list[Any]:
        """As of `Kind`; a lone value is a list of one, as Google reads it."""
        values = value if isinstance(value, list) else [value]
        return [self.of.read(one, f"{place}[{number}]", faults) for number, one in enumerate(values)]


@dataclass(frozen=True)
class Record:
    """A message: an object with known fields; of each of the `oneofs` at most one may be set."""

    label: str
    fields: Mapping[str, Kind]
    oneofs: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def read(self, value: Any, place: str, faults: Violations) -> dict[str, Any] | None:
        """As of `Kind`: the object with its names in snake_case, without what is null."""
        if not isinstance(value, dict):
            _complain(self.label, value, place, faults)
            return None
        result: dict[str, Any] = {}
        for name, one in value.items():
            snake = _CAPITAL.sub(lambda match: f"_{match[0].lower()}", name)
            kind = self.fields.get(snake)
            if kind is None:
                at = f" at '{place}'" if place else ""
                told = f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.'
                faults.append((place, told))
            elif one is not None:
                if snake in result:
                    faults.append((place, f"Invalid value at '{place}', field '{snake}' is already set."))
                self._check_oneofs(snake, result, place, faults)
                result[snake] = kind.read(one, f"{place}.{snake}" if place else snake, faults)
        return result

    def _check_oneofs(self, name: str, before: dict[str, Any], place: str, faults: Violations) -> None:
        for oneof, members in self.oneofs.items():
            if name in members and not members.isdisjoint(before):
                told = f"Invalid value at '{place}' (oneof), oneof field '{oneof}' is already set. Cannot set '{name}'"
                faults.append((place, told))


def choice(label: str, *names: str) -> Scalar:
    """One of the values of an enum, by number, or by name in either case, as Google's own libraries send it."""

    def test(value: Any) -> bool:
        return _is_int(value, 0, len(names)) or (isinstance(value, str) and value.upper() in names)

    return Scalar(label, test)


def seconds(duration: str) -> float:
    """What a `DURATION` says."""
    return float(duration[:-1])


def _complain(label: str, value: Any, place: str, faults: Violations) -> None:
    faults.append((place, f"Invalid value at '{place}' ({label}), {json.dumps(value)[:200]}"))


def _is_int(value: Any, start: int, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and start <= value < end


def _is_int32(value: Any) -> bool:
    number = int(value) if isinstance(value, str) and _INT32.fullmatch(value) else value
    return _is_int(number, -(2**31), 2**31)


def _is_float(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FLOAT_END


def _is_time(value: Any) -> bool:
    try:
        return datetime.datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


TEXT = Scalar("TYPE_STRING", lambda value: isinstance(value, str))
FLAG = Scalar("TYPE_BOOL", lambda value: isinstance(value, bool))
INT32 = Scalar("TYPE_INT32", _is_int32)
"""Also as text."""
FLOAT = Scalar("TYPE_FLOAT", _is_float)
DURATION = Scalar(
    "type.googleapis.com/google.protobuf.Duration",
    lambda value: isinstance(value, str) and _DURATION.fullmatch(value) is not None,
)
"""Seconds with `s` behind them."""
TIMESTAMP = Scalar("type.googleapis.com/google.protobuf.Timestamp", _is_time)
"""A time as RFC 3339 has it."""
STRUCT = Scalar("type.googleapis.com/google.protobuf.Struct", lambda value: isinstance(value, dict))
"""Any JSON object."""
