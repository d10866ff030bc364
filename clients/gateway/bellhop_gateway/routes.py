"""Which RPC is behind which method and path: the one table from which requests are read and the document is written."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor import MethodDescriptor

from bellhop.v1 import applications_pb2, notifier_pb2, push_registry_pb2

PREFIX = "/v1"

_SERVICES = {
    service.name: service
    for file in (applications_pb2, notifier_pb2, push_registry_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
}


@dataclass(frozen=True)
class Route:
    """`path` is below PREFIX; `{name}` in it is a field of the request. `body`: the request's other fields come as JSON
    in the body, else in the query. `signed_in`: for whoever shows a token of the OpenID provider.
    """

    method: str
    path: str
    rpc: str
    body: bool = False
    signed_in: bool = False

    @cached_property
    def descriptor(self) -> MethodDescriptor:
        """Of the RPC."""
        service, _, name = self.rpc.partition(".")
        method: MethodDescriptor = _SERVICES[service].methods_by_name[name]
        return method

    @property
    def full_name(self) -> str:
        """As gRPC calls it."""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    @property
    def fields(self) -> tuple[str, ...]:
        """Those of the request that the path names."""
        return tuple(part.name for part in self._parts if part.name)

    @property
    def literal(self) -> int:
        """Characters of its path that are no field's."""
        return sum(len(part.text) for part in self._parts)

    @cached_property
    def _parts(self) -> tuple["_Part", ...]:
        return tuple(_Part.of(segment) for segment in self.path.strip("/").split("/"))

    def match(self, segments: tuple[bytes, ...]) -> dict[str, str] | None:
        """The fields that a path names, given in its segments as they came; None: it is another path.

        Raises UnicodeDecodeError for what is not UTF-8.
        """
        if len(segments) != len(self._parts):
            return None
        found: dict[str, str] = {}
        for part, segment in zip(self._parts, segments, strict=True):
            value = part.value(segment)
            if value is None:
                return None
            if part.name:
                found[part.name] = value
        return found


@dataclass(frozen=True)
class _Part:
    """A segment of a path: a literal text, or a field and what follows it."""

    name: str
    text: str

    @classmethod
    def of(cls, segment: str) -> "_Part":
        if not segment.startswith("{"):
            return cls("", segment)
        name, _, text = segment[1:].partition("}")
        return cls(name, text)

    def value(self, segment: bytes) -> str | None:
        """The field's value, empty for a literal; None: it is another segment. A slash or colon may come encoded."""
        if not self.name:
            return "" if unquote_to_bytes(segment) == self.text.encode() else None
        if not segment.endswith(self.text.encode()) or len(segment) == len(self.text):
            return None
        return unquote_to_bytes(segment.removesuffix(self.text.encode())).decode()


ROUTES = (
    Route("POST", "/devices", "PushRegistry.RegisterDevice", body=True),
    Route("PUT", "/devices/{device_id}", "PushRegistry.RegisterDevice", body=True),
    Route("POST", "/anonymous-devices", "PushRegistry.RegisterAnonymousDevice", body=True),
    Route("PUT", "/anonymous-devices/{device_id}", "PushRegistry.RegisterAnonymousDevice", body=True),
    Route("PATCH", "/devices/{device_id}", "PushRegistry.UpdateDevice", body=True),
    Route("GET", "/devices/{device_id}", "PushRegistry.GetDevice"),
    Route("GET", "/devices", "PushRegistry.ListDevices"),
    Route("DELETE", "/devices/{device_id}", "PushRegistry.UnregisterDevice"),
    Route("DELETE", "/users/{user_id}/devices", "PushRegistry.UnregisterUser"),
    Route("POST", "/bind-grants", "PushRegistry.CreateBindGrant", body=True),
    Route("GET", "/client-config", "PushRegistry.GetClientConfig"),
    Route("GET", "/credential", "PushRegistry.CheckCredential"),
    Route("POST", "/tags", "PushRegistry.CreateTag", body=True),
    Route("GET", "/tags", "PushRegistry.ListTags"),
    Route("GET", "/tags/{tag_name}", "PushRegistry.GetTag"),
    Route("PATCH", "/tags/{tag_name}", "PushRegistry.UpdateTag", body=True),
    Route("DELETE", "/tags/{tag_name}", "PushRegistry.DeleteTag"),
    Route("POST", "/subscriptions", "PushRegistry.Subscribe", body=True),
    Route("POST", "/subscriptions:remove", "PushRegistry.Unsubscribe", body=True),
    Route("GET", "/subscriptions", "PushRegistry.ListSubscriptions"),
    Route("POST", "/messages/{message_id}/interactions", "PushRegistry.ReportInteraction", body=True),
    Route("POST", "/messages", "Notifier.Send", body=True),
    Route("POST", "/messages:batch", "Notifier.SendMany", body=True),
    Route("POST", "/messages:explain", "Notifier.ExplainSend", body=True),
    Route("GET", "/messages", "Notifier.ListMessages"),
    Route("GET", "/messages/{message_id}", "Notifier.GetMessage"),
    Route("GET", "/messages/{message_id}/events", "Notifier.WatchMessage"),
    Route("GET", "/messages/{message_id}/results", "Notifier.ListResults"),
    Route("POST", "/messages/{message_id}:cancel", "Notifier.CancelMessage"),
    Route("POST", "/applications", "Applications.CreateApplication", body=True),
    Route("GET", "/applications", "Applications.ListApplications"),
    Route("GET", "/applications/{app_id}", "Applications.GetApplication"),
    Route("PATCH", "/applications/{app_id}", "Applications.UpdateApplication", body=True),
    Route("DELETE", "/applications/{app_id}", "Applications.DeleteApplication"),
    Route("POST", "/applications/{app_id}/secrets:rotate", "Applications.RotateSecret", body=True),
    Route("GET", "/applications/{app_id}/secrets", "Applications.ListSecrets"),
    Route("DELETE", "/applications/{app_id}/secrets/{secret_id}", "Applications.RevokeSecret"),
    Route("PUT", "/applications/{app_id}/credentials", "Applications.SetCredential", body=True),
    Route("GET", "/applications/{app_id}/credentials", "Applications.ListCredentials"),
    Route("DELETE", "/applications/{app_id}/credentials/{credential_id}", "Applications.DeleteCredential"),
)
"""Every RPC of the contract, each by the form in which HTTP would say it."""

