"""A server that answers as a test tells it: real gRPC on loopback, nothing behind it."""
# ruff: noqa: N802 - methods have the names of the contract

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NoReturn

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from bellhop.v1 import (
    applications_pb2,
    applications_pb2_grpc,
    device_pb2,
    event_pb2,
    message_pb2,
    notifier_pb2,
    notifier_pb2_grpc,
    push_registry_pb2,
    push_registry_pb2_grpc,
)


class Refusal:
    """A status with its google.rpc details."""

    def __init__(self, code: grpc.StatusCode, text: str, *details: Message, pushback_ms: str | None = None) -> None:
        self._code, self._text, self._details, self._pushback_ms = code, text, details, pushback_ms

    def abort(self, context: grpc.ServicerContext) -> NoReturn:
        trailing: list[tuple[str, str | bytes]] = []
        if self._details:
            status = status_pb2.Status(code=self._code.value[0], message=self._text)
            for detail in self._details:
                status.details.add().Pack(detail)
            trailing.append(("grpc-status-details-bin", status.SerializeToString()))
        if self._pushback_ms is not None:
            trailing.append(("grpc-retry-pushback-ms", self._pushback_ms))
        context.set_trailing_metadata(trailing)
        context.abort(self._code, self._text)


def error_info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(domain="bellhop", reason=f"ERROR_REASON_{reason}", metadata=metadata)


UNAVAILABLE = Refusal(grpc.StatusCode.UNAVAILABLE, "going down", error_info("STREAM_INTERRUPTED"))


def accepted(cursor: str = "c0") -> event_pb2.SendEvent:
    return event_pb2.SendEvent(cursor=cursor, accepted=event_pb2.Accepted(message_id="m1"))


def results(cursor: str, **outcomes: message_pb2.Outcome.ValueType) -> event_pb2.SendEvent:
    """Results of devices by name, each on APNs."""
    return event_pb2.SendEvent(
        cursor=cursor,
        results=event_pb2.ResultList(
            results=[
                message_pb2.Result(
                    device_id=device_id, user_id="anna", platform=device_pb2.PLATFORM_APNS, outcome=outcome
                )
                for device_id, outcome in outcomes.items()
            ]
        ),
    )


def counts(**outcomes: int) -> message_pb2.MessageCounts:
    """Final numbers by outcome without its prefix."""
    return message_pb2.MessageCounts(
        device_count=sum(outcomes.values()),
        finished_count=sum(outcomes.values()),
        planned=True,
        outcomes=[
            message_pb2.OutcomeCount(
                platform=device_pb2.PLATFORM_APNS, outcome=message_pb2.Outcome.Value(f"OUTCOME_{outcome}"), count=count
            )
            for outcome, count in outcomes.items()
        ],
    )


MESSAGE = [
    accepted(),
    results("c1", d1=message_pb2.OUTCOME_ACCEPTED, d2=message_pb2.OUTCOME_ACCEPTED),
    event_pb2.SendEvent(cursor="c2", progress=event_pb2.Progress(counts=counts(ACCEPTED=2))),
    results("c3", d3=message_pb2.OUTCOME_ACCEPTED),
    event_pb2.SendEvent(cursor="c4", summary=event_pb2.Summary(message_id="m1", counts=counts(ACCEPTED=3))),
]


