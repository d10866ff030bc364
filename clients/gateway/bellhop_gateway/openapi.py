"""The OpenAPI document: from the route table, the descriptors and the comments of the contract."""

from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

import bellhop.v1
from bellhop_gateway.metadata import CREDENTIALS, LONGEST_SECONDS, TIMEOUT
from bellhop_gateway.requests import readable
from bellhop_gateway.routes import PREFIX, Route, by_path, operations
from bellhop_gateway.shapes import value_of_map
from bellhop_gateway.streaming import EVENTS, LINES

_WELL_KNOWN: dict[str, dict[str, Any]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.Struct": {"type": "object"},
}
_SCALARS: dict[int, dict[str, Any]] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    # JSON's numbers are too small for it in many languages.
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"},
}
_ERROR = {
    "type": "object",
    "description": "What went wrong (AIP-193).",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "status", "message", "details"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "status": {"type": "string", "description": "The name of the gRPC status code."},
                "message": {"type": "string", "description": "For people."},
                "details": {
                    "type": "array",
                    "description": "`google.rpc.ErrorInfo` with the reason, and others that apply, each by `@type`.",
                    "items": {"type": "object"},
                },
            },
        }
    },
}
_REFUSALS = (400, 401, 403, 404, 405, 409, 413, 415, 429, 500, 503, 504)


@cache
def document(*, signs_in: bool) -> dict[str, Any]:
    """The whole document, an OpenAPI 3.1 object; with the routes of signed-in users if there are any."""
    schemas: dict[str, Any] = {"Error": _ERROR}
    paths: dict[str, Any] = {}
    names = {route: name for name, route in operations()}
    for path, routes in by_path().items():
        if routes[0].signed_in and not signs_in:
            continue
        paths[PREFIX + path] = {route.method.lower(): _operation(names[route], route, schemas) for route in routes}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bellhop",
            "version": version("bellhop-push"),
            "summary": "Push notifications to people, not devices.",
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _security_schemes()},
        "security": [{"app-id": [], kind: []} for kind in CREDENTIALS if kind != "app-id"] + [{"app-id": []}],
    }


def _operation(name: str, route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    request, response = route.descriptor.input_type, route.descriptor.output_type
    comment = _comments().get(route.descriptor.full_name, "")
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [route.descriptor.containing_service.name],
        "summary": comment.partition("\n\n")[0].replace("\n", " "),
        "description": comment,
        "parameters": [*_path_parameters(route), *_query_parameters(route, schemas), _TIMEOUT_PARAMETER],
        "responses": {"200": _success(route, _reference(response, schemas))} | _refusals(),
    }
    if route.body:
        schema = _reference(request, schemas)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


_TIMEOUT_PARAMETER = {
    "name": TIMEOUT,
    "in": "header",
    "description": "Seconds that the client will wait.",
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_SECONDS},
}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    fields = (route.descriptor.input_type.fields_by_name[name] for name in route.fields)
    schema = {"type": "string", "minLength": 1}
    return [{"name": each.name, "in": "path", "required": True, "schema": schema} | _described(each) for each in fields]


def _query_parameters(route: Route, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if route.body:
        return []
    return [
        {"name": field.json_name, "in": "query", "schema": _field(field, schemas)} | _described(field)
        for field in route.descriptor.input_type.fields
        if field.name not in route.fields and readable(field)
    ]


def _described(field: FieldDescriptor) -> dict[str, str]:
    return {"description": _comments().get(field.full_name, "")}


def _success(route: Route, schema: dict[str, Any]) -> dict[str, Any]:
    if not route.descriptor.server_streaming:
        return {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    text = {"schema": {"type": "string", "description": "Each a JSON object as in `items`.", "items": schema}}
    return {
        "description": "One object after the other, each on a line or as an event. An error amid them is the last.",
        "content": {LINES: text, EVENTS: text},
    }


def _refusals() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {str(status): {"description": "Refused; `error` says why.", "content": content} for status in _REFUSALS}


def _reference(descriptor: Descriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    if descriptor.name not in schemas:
        schemas[descriptor.name] = {}  # First, since a message may hold itself.
        schemas[descriptor.name] = {
            "type": "object",
            "description": _comments().get(descriptor.full_name, ""),
            "properties": {each.json_name: _field(each, schemas) | _described(each) for each in descriptor.fields},
            "additionalProperties": False,
        }
    return {"$ref": f"#/components/schemas/{descriptor.name}"}


def _field(field: FieldDescriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    if (values := value_of_map(field)) is not None:
        return {"type": "object", "additionalProperties": _value(values, schemas)}
    value = _value(field, schemas)
    return {"type": "array", "items": value} if field.is_repeated else value


def _value(field: FieldDescriptor, schemas: dict[str, Any]) -> dict[str, Any]:
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.message_type is None:
        return dict(_SCALARS[field.type])
    known = _WELL_KNOWN.get(field.message_type.full_name)
    return dict(known) if known is not None else _reference(field.message_type, schemas)


def _enum(descriptor: EnumDescriptor) -> dict[str, Any]:
    return {"type": "string", "enum": [value.name for value in descriptor.values]}


def _security_schemes() -> dict[str, Any]:
    keys = {kind: {"type": "apiKey", "in": "header", "name": kind} for kind in CREDENTIALS if kind != "authorization"}
    return keys | {"authorization": {"type": "http", "scheme": "bearer"}}


@cache
def _comments() -> dict[str, str]:
    """The comments of the contract by full name."""
    described = FileDescriptorSet.FromString((files(bellhop.v1) / "descriptors.binpb").read_bytes())
    found: dict[str, str] = {}
    for file in described.file:
        told = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}

        def note(name: str, *path: int, told: dict[tuple[int, ...], str] = told, package: str = file.package) -> None:
            text = "\n".join(line.removeprefix(" ") for line in told.get(path, "").splitlines())
            found[f"{package}.{name}"] = text.strip()

        for m, message in enumerate(file.message_type):
            note(message.name, 4, m)
            for f, field in enumerate(message.field):
                note(f"{message.name}.{field.name}", 4, m, 2, f)
        for s, service in enumerate(file.service):
            for r, method in enumerate(service.method):
                note(f"{service.name}.{method.name}", 6, s, 2, r)
    return found
