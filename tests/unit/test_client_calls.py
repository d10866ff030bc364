"""One-answer calls: credentials, the published policy of repeats, errors, pages."""

import json
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from bellhop.v1 import applications_pb2, notifier_pb2, push_registry_pb2
from bellhop.v1.device_pb2 import Device
from bellhop_client import (
    AdminClient,
    ApnsTarget,
    BellhopError,
    Client,
    ConflictError,
    CredentialsError,
    ExhaustedError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnavailableError,
    Violation,
    service_config,
)
from tests.unit.scripted_server import Refusal, ScriptedServer, error_info, scripted_server

# The server's own delay of 1 ms keeps the repeats of gRPC from taking their time.
BRIEFLY_AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "away", error_info("SERVICE_UNAVAILABLE"), pushback_ms="1")
AWAY_FOR_GOOD = Refusal(grpc.StatusCode.UNAVAILABLE, "away", error_info("SERVICE_UNAVAILABLE"), pushback_ms="-1")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as scripted:
        yield scripted


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[Client]:
    async with Client(server.address, app_id="shop", client_secret="bhc_1") as client:
        yield client


@pytest.fixture
async def admin(server: ScriptedServer) -> AsyncIterator[AdminClient]:
    async with AdminClient(server.address, admin_token="root") as admin:
        yield admin


async def test_arguments_and_credentials_arrive(client: Client, server: ScriptedServer) -> None:
    response = await client.register_device(
        user_id="anna", device_id="d1", apns=ApnsTarget(token="ab" * 32), attributes={"plan": "gold"}
    )

    assert response.device_secret == "bhd_1"
    assert server.registry.requests == [
        push_registry_pb2.RegisterDeviceRequest(
            user_id="anna", device_id="d1", apns=ApnsTarget(token="ab" * 32), attributes={"plan": "gold"}
        )
    ]
    [metadata] = server.registry.metadata
    assert (metadata["app-id"], metadata["client-secret"]) == ("shop", "bhc_1")
    assert not {"app-secret", "device-secret", "authorization"} & metadata.keys()


async def test_an_update_leaves_out_what_was_not_given(client: Client, server: ScriptedServer) -> None:
    await client.update_device(device_id="d1", locale="")

    [request] = server.registry.requests
    assert request == push_registry_pb2.UpdateDeviceRequest(device_id="d1", locale="")
    assert request.HasField("locale")
    assert not request.HasField("time_zone")


async def test_an_admin_token_travels_as_bearer(admin: AdminClient, server: ScriptedServer) -> None:
    response = await admin.create_application(display_name="The shop", app_id="shop")

    assert response.application.app_id == "shop"
    assert server.applications.metadata[0]["authorization"] == "Bearer root"


async def test_pages_are_walked_to_the_end(client: Client, server: ScriptedServer) -> None:
    server.registry.devices = [Device(device_id=f"d{number}") for number in range(5)]

    assert [device.device_id async for device in client.devices(user_id="anna", page_size=2)] == [
        "d0",
        "d1",
        "d2",
        "d3",
        "d4",
    ]
    assert [request.page_token for request in server.registry.requests] == ["", "2", "4"]
    assert {request.user_id for request in server.registry.requests} == {"anna"}


async def test_unavailable_is_repeated_by_the_published_policy(client: Client, server: ScriptedServer) -> None:
    server.registry.refusals = [BRIEFLY_AWAY] * 4

    assert (await client.register_device(user_id="anna")).created
    assert len(server.registry.requests) == 5


async def test_repeats_end_after_five_attempts(client: Client, server: ScriptedServer) -> None:
    server.registry.refusals = [BRIEFLY_AWAY] * 9

    with pytest.raises(UnavailableError) as caught:
        await client.register_device(user_id="anna")
    assert caught.value.reason == "SERVICE_UNAVAILABLE"
    assert len(server.registry.requests) == 5


async def test_a_server_that_asks_not_to_be_tried_again_is_not(client: Client, server: ScriptedServer) -> None:
    server.registry.refusals = [AWAY_FOR_GOOD] * 2

    with pytest.raises(UnavailableError):
        await client.register_device(user_id="anna")
    assert len(server.registry.requests) == 1


async def test_what_is_not_safe_to_repeat_is_not_repeated(admin: AdminClient, server: ScriptedServer) -> None:
    server.applications.refusals = [BRIEFLY_AWAY, BRIEFLY_AWAY]

    with pytest.raises(UnavailableError):
        await admin.create_application(display_name="The shop")
    with pytest.raises(UnavailableError):
        await admin.rotate_secret(app_id="shop", kind=applications_pb2.SECRET_KIND_CLIENT)
    assert len(server.applications.requests) == 2


