"""Each reason of the contract has its class in the Python client, below the family of the status that it comes with."""

import re
from types import MappingProxyType

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

from bellhop.v1.error_reason_pb2 import ErrorReason
from bellhop.v1.event_pb2 import CallError
from bellhop_client import (
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
)
from bellhop_client.reasons import BY_REASON, StaleBinding
from bellhop_client.status import from_call_error, from_rpc_error
from tests.rules.sources import ROOT

FAMILIES = MappingProxyType(
    {
        "UNAUTHENTICATED": CredentialsError,
        "PERMISSION_DENIED": PermissionDeniedError,
        "INVALID_ARGUMENT": InvalidRequestError,
        "NOT_FOUND": NotFoundError,
        "ALREADY_EXISTS": ConflictError,
        "ABORTED": ConflictError,
        "FAILED_PRECONDITION": PreconditionError,
        "RESOURCE_EXHAUSTED": ExhaustedError,
        "UNAVAILABLE": UnavailableError,
        "INTERNAL": InternalError,
    }
)


def told() -> dict[str, str]:
    """The status that each reason comes with: the first word of its comment in the contract."""
    text = (ROOT / "proto/bellhop/v1/error_reason.proto").read_text(encoding="utf-8")
    found = re.findall(r"^  // ([A-Z_]+)\. (?:.*\n  //)+?.*\n  ERROR_REASON_(\w+) = ", text, re.MULTILINE)
    return {reason: code for code, reason in found}


def test_every_reason_has_a_class_and_no_other() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name, number in ErrorReason.items() if number}
    assert set(BY_REASON) == reasons == set(told())


@pytest.mark.parametrize(("reason", "code"), sorted(told().items()))
def test_a_status_and_an_item_of_many_raise_the_class_of_their_reason(reason: str, code: str) -> None:
    detail = Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=f"ERROR_REASON_{reason}", domain="bellhop", metadata={"a": "b"}))
    raised = from_rpc_error(ended(getattr(grpc.StatusCode, code), detail))
    item = from_call_error(
        CallError(
            code=getattr(grpc.StatusCode, code).value[0],
            reason=ErrorReason.Value(f"ERROR_REASON_{reason}"),
            message="why",
            metadata={"a": "b"},
        )
    )
    for error in (raised, item):
        assert type(error) is BY_REASON[reason]
        assert isinstance(error, FAMILIES[code])
        assert (error.reason, error.code.name, error.message, error.metadata) == (reason, code, "why", {"a": "b"})


@pytest.mark.parametrize("reason", ["", "SOMETHING_NEW"])
def test_without_a_known_reason_it_is_of_the_family_alone(reason: str) -> None:
    details = []
    if reason:
        detail = Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason=f"ERROR_REASON_{reason}", domain="bellhop"))
        details.append(detail)
    error = from_rpc_error(ended(grpc.StatusCode.ABORTED, *details))
    assert type(error) is ConflictError
    assert error.reason == reason


def test_the_reason_of_another_domain_is_not_ours() -> None:
    detail = Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="ERROR_REASON_STALE_BINDING", domain="a proxy"))
    error = from_rpc_error(ended(grpc.StatusCode.ABORTED, detail))
    assert not isinstance(error, StaleBinding)
    assert isinstance(error, BellhopError)


def ended(code: grpc.StatusCode, *details: Any) -> grpc.aio.AioRpcError:
    status = status_pb2.Status(code=code.value[0], message="why", details=details)
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, "why")
