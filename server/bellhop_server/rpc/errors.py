"""What each error of the domain is as a gRPC status. The only place that knows both."""

import secrets
from dataclasses import dataclass

import grpc
import structlog
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from bellhop.v1 import error_reason_pb2, event_pb2
from bellhop_server.domain import errors

DOMAIN = "bellhop"

MAX_VIOLATIONS = 25

# Trailers beyond 8 KiB are refused at random by gRPC clients (its soft limit), so a status keeps well below. Bytes of
# UTF-8, all of them; the text travels a second time, with three bytes for each that is not ASCII.
MAX_STATUS_BYTES = 6 * 1024
_MAX_TEXT = 300
_MAX_METADATA = 600

_log = structlog.stdlib.get_logger(__name__)

_CODES: dict[type[errors.BellhopError], grpc.StatusCode] = {
    errors.CredentialsMissing: grpc.StatusCode.UNAUTHENTICATED,
    errors.CredentialsInvalid: grpc.StatusCode.UNAUTHENTICATED,
    errors.BindGrantExpired: grpc.StatusCode.UNAUTHENTICATED,
    errors.DeviceProofRequired: grpc.StatusCode.UNAUTHENTICATED,
    errors.CredentialKindNotAccepted: grpc.StatusCode.PERMISSION_DENIED,
    errors.DeniedByPolicy: grpc.StatusCode.PERMISSION_DENIED,
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.PageTokenInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.CursorInvalid: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ApplicationNotFound: grpc.StatusCode.NOT_FOUND,
    errors.SecretNotFound: grpc.StatusCode.NOT_FOUND,
    errors.DeviceNotFound: grpc.StatusCode.NOT_FOUND,
    errors.TagNotFound: grpc.StatusCode.NOT_FOUND,
    errors.MessageNotFound: grpc.StatusCode.NOT_FOUND,
    errors.ApplicationAlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.TagAlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.RequestIdReused: grpc.StatusCode.ALREADY_EXISTS,
    errors.TargetRequired: grpc.StatusCode.FAILED_PRECONDITION,
    errors.TagBuiltIn: grpc.StatusCode.FAILED_PRECONDITION,
    errors.CredentialRefused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.KeyChangeRefused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ConcurrentChange: grpc.StatusCode.ABORTED,
    errors.StaleBinding: grpc.StatusCode.ABORTED,
    errors.AuthAttemptsExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ServiceUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.StreamInterrupted: grpc.StatusCode.UNAVAILABLE,
    errors.InternalError: grpc.StatusCode.INTERNAL,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """A status as it goes out: code, text and trailing metadata (google.rpc.Status among it)."""

    code: grpc.StatusCode
    text: str
    trailers: tuple[tuple[str, str | bytes], ...]


def ending_of(error: errors.BellhopError) -> Ending:
    """The status of an error: one ErrorInfo, and BadRequest, RetryInfo, RequestInfo where they apply."""
    code = _CODES[type(error)]
    status = status_pb2.Status(code=code.value[0], message=cut(error.text, _MAX_TEXT))
    reason = error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{error.reason}")
    _add(
        status,
        error_details_pb2.ErrorInfo(
            reason=error_reason_pb2.ErrorReason.Name(reason),
            domain=DOMAIN,
            metadata={key: cut(value, _MAX_METADATA) for key, value in error.metadata.items()},
        ),
    )
    trailers: list[tuple[str, str | bytes]] = []
    delay = _delay(error)
    if delay is not None:
        _add(status, error_details_pb2.RetryInfo(retry_delay=delay))
        trailers.append(("grpc-retry-pushback-ms", str(delay.ToMilliseconds())))
    if isinstance(error, errors.InternalError):
        _add(status, error_details_pb2.RequestInfo(request_id=error.metadata["incident_id"]))
    if isinstance(error, errors.InvalidRequest) and error.violations:
        _add(status, _bad_request(error.violations, MAX_STATUS_BYTES - status.ByteSize()))
    trailers.append(("grpc-status-details-bin", status.SerializeToString()))
    return Ending(code, status.message, tuple(trailers))


def call_error(error: errors.BellhopError) -> event_pb2.CallError:
    """What the status of an error would say, as the answer to one item of many."""
    told = event_pb2.CallError(
        code=_CODES[type(error)].value[0],
        reason=error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{error.reason}"),
        message=cut(error.text, _MAX_TEXT),
        retry_delay=_delay(error),
        metadata={key: cut(value, _MAX_METADATA) for key, value in error.metadata.items()},
    )
    if isinstance(error, errors.InvalidRequest):
        for violation in _bad_request(error.violations, MAX_STATUS_BYTES - told.ByteSize()).field_violations:
            told.field_violations.add(field=violation.field, description=violation.description)
    return told


def incident(method: str, error: Exception) -> errors.InternalError:
    """What a caller is told of what nobody foresaw; the rest is in the log, under its number."""
    incident_id = secrets.token_hex(8)
    _log.error("incident", incident_id=incident_id, method=method, exc_info=error)
    return errors.InternalError(incident_id)


def _delay(error: errors.BellhopError) -> duration_pb2.Duration | None:
    if error.retry_after is None:
        return None
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(max(1, round(error.retry_after * 1000)))
    return delay


def _bad_request(violations: list[errors.Violation], room: int) -> error_details_pb2.BadRequest:
    """The first violations, as many as may be told; the text of the status says how many there are."""
    told = error_details_pb2.BadRequest()
    room -= 128  # For what wraps it.
    for violation in violations[:MAX_VIOLATIONS]:
        told.field_violations.add(
            field=cut(violation.field, _MAX_TEXT), description=cut(violation.description, _MAX_TEXT)
        )
        if told.ByteSize() > room:
            del told.field_violations[-1]
            break
    return told


def _add(status: status_pb2.Status, detail: Message) -> None:
    status.details.add().Pack(detail)


def cut(text: str, most: int) -> str:
    """The text, or its beginning and an ellipsis: at most so many bytes of UTF-8."""
    raw = text.encode()
    return text if len(raw) <= most else raw[: most - 3].decode(errors="ignore") + "…"
