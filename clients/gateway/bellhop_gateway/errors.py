"""Errors as JSON (AIP-193): the same object whether the server or the gateway refuses."""

import json
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from starlette.responses import JSONResponse, Response

# google/rpc/code.proto names the HTTP status of each code; 499 is no status that anybody would read.
HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
}

# Their details are told; of any other kind nobody knows what is in it.
_DETAILS = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RetryInfo,
    error_details_pb2.RequestInfo,
)


class Refused(Exception):
    """A request that ends with an error. `details`: JSON objects with their `@type`."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        details: list[dict[str, Any]] | None = None,
        *,
        http_status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or []
        self.http_status = http_status or HTTP_STATUS[code]
        self.headers = dict(headers or {})
        if self.http_status == 401:
            self.headers.setdefault("www-authenticate", "Bearer")
        if delay := self.retry_after:
            self.headers["retry-after"] = str(delay)

    @property
    def retry_after(self) -> int:
        """Whole seconds to wait, rounded up; 0: waiting was not asked for."""
        for detail in self.details:
            if detail["@type"].endswith("google.rpc.RetryInfo"):
                return max(1, -(-float(detail.get("retryDelay", "0s")[:-1]) // 1).__int__())
        return 0

    def body(self) -> dict[str, Any]:
        """As JSON."""
        error = {
            "code": self.http_status,
            "status": self.code.name,
            "message": self.message,
            "details": self.details,
        }
        return {"error": error}

    def text(self) -> str:
        """On one line."""
        return json.dumps(self.body(), ensure_ascii=False, separators=(",", ":"))

    def response(self) -> Response:
        """As an answer."""
        return JSONResponse(self.body(), self.http_status, self.headers)


def invalid(*violations: tuple[str, str]) -> Refused:
    """A request that does not say what it should: pairs of a field and what is wrong with it."""
    told = "; ".join(f"{field} {problem}" for field, problem in violations)
    bad = [{"field": field, "description": problem} for field, problem in violations]
    details = [
        reason_detail("INVALID_REQUEST"),
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": bad},
    ]
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, f"Invalid request: {told}.", details)


def interrupted(message_id: str, cursor: str) -> Refused:
    """A stream that ends because the gateway does; it goes on from the cursor elsewhere, or here after a while."""
    detail = reason_detail("STREAM_INTERRUPTED", message_id=message_id, cursor=cursor)
    text = "The gateway is shutting down. The message goes on; go on from the last cursor."
    return Refused(grpc.StatusCode.UNAVAILABLE, text, [detail, retry_detail(1.0)])


def reason_detail(reason: str, **metadata: str) -> dict[str, Any]:
    """An ErrorInfo with a value of the contract's ErrorReason."""
    detail: dict[str, Any] = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": f"ERROR_REASON_{reason}",
        "domain": "bellhop",
    }
    return detail | ({"metadata": metadata} if metadata else {})


def retry_detail(seconds: float) -> dict[str, Any]:
    """A RetryInfo."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds:.3f}s"}


def from_grpc(error: grpc.aio.AioRpcError) -> Refused:
    """What the server said, or what became of the way to it; texts of the transport are not passed on."""
    status = _status_of(error)
    if status is None:
        message = error.code().name.replace("_", " ").capitalize()
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            message = "The Bellhop server cannot be reached."
        return Refused(error.code(), message)
    details = []
    for packed in status.details:
        for kind in _DETAILS:
            if packed.Is(kind.DESCRIPTOR):
                detail = kind()
                packed.Unpack(detail)
                details.append({"@type": packed.type_url} | MessageToDict(detail))
    return Refused(error.code(), status.message, details)


def _status_of(error: grpc.aio.AioRpcError) -> Any:
    try:
        return rpc_status.from_call(error)
    except ValueError:
        # The status and its details contradict each other: somebody between has changed one of them.
        return None