GET_DEVICE = next(route for route in ROUTES if route.rpc == "PushRegistry.GetDevice")
UNREGISTER_USER = next(route for route in ROUTES if route.rpc == "PushRegistry.UnregisterUser")

_REPORT = "PushRegistry.ReportInteraction"
ME_ROUTES = (
    Route("POST", "/me/devices", "PushRegistry.RegisterDevice", body=True, signed_in=True),
    Route("PUT", "/me/devices/{device_id}", "PushRegistry.RegisterDevice", body=True, signed_in=True),
    Route("GET", "/me/devices/{device_id}", "PushRegistry.GetDevice", signed_in=True),
    Route("DELETE", "/me/devices/{device_id}", "PushRegistry.UnregisterDevice", signed_in=True),
    Route("DELETE", "/me/devices", "PushRegistry.UnregisterUser", signed_in=True),
    Route("POST", "/me/subscriptions", "PushRegistry.Subscribe", body=True, signed_in=True),
    Route("POST", "/me/subscriptions:remove", "PushRegistry.Unsubscribe", body=True, signed_in=True),
    Route("GET", "/me/subscriptions", "PushRegistry.ListSubscriptions", signed_in=True),
    Route("POST", "/me/messages/{message_id}/interactions", _REPORT, body=True, signed_in=True),
)
"""What a person who is signed in may do."""

_ALL = (*ROUTES, *ME_ROUTES)


@dataclass(frozen=True)
class Found:
    """What is at a path: the route for the method, if there is one, with the fields in the path; and all methods."""

    route: Route | None
    fields: dict[str, str]
    methods: tuple[str, ...]


def find(method: str, raw_path: bytes) -> Found:
    """What is at a path below PREFIX, percent-encoded as it came. Raises UnicodeDecodeError."""
    segments = tuple(raw_path.strip(b"/").split(b"/"))
    matches = [(route, fields) for route in _ALL if (fields := route.match(segments)) is not None]
    if not matches:
        return Found(None, {}, ())
    # A literal text names itself better than a field does: only the path that says most is meant.
    path = max((route for route, _ in matches), key=lambda route: route.literal).path
    methods = tuple(sorted(route.method for route, _ in matches if route.path == path))
    for route, fields in matches:
        if route.path == path and route.method == method:
            return Found(route, fields, methods)
    return Found(None, {}, methods)


@cache
def by_path() -> dict[str, tuple[Route, ...]]:
    """The routes of each path."""
    paths: dict[str, list[Route]] = {}
    for route in _ALL:
        paths.setdefault(route.path, []).append(route)
    return {path: tuple(routes) for path, routes in paths.items()}


def operations() -> Iterator[tuple[str, Route]]:
    """Every route with a name of its own: that of its RPC, with its place where the RPC has several."""
    for route in _ALL:
        several = sum((each.rpc, each.signed_in) == (route.rpc, route.signed_in) for each in _ALL) > 1
        name = f"{route.descriptor.name}{'By' + route.method.capitalize() if several else ''}"
        yield f"My{name}" if route.signed_in else name, route
