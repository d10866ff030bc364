"""Rules of JSON objects that travel to a provider as they are: what may be in them, as far as the provider says."""

import math
import re
from collections.abc import Callable, Mapping

from google.protobuf.struct_pb2 import Struct, Value

from bellhop_server.rpc.rules import Findings, entry, joined

# What is wrong with a value, or nothing.
Check = Callable[[Value], str]


def json_object(found: Findings, path: str, struct: Struct) -> None:
    """Whatever JSON can say."""
    for key, value in sorted(struct.fields.items()):
        _json(found, entry(path, key), value)


def _json(found: Findings, path: str, value: Value) -> None:
    match value.WhichOneof("kind"):
        case None:
            found.add(path, "has no value")
        case "number_value" if not math.isfinite(value.number_value):
            found.add(path, "is not a number of JSON")
        case "struct_value":
            json_object(found, path, value.struct_value)
        case "list_value":
            for index, each in enumerate(value.list_value.values):
                _json(found, f"{path}[{index}]", each)


def known_keys(
    found: Findings, path: str, struct: Struct, checks: Mapping[str, Check], spelt: Callable[[str], str] = str
) -> None:
    """Values of the keys that are documented. `spelt` brings a key into the spelling of `checks`."""
    for key, value in sorted(struct.fields.items()):
        check = checks.get(spelt(key))
        if check is not None and (description := check(value)):
            found.add(entry(path, key), description)


def is_text(value: Value) -> str:
    return "" if value.HasField("string_value") else "is not a text"


def is_number(value: Value) -> str:
    return "" if value.HasField("number_value") else "is not a number"


def is_whole(value: Value) -> str:
    return "" if value.HasField("number_value") and value.number_value.is_integer() else "is not a whole number"


def is_count(value: Value) -> str:
    return is_whole(value) or ("must not be negative" if value.number_value < 0 else "")


def is_truth(value: Value) -> str:
    return "" if value.HasField("bool_value") else "is neither true nor false"


def is_flag(value: Value) -> str:
    flag = value.HasField("bool_value") or (value.HasField("number_value") and value.number_value in (0, 1))
    return "" if flag else "is neither 0 nor 1"


def is_object(value: Value) -> str:
    return "" if value.HasField("struct_value") else "is not an object"


def is_text_or_object(value: Value) -> str:
    return "" if value.HasField("string_value") or value.HasField("struct_value") else "is neither a text nor an object"


def is_texts(value: Value) -> str:
    texts = value.HasField("list_value") and all(each.HasField("string_value") for each in value.list_value.values)
    return "" if texts else "is not a list of texts"


def is_one_of(*words: str) -> Check:
    """One of these texts."""

    def check(value: Value) -> str:
        return "" if value.HasField("string_value") and value.string_value in words else f"is none of {joined(words)}"

    return check


def is_like(pattern: re.Pattern[str], description: str) -> Check:
    """A text, the whole of which matches."""

    def check(value: Value) -> str:
        matches = value.HasField("string_value") and pattern.fullmatch(value.string_value)
        return "" if matches else f"is not {description}"

    return check
