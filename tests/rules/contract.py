"""The contract as its committed descriptors tell it, with comments. `test_stubs` holds them equal to the sources."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

ROOT = Path(__file__).parents[2]
SET = FileDescriptorSet.FromString((ROOT / "proto/bellhop/v1/descriptors.binpb").read_bytes())
FILES = [file for file in SET.file if file.package == "bellhop.v1"]
MESSAGES = {f".{file.package}.{message.name}": message for file in FILES for message in file.message_type}


class Method(NamedTuple):
    """A method and its comment."""

    name: str
    descriptor: MethodDescriptorProto
    comment: str


class Field(NamedTuple):
    """A field and its comment; `sent`: callers send it, `in_oneof`: one of several, of which at most one is set."""

    name: str
    descriptor: FieldDescriptorProto
    comment: str
    sent: bool
    is_map: bool = False
    in_oneof: bool = False


class Oneof(NamedTuple):
    """A oneof and its comment; `sent`: callers send it."""

    name: str
    comment: str
    sent: bool


class Reason(NamedTuple):
    """A value of ErrorReason without its prefix, and its comment."""

    name: str
    comment: str


def comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """Comment by place, a path of field numbers and indices (descriptor.proto, SourceCodeInfo.Location.path)."""
    return {tuple(place.path): place.leading_comments for place in file.source_code_info.location}


def services() -> Iterator[tuple[str, str]]:
    """Name and comment of every service."""
    for file in FILES:
        text = comments(file)
        for s, service in enumerate(file.service):
            yield service.name, text.get((6, s), "")


def methods() -> Iterator[Method]:
    """Every method."""
    for file in FILES:
        text = comments(file)
        for s, service in enumerate(file.service):
            for m, method in enumerate(service.method):
                yield Method(f"{service.name}.{method.name}", method, text.get((6, s, 2, m), ""))


def sent_messages() -> set[str]:
    """Full names of the messages that are, or are part of, a request."""
    found: set[str] = set()
    waiting = [method.descriptor.input_type for method in methods()]
    while waiting:
        name = waiting.pop()
        if name in MESSAGES and name not in found:
            found.add(name)
            waiting += [field.type_name for field in MESSAGES[name].field]
    return found


def fields() -> Iterator[Field]:
    """Every field of every message."""
    sent = sent_messages()
    for file in FILES:
        text = comments(file)
        for m, message in enumerate(file.message_type):
            maps = {nested.name for nested in message.nested_type if nested.options.map_entry}
            for f, field in enumerate(message.field):
                yield Field(
                    name=f"{message.name}.{field.name}",
                    descriptor=field,
                    comment=text.get((4, m, 2, f), ""),
                    sent=f".{file.package}.{message.name}" in sent,
                    is_map=field.type_name.rpartition(".")[2] in maps,
                    in_oneof=field.HasField("oneof_index") and not field.proto3_optional,
                )


def oneofs() -> Iterator[Oneof]:
    """Every oneof that is written as one, so none that protoc makes for an `optional` field."""
    sent = sent_messages()
    for file in FILES:
        text = comments(file)
        for m, message in enumerate(file.message_type):
            for o, oneof in enumerate(message.oneof_decl):
                if not is_synthetic(message, o):
                    is_sent = f".{file.package}.{message.name}" in sent
                    yield Oneof(f"{message.name}.{oneof.name}", text.get((4, m, 8, o), ""), is_sent)


def is_synthetic(message: DescriptorProto, index: int) -> bool:
    """Whether protoc made this oneof for an `optional` field."""
    return any(f.proto3_optional for f in message.field if f.HasField("oneof_index") and f.oneof_index == index)


def reasons() -> Iterator[Reason]:
    """Every value of ErrorReason but the zero one."""
    file = next(file for file in FILES if file.name == "bellhop/v1/error_reason.proto")
    text = comments(file)
    for v, value in enumerate(file.enum_type[0].value):
        if value.number:
            yield Reason(value.name.removeprefix("ERROR_REASON_"), text.get((5, 0, 2, v), ""))