class ScriptedNotifier(notifier_pb2_grpc.NotifierServicer):
    """Plays one message; each stream takes the next of `cuts`: after so many events it ends that way."""

    def __init__(self) -> None:
        self.message: Sequence[event_pb2.SendEvent] = MESSAGE
        self.cuts: list[tuple[int, Refusal | None]] = []
        self.sends: list[notifier_pb2.SendRequest] = []
        self.watches: list[notifier_pb2.WatchMessageRequest] = []
        self.hung_up = threading.Event()
        self.stall_after: int | None = None
        self.cancels: list[str] = []
        self.explains: list[notifier_pb2.ExplainSendRequest] = []
        self.explanations: list[notifier_pb2.ExplainSendResponse] = []
        self.cancelled = message_pb2.PushMessage(message_id="m1", state=message_pb2.MESSAGE_STATE_CANCELLED)

    def Send(
        self, request: notifier_pb2.SendRequest, context: grpc.ServicerContext
    ) -> Iterator[notifier_pb2.SendResponse]:
        self.sends.append(notifier_pb2.SendRequest.FromString(request.SerializeToString()))
        events = self.message
        if request.validate_only:
            events = [
                event_pb2.SendEvent(validated=event_pb2.Validated(counts=message_pb2.MessageCounts(device_count=3)))
            ]
        elif request.accept_only:
            events = events[:1]
        for event in self._play(events, context):
            yield notifier_pb2.SendResponse(event=event)

    def WatchMessage(
        self, request: notifier_pb2.WatchMessageRequest, context: grpc.ServicerContext
    ) -> Iterator[notifier_pb2.WatchMessageResponse]:
        self.watches.append(notifier_pb2.WatchMessageRequest.FromString(request.SerializeToString()))
        cursors = [event.cursor for event in self.message]
        rest = self.message[cursors.index(request.after_cursor) + 1 if request.after_cursor else 1 :]
        for event in self._play([accepted(request.after_cursor or "c0"), *rest], context):
            yield notifier_pb2.WatchMessageResponse(event=event)

    def CancelMessage(
        self, request: notifier_pb2.CancelMessageRequest, context: grpc.ServicerContext
    ) -> notifier_pb2.CancelMessageResponse:
        self.cancels.append(request.message_id)
        return notifier_pb2.CancelMessageResponse(message=self.cancelled)

    def ExplainSend(
        self, request: notifier_pb2.ExplainSendRequest, context: grpc.ServicerContext
    ) -> Iterator[notifier_pb2.ExplainSendResponse]:
        self.explains.append(request)
        after, refusal = self.cuts.pop(0) if self.cuts else (len(self.explanations), None)
        yield from self.explanations[:after]
        if refusal:
            refusal.abort(context)

    def _play(
        self, events: Sequence[event_pb2.SendEvent], context: grpc.ServicerContext
    ) -> Iterator[event_pb2.SendEvent]:
        after, refusal = self.cuts.pop(0) if self.cuts else (len(events), None)
        if self.stall_after is not None:
            context.add_callback(self.hung_up.set)
            yield from events[: self.stall_after]
            self.hung_up.wait(30)
            return
        yield from events[:after]
        if refusal:
            refusal.abort(context)


class _Noting:
    """Keeps what came; each call first meets the next of `refusals`."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []
        self.requests: list[Message] = []
        self.metadata: list[dict[str, str | bytes]] = []

    def _note(self, request: Message, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.refusals:
            self.refusals.pop(0).abort(context)


class ScriptedRegistry(_Noting, push_registry_pb2_grpc.PushRegistryServicer):
    """Lists `devices` and says yes to the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.devices: list[device_pb2.Device] = []

    def RegisterDevice(
        self, request: push_registry_pb2.RegisterDeviceRequest, context: grpc.ServicerContext
    ) -> push_registry_pb2.RegisterDeviceResponse:
        self._note(request, context)
        device = device_pb2.Device(device_id=request.device_id, user_id=request.user_id)
        return push_registry_pb2.RegisterDeviceResponse(device=device, device_secret="bhd_1", created=True)

    def RegisterAnonymousDevice(
        self, request: push_registry_pb2.RegisterAnonymousDeviceRequest, context: grpc.ServicerContext
    ) -> push_registry_pb2.RegisterAnonymousDeviceResponse:
        self._note(request, context)
        return push_registry_pb2.RegisterAnonymousDeviceResponse()

    def UnregisterDevice(
        self, request: push_registry_pb2.UnregisterDeviceRequest, context: grpc.ServicerContext
    ) -> push_registry_pb2.UnregisterDeviceResponse:
        self._note(request, context)
        return push_registry_pb2.UnregisterDeviceResponse(existed=not request.expected_user_id)

    def UnregisterUser(
        self, request: push_registry_pb2.UnregisterUserRequest, context: grpc.ServicerContext
    ) -> push_registry_pb2.UnregisterUserResponse:
        self._note(request, context)
        return push_registry_pb2.UnregisterUserResponse(device_count=2)

    def UpdateDevice(
        self, request: push_registry_pb2.UpdateDeviceRequest, context: grpc.ServicerContext
    ) -> push_registry_pb2.UpdateDeviceResponse:
        self._note(request, context)
        return push_registry_pb2.UpdateDeviceResponse()

    def ListDevices(
        self, request: push_registry_pb2.ListDevicesRequest, context: grpc.ServicerContext
    ) -> push_registry_pb2.ListDevicesResponse:
        self._note(request, context)
        start, size = int(request.page_token or 0), request.page_size or 2
        more = start + size < len(self.devices)
        return push_registry_pb2.ListDevicesResponse(
            devices=self.devices[start : start + size], next_page_token=str(start + size) if more else ""
        )


