"""Errors as statuses: one table, one ErrorInfo each, never too large for trailers."""

import inspect
from importlib.resources import files

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2

import bellhop.v1
from bellhop.v1 import error_reason_pb2
from bellhop_server.domain import errors
from bellhop_server.rpc.errors import MAX_STATUS_BYTES, MAX_VIOLATIONS, Ending, ending_of

EXAMPLES = (
    errors.CredentialsMissing(("app-secret", "client-secret")),
    errors.CredentialsInvalid(),
    errors.BindGrantExpired(1_763_914_500_000_000),
    errors.DeviceProofRequired("d1"),
    errors.CredentialKindNotAccepted("client-secret", ("app-secret",)),
    errors.DeniedByPolicy("anonymous_policy"),
    errors.InvalidRequest([errors.Violation("user_id", "is required")]),
    errors.PageTokenInvalid(),
    errors.CursorInvalid("m1"),
    errors.ApplicationNotFound("shop"),
    errors.SecretNotFound("s1"),
    errors.DeviceNotFound("d1"),
    errors.TagNotFound("news"),
    errors.TagAlreadyExists("news"),
    errors.TagBuiltIn("Push.ALL"),
    errors.MessageNotFound("m1"),
    errors.ApplicationAlreadyExists("shop"),
    errors.RequestIdReused("order-17", "m1"),
    errors.TargetRequired("d1"),
    errors.CredentialRefused("apns", "InvalidProviderToken"),
    errors.KeyChangeRefused("BKey"),
    errors.ConcurrentChange(),
    errors.StaleBinding("d1", 8),
    errors.AuthAttemptsExceeded(4.0),
    errors.Overloaded("sends"),
    errors.QuotaExceeded("secrets", 10),
    errors.ServiceUnavailable("store"),
    errors.StreamInterrupted("m1", "AAE"),
    errors.InternalError("7f3a"),
)


def codes_in_the_comments() -> dict[str, str]:

    described = FileDescriptorSet.FromString((files(bellhop.v1) / "descriptors.binpb").read_bytes())
    file = next(each for each in described.file if each.name.endswith("error_reason.proto"))
    comments = {tuple(each.path): each.leading_comments for each in file.source_code_info.location}
    return {
        value.name: comments[5, 0, 2, index].split(".")[0].strip()
        for index, value in enumerate(file.enum_type[0].value)
    }


CODES = codes_in_the_comments()


def told() -> set[type[errors.BellhopError]]:
    """Every class of the domain that callers can meet: the leaves of the tree."""
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, errors.BellhopError)]
    return {each for each in classes if "reason" in vars(each)}


def status_of(ending: Ending) -> status_pb2.Status:
    status = status_pb2.Status()
    status.ParseFromString(dict(ending.trailers)["grpc-status-details-bin"])
    return status


def details_of(ending: Ending) -> dict[str, object]:
    found: dict[str, object] = {}
    for packed in status_of(ending).details:
        name = packed.TypeName()
        assert name not in found
        message = getattr(error_details_pb2, name.rpartition(".")[2])()
        assert packed.Unpack(message)
        found[name.rpartition(".")[2]] = message
    return found


def test_the_examples_are_all_there_are() -> None:
    assert {type(example) for example in EXAMPLES} == told()
    assert len(EXAMPLES) == len(told())


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_has_a_code_and_one_error_info(error: errors.BellhopError) -> None:
    ending = ending_of(error)
    status = status_of(ending)
    assert ending.code is not grpc.StatusCode.UNKNOWN
    assert (status.code, status.message) == (ending.code.value[0], ending.text)
    info = details_of(ending)["ErrorInfo"]
    assert info.domain == "bellhop"
    assert info.reason in dict(error_reason_pb2.ErrorReason.items())
    assert info.reason == f"ERROR_REASON_{error.reason}"
    assert dict(info.metadata) == error.metadata


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_the_code_is_the_one_that_the_contract_names(error: errors.BellhopError) -> None:
    """The first word of a reason's comment is its code; descriptors.binpb has the comments."""
    assert ending_of(error).code.name == CODES[f"ERROR_REASON_{error.reason}"]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_who_may_wait_is_told_how_long(error: errors.BellhopError) -> None:
    ending = ending_of(error)
    details, trailers = details_of(ending), dict(ending.trailers)
    if error.retry_after is None:
        assert "RetryInfo" not in details
        assert "grpc-retry-pushback-ms" not in trailers
    else:
        assert details["RetryInfo"].retry_delay.ToMilliseconds() == error.retry_after * 1000
        assert trailers["grpc-retry-pushback-ms"] == str(int(error.retry_after * 1000))


def test_an_incident_can_be_reported() -> None:
    assert details_of(ending_of(errors.InternalError("7f3a")))["RequestInfo"].request_id == "7f3a"


def test_all_violations_are_told_up_to_a_number() -> None:
    violations = [errors.Violation(f"audience.users.user_ids[{index}]", "is required") for index in range(40)]
    ending = ending_of(errors.InvalidRequest(violations))
    fields = [each.field for each in details_of(ending)["BadRequest"].field_violations]
    assert fields == [each.field for each in violations[:MAX_VIOLATIONS]]
    assert "and 39 more" in ending.text


@pytest.mark.parametrize("letter", ["x", "ж", "𝕏"])
def test_a_status_never_grows_too_large_for_trailers(letter: str) -> None:
    long = letter * 5000
    violations = [errors.Violation(f'data["{long}"]', long) for _ in range(60)]
    ending = ending_of(errors.InvalidRequest(violations, {"limit": long}))
    assert len(dict(ending.trailers)["grpc-status-details-bin"]) <= MAX_STATUS_BYTES
    assert len(ending.text.encode()) <= 300
    assert details_of(ending)["BadRequest"].field_violations
