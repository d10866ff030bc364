"""What a refused or failed call raises: one class for each thing that a caller can do about it.

- BellhopError
  - CredentialsError: missing or not valid; get other credentials
  - PermissionDeniedError: valid, but not for this
  - InvalidRequestError: `violations` names the fields
  - NotFoundError
  - ConflictError: the id is taken, or others changed the same thing
  - PreconditionError
  - ExhaustedError: wait `retry_after` seconds, or a quota is used up
  - UnavailableError: nobody answered, or not in time; repeat later
  - InternalError: a fault of the server or of the transport
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from bellhop.v1.error_reason_pb2 import ErrorReason
from bellhop.v1.event_pb2 import CallError

_DOMAIN = "bellhop"
_REASON_PREFIX = "ERROR_REASON_"


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field: its path in the request, for example `audience.users.user_ids[0]`, and what is wrong."""

    field: str
    description: str


class BellhopError(Exception):
    """A call that did not succeed.

    `code` is the gRPC status; `reason` the name of an ErrorReason without its prefix, for example `INVALID_REQUEST`
    (one that this client does not know is kept as it came; empty when the error was made by the transport);
    `message` the text; `metadata` what varies in it; `violations` the wrong fields; `retry_after` the seconds to wait
    before a repeat, None when the server did not say.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after

    def __str__(self) -> str:
        """One line: the reason, and each wrong field or else the message."""
        told = "; ".join(f"{each.field}: {each.description}" for each in self.violations) or self.message
        return " ".join(f"{self.reason or self.code.name}: {told}".split())


class CredentialsError(BellhopError):
    """UNAUTHENTICATED: a credential is missing or not valid."""


class PermissionDeniedError(BellhopError):
    """PERMISSION_DENIED: the credentials are valid, but do not allow this."""


class InvalidRequestError(BellhopError):
    """INVALID_ARGUMENT: something in the request is wrong; do not repeat it unchanged."""


class NotFoundError(BellhopError):
    """NOT_FOUND: the application has no such thing."""


class ConflictError(BellhopError):
    """ALREADY_EXISTS or ABORTED: the id is taken, or others changed the same thing at the same moment."""


class PreconditionError(BellhopError):
    """FAILED_PRECONDITION: something else has to be done first."""


class ExhaustedError(BellhopError):
    """RESOURCE_EXHAUSTED: wait for `retry_after`; without it waiting does not help."""


class UnavailableError(BellhopError):
    """UNAVAILABLE or DEADLINE_EXCEEDED: no answer; a change that was asked for may or may not have happened."""


class InternalError(BellhopError):
    """INTERNAL, UNKNOWN and whatever else the transport makes up."""


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
    return _FAMILIES.get(code, InternalError)(
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
    return _FAMILIES.get(code, InternalError)(
        code,
        told.message,
        reason=str(told.reason) if known is None else known.name.removeprefix(_REASON_PREFIX),
        metadata=told.metadata,
        violations=[Violation(each.field, each.description) for each in told.field_violations],
        retry_after=told.retry_delay.ToTimedelta().total_seconds() if told.HasField("retry_delay") else None,
    )


def _details(error: grpc.aio.AioRpcError) -> Sequence[Any]:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                return ()
            return tuple(status.details)
    return ()
