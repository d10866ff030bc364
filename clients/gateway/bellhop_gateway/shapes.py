"""What JSON a message of the contract may come as: proto3 JSON, and no more than that.

Stricter than a parser of protobuf's own has to be: whatever would be guessed at, or taken for a default, is refused, so
that what is documented is what is taken.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

Violation = tuple[str, str]
"""A field by its path, and what is wrong with it."""

_INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
}


def violations(descriptor: Descriptor, value: Mapping[str, Any], path: str = "") -> Iterator[Violation]:
    """Everything in an object that is not as the message has it."""
    known = {key: field for field in descriptor.fields for key in (field.name, field.json_name)}
    seen: dict[str, str] = {}
    for key, each in value.items():
        field = known.get(key)
        here = f"{path}.{key}" if path else key
        if field is None:
            yield here, f"is no field of {descriptor.name}"
            continue
        group = _group(field)
        if group in seen:
            yield here, f"cannot come together with {seen[group]}"
            continue
        seen[group] = key
        yield from _of_field(field, each, here)


def _group(field: FieldDescriptor) -> str:
    """What at most one of may come: a field under either of its names, or one of a oneof."""
    oneof = field.containing_oneof
    synthetic = oneof is not None and len(oneof.fields) == 1 and oneof.name == f"_{field.name}"
    return f"/{oneof.name}" if oneof is not None and not synthetic else field.name


def value_of_map(field: FieldDescriptor) -> FieldDescriptor | None:
    """What the values of a map are, which is an object in JSON; None: it is no map."""
    entry = field.message_type
    return entry.fields_by_name["value"] if entry is not None and entry.GetOptions().map_entry else None


def _of_field(field: FieldDescriptor, value: Any, path: str) -> Iterator[Violation]:
    if (values := value_of_map(field)) is not None:
        if not isinstance(value, dict):
            yield path, "must be an object"
            return
        for key, each in value.items():
            yield from _of_value(values, each, f"{path}.{key}")
    elif field.is_repeated:
        if not isinstance(value, list):
            yield path, "must be a list"
            return
        for index, each in enumerate(value):
            yield from _of_value(field, each, f"{path}[{index}]")
    else:
        yield from _of_value(field, value, path)


def _of_value(field: FieldDescriptor, value: Any, path: str) -> Iterator[Violation]:
    message = field.message_type
    if message is None:
        problem = _scalar(field, value)
    elif (check := _WELL_KNOWN.get(message.full_name)) is not None:
        problem = check(value)
    elif isinstance(value, dict):
        yield from violations(message, value, path)
        return
    else:
        problem = "must be an object"
    if problem:
        yield path, problem


def _scalar(field: FieldDescriptor, value: Any) -> str:
    """What is wrong; empty: nothing."""
    if field.type in _INTEGERS:
        return _integer(value, *_INTEGERS[field.type])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return "" if isinstance(value, bool) else "must be true or false"
    if field.enum_type is not None:
        names = field.enum_type.values_by_name
        return "" if isinstance(value, str) and value in names else f"must be one of {', '.join(names)}"
    if not isinstance(value, str):
        return "must be a string"
    return _bytes(value) if field.type == FieldDescriptor.TYPE_BYTES else _unicode(value)


def _integer(value: Any, least: int, most: int) -> str:
    if isinstance(value, str) and value.removeprefix("-").isdigit() and value.isascii() and len(value) <= 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return "must be an integer"
    return "" if least <= value <= most else f"must be from {least} to {most}"


def _bytes(value: str) -> str:
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return "must be base64"
    return ""


def _unicode(value: str) -> str:
    return "" if value.isascii() or value.encode("utf-8", "replace").decode() == value else "has half a character"


def _timestamp(value: Any) -> str:
    return _parsed(Timestamp().FromJsonString, value, 'must be a time such as "2026-11-24T10:00:00Z" (RFC 3339)')


def _duration(value: Any) -> str:
    return _parsed(Duration().FromJsonString, value, 'must be a number of seconds such as "3.5s"')


def _parsed(parse: Callable[[str], None], value: Any, wanted: str) -> str:
    if not isinstance(value, str):
        return wanted
    try:
        parse(value)
    except (ValueError, OverflowError):
        return wanted
    return ""


def _struct(value: Any) -> str:
    return "" if isinstance(value, dict) else "must be an object"


_WELL_KNOWN: dict[str, Callable[[Any], str]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "google.protobuf.Struct": _struct,
}
