"""HTTP requests as messages of the contract: from path, query and body, by the descriptors."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from bellhop_gateway.errors import invalid
from bellhop_gateway.routes import Route
from bellhop_gateway.shapes import Violation, violations

# Well-known types that proto3 JSON writes as a text.
_TEXTUAL = ("google.protobuf.Timestamp", "google.protobuf.Duration")
MOST_VIOLATIONS = 25


class BodyUnreadable(Exception):
    """The body is not JSON; the text says why."""


def read_body(raw: bytes) -> dict[str, Any]:
    """The object in a body; an empty body has none. Raises BodyUnreadable."""
    if not raw.strip():
        return {}
    try:
        decoded = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise BodyUnreadable("is not UTF-8") from None
    except RecursionError:
        raise BodyUnreadable("is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise BodyUnreadable(f"is not JSON: line {error.lineno}, column {error.colno}") from None
    except ValueError as error:
        raise BodyUnreadable(str(error) if type(error) is _Peculiar else "has a number that is too long") from None
    if not isinstance(decoded, dict):
        raise BodyUnreadable("is not a JSON object")
    return decoded


class _Peculiar(ValueError):
    """JSON that means different things to different readers (RFC 8259 sections 4 and 6)."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Peculiar("has the same key twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise _Peculiar(f"has {name}, which is not a number in JSON")


def build(route: Route, path: Mapping[str, str], query: Sequence[tuple[str, str]], body: Mapping[str, Any]) -> Message:
    """The request of a route's RPC. Raises Refused with everything that is wrong."""
    descriptor = route.descriptor.input_type
    if route.body:
        fields, wrong = dict(body), [(name, "belongs in the body") for name, _ in query]
    else:
        fields, wrong = _query_fields(descriptor, query, route)
    for name, value in path.items():
        field = descriptor.fields_by_name[name]
        given = [fields.pop(key) for key in {field.name, field.json_name} if key in fields]
        if any(each != value for each in given):
            wrong.append((field.json_name, "is another one than in the path"))
        fields[field.json_name] = value
    return parse(descriptor, fields, wrong)


def parse(descriptor: Descriptor, fields: Mapping[str, Any], wrong: Sequence[Violation] = ()) -> Message:
    """A message from its JSON. Raises Refused, also for what was `wrong` before."""
    try:
        found = [*wrong, *islice(violations(descriptor, fields), MOST_VIOLATIONS)]
        if found:
            raise invalid(*found[:MOST_VIOLATIONS])
        return ParseDict(dict(fields), GetMessageClass(descriptor)())
    except (ParseError, RecursionError):
        raise invalid(("body", f"cannot be read as a {descriptor.name}")) from None


def _query_fields(
    descriptor: Descriptor, query: Iterable[tuple[str, str]], route: Route
) -> tuple[dict[str, Any], list[Violation]]:
    known = {key: field for field in descriptor.fields for key in (field.name, field.json_name)}
    fields: dict[str, Any] = {}
    wrong: list[Violation] = []
    for key, text in query:
        field = known.get(key)
        if field is None or field.name in route.fields or not readable(field):
            wrong.append((key, f"is no parameter of {route.descriptor.name}"))
            continue
        value = _value(field, text)
        if field.is_repeated:
            fields.setdefault(field.json_name, []).append(value)
        elif field.json_name in fields:
            wrong.append((key, "is given twice"))
        else:
            fields[field.json_name] = value
    return fields, wrong


def readable(field: FieldDescriptor) -> bool:
    """Whether a text in a query can say it."""
    return field.message_type is None or field.message_type.full_name in _TEXTUAL


def _value(field: FieldDescriptor, text: str) -> Any:
    """As JSON would have it."""
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"true": True, "false": False}.get(text, text)
    return text