@pytest.mark.parametrize(
    ("code", "family"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, CredentialsError),
        (grpc.StatusCode.PERMISSION_DENIED, PermissionDeniedError),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidRequestError),
        (grpc.StatusCode.NOT_FOUND, NotFoundError),
        (grpc.StatusCode.ALREADY_EXISTS, ConflictError),
        (grpc.StatusCode.ABORTED, ConflictError),
        (grpc.StatusCode.FAILED_PRECONDITION, PreconditionError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ExhaustedError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, UnavailableError),
        (grpc.StatusCode.INTERNAL, InternalError),
        (grpc.StatusCode.UNIMPLEMENTED, InternalError),
    ],
)
async def test_a_refusal_has_its_class_and_is_not_repeated(
    client: Client, server: ScriptedServer, code: grpc.StatusCode, family: type[BellhopError]
) -> None:
    server.registry.refusals = [Refusal(code, "no")]

    with pytest.raises(family) as caught:
        await client.register_device(user_id="anna")
    assert type(caught.value) is family
    assert (caught.value.code, caught.value.message, caught.value.reason) == (code, "no", "")
    assert len(server.registry.requests) == 1


async def test_every_detail_is_read(client: Client, server: ScriptedServer) -> None:
    field_violation = error_details_pb2.BadRequest.FieldViolation
    server.registry.refusals = [
        Refusal(
            grpc.StatusCode.INVALID_ARGUMENT,
            "2 fields are wrong",
            error_info("INVALID_REQUEST", limit="4194304"),
            error_details_pb2.BadRequest(
                field_violations=[
                    field_violation(field="user_id", description="must not be empty"),
                    field_violation(field="apns.token", description="must be\nhexadecimal"),
                ]
            ),
            error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)),
            error_details_pb2.RequestInfo(request_id="r1"),
        )
    ]

    with pytest.raises(InvalidRequestError) as caught:
        await client.register_device(user_id="")
    error = caught.value
    assert error.reason == "INVALID_REQUEST"
    assert error.metadata == {"limit": "4194304"}
    assert error.violations[0] == Violation("user_id", "must not be empty")
    assert error.retry_after == 1.5
    assert str(error) == "INVALID_REQUEST: user_id: must not be empty; apns.token: must be hexadecimal"


async def test_an_unknown_reason_keeps_its_text(client: Client, server: ScriptedServer) -> None:
    server.registry.refusals = [Refusal(grpc.StatusCode.NOT_FOUND, "no such moon", error_info("MOON_NOT_FOUND"))]

    with pytest.raises(NotFoundError, match=r"^MOON_NOT_FOUND: no such moon$"):
        await client.register_device(user_id="anna")


async def test_a_reason_of_another_domain_is_not_taken_for_ours(client: Client, server: ScriptedServer) -> None:
    foreign = error_details_pb2.ErrorInfo(domain="proxy.example", reason="BLOCKED")
    server.registry.refusals = [Refusal(grpc.StatusCode.PERMISSION_DENIED, "blocked", foreign)]

    with pytest.raises(PermissionDeniedError, match=r"^PERMISSION_DENIED: blocked$"):
        await client.register_device(user_id="anna")


async def test_garbage_in_the_details_still_gives_the_error(client: Client, server: ScriptedServer) -> None:
    class Garbled(Refusal):
        def abort(self, context: grpc.ServicerContext) -> None:
            context.set_trailing_metadata([("grpc-status-details-bin", b"\xff\xff\xff")])
            context.abort(grpc.StatusCode.NOT_FOUND, "no")

    server.registry.refusals = [Garbled(grpc.StatusCode.NOT_FOUND, "no")]

    with pytest.raises(NotFoundError, match="no"):
        await client.register_device(user_id="anna")


def test_the_published_policy_names_every_service_and_no_stranger() -> None:
    entries = json.loads(service_config())["methodConfig"]
    services = {
        service.full_name: set(service.methods_by_name)
        for file in (applications_pb2, push_registry_pb2, notifier_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
    }
    named = [name for entry in entries for name in entry["name"]]
    assert {name["service"] for name in named if "method" not in name} == services.keys()
    assert all(name["method"] in services[name["service"]] for name in named if "method" in name)
    repeated = [entry["retryPolicy"]["retryableStatusCodes"] for entry in entries if "retryPolicy" in entry]
    assert repeated
    assert all(codes == ["UNAVAILABLE"] for codes in repeated)
    assert {name["method"] for entry in entries if "retryPolicy" not in entry for name in entry["name"]} == {
        "Send",
        "CreateApplication",
        "RotateSecret",
    }