class ScriptedApplications(_Noting, applications_pb2_grpc.ApplicationsServicer):
    """Has one application with `credentials`, and says yes to the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.credentials: list[applications_pb2.Credential] = []

    def CreateApplication(
        self, request: applications_pb2.CreateApplicationRequest, context: grpc.ServicerContext
    ) -> applications_pb2.CreateApplicationResponse:
        self._note(request, context)
        return applications_pb2.CreateApplicationResponse(
            application=applications_pb2.Application(
                app_id=request.app_id or "app-1", display_name=request.display_name
            ),
            client_secret="bhc_1",
            app_secret="bha_1",
        )

    def GetApplication(
        self, request: applications_pb2.GetApplicationRequest, context: grpc.ServicerContext
    ) -> applications_pb2.GetApplicationResponse:
        self._note(request, context)
        policy = applications_pb2.ApplicationPolicy(
            anonymous_policy=applications_pb2.ANONYMOUS_POLICY_OFF, default_binding_ttl={"seconds": 60}
        )
        return applications_pb2.GetApplicationResponse(
            application=applications_pb2.Application(app_id=request.app_id, policy=policy)
        )

    def UpdateApplication(
        self, request: applications_pb2.UpdateApplicationRequest, context: grpc.ServicerContext
    ) -> applications_pb2.UpdateApplicationResponse:
        self._note(request, context)
        return applications_pb2.UpdateApplicationResponse(
            application=applications_pb2.Application(app_id=request.app_id)
        )

    def ListApplications(
        self, request: applications_pb2.ListApplicationsRequest, context: grpc.ServicerContext
    ) -> applications_pb2.ListApplicationsResponse:
        self._note(request, context)
        return applications_pb2.ListApplicationsResponse(
            applications=[applications_pb2.Application(app_id="shop", display_name="The shop")]
        )

    def RotateSecret(
        self, request: applications_pb2.RotateSecretRequest, context: grpc.ServicerContext
    ) -> applications_pb2.RotateSecretResponse:
        self._note(request, context)
        return applications_pb2.RotateSecretResponse(secret="bhc_2")

    def SetCredential(
        self, request: applications_pb2.SetCredentialRequest, context: grpc.ServicerContext
    ) -> applications_pb2.SetCredentialResponse:
        self._note(request, context)
        kind = request.WhichOneof("credential") or ""
        credential = applications_pb2.Credential(
            credential_id=request.credential_id or kind.replace("_", "-"),
            platform=device_pb2.Platform.Value(f"PLATFORM_{kind.upper()}"),
            probe=applications_pb2.ProbeResult(ok=True),
        )
        if kind == "web_push":
            credential.web_push.vapid_public_key = "BL7a"
        return applications_pb2.SetCredentialResponse(credential=credential)

    def ListCredentials(
        self, request: applications_pb2.ListCredentialsRequest, context: grpc.ServicerContext
    ) -> applications_pb2.ListCredentialsResponse:
        self._note(request, context)
        return applications_pb2.ListCredentialsResponse(credentials=self.credentials)


class ScriptedServer:
    """All three services at one address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.notifier = ScriptedNotifier()
        self.registry = ScriptedRegistry()
        self.applications = ScriptedApplications()


@contextmanager
def scripted_server(credentials: grpc.ServerCredentials | None = None) -> Iterator[ScriptedServer]:
    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool)
        port = (
            server.add_secure_port("127.0.0.1:0", credentials)
            if credentials
            else server.add_insecure_port("127.0.0.1:0")
        )
        scripted = ScriptedServer(f"127.0.0.1:{port}")
        notifier_pb2_grpc.add_NotifierServicer_to_server(scripted.notifier, server)
        push_registry_pb2_grpc.add_PushRegistryServicer_to_server(scripted.registry, server)
        applications_pb2_grpc.add_ApplicationsServicer_to_server(scripted.applications, server)
        server.start()
        try:
            yield scripted
        finally:
            server.stop(None).wait()
