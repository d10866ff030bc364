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

Below each, one class for each reason: bellhop_client.reasons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc


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
