"""From what a call ended with to the error that is raised."""

from collections.abc import Mapping, Sequence

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from bellhop.v1.error_reason_pb2 import ErrorReason
from bellhop.v1.event_pb2 import CallError
from bellhop_client.errors import (
    BellhopError,
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
)
from bellhop_client.reasons import BY_REASON

_DOMAIN = "bellhop"
_REASON_PREFIX = "ERROR_REASON_"

_FAMILIES: Mapping[grpc.StatusCode, type[BellhopError]] = {
    grpc.StatusCode.UNAUTHENTICATED: CredentialsError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ExhaustedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: UnavailableError,
}


def from_rpc_error(error: grpc.aio.AioRpcError) -> BellhopError:
    """Reads the details of a status (google.rpc.ErrorInfo, BadRequest, RetryInfo); what is not there stays empty."""
    code = error.code()
    reason, metadata, violations, retry_after = "", {}, [], None
    for detail in _details(error):
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry_info = error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == _DOMAIN:
            reason, metadata = info.reason.removeprefix(_REASON_PREFIX), dict(info.metadata)
        elif detail.Unpack(bad_request):
            violations = [Violation(each.field, each.description) for each in bad_request.field_violations]
        elif detail.Unpack(retry_info):
            retry_after = retry_info.retry_delay.ToTimedelta().total_seconds()
    return _class_of(code, reason)(
        code,
        error.details() or code.name,
        reason=reason,
        metadata=metadata,
        violations=violations,
        retry_after=retry_after,
    )


def from_call_error(told: CallError) -> BellhopError:
    """Why one item of many was refused: what the status of a call would have said."""
    code = next((each for each in grpc.StatusCode if each.value[0] == told.code), grpc.StatusCode.UNKNOWN)
    known = ErrorReason.DESCRIPTOR.values_by_number.get(told.reason)
    reason = str(told.reason) if known is None else known.name.removeprefix(_REASON_PREFIX)
    return _class_of(code, reason)(
        code,
        told.message,
        reason=reason,
        metadata=told.metadata,
        violations=[Violation(each.field, each.description) for each in told.field_violations],
        retry_after=told.retry_delay.ToTimedelta().total_seconds() if told.HasField("retry_delay") else None,
    )


def _class_of(code: grpc.StatusCode, reason: str) -> type[BellhopError]:
    """That of the reason; for a newer server's reason, or none, that of the status."""
    return BY_REASON.get(reason) or _FAMILIES.get(code, InternalError)


def _details(error: grpc.aio.AioRpcError) -> Sequence[Any]:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                return ()
            return tuple(status.details)
    return ()
