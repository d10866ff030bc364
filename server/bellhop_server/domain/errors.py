"""The errors of Bellhop.

BellhopError
├── Unauthenticated
│   ├── CredentialsMissing
│   ├── CredentialsInvalid
│   ├── BindGrantExpired
│   └── DeviceProofRequired
├── Forbidden
│   ├── CredentialKindNotAccepted
│   └── DeniedByPolicy
├── Invalid
│   ├── InvalidRequest
│   ├── PageTokenInvalid
│   └── CursorInvalid
├── NotFound
│   ├── ApplicationNotFound
│   ├── SecretNotFound
│   ├── DeviceNotFound
│   ├── TagNotFound
│   └── MessageNotFound
├── Conflict
│   ├── ApplicationAlreadyExists
│   ├── TagAlreadyExists
│   └── RequestIdReused
├── Unready
│   ├── TargetRequired
│   ├── TagBuiltIn
│   ├── CredentialRefused
│   └── KeyChangeRefused
├── ConcurrentChange
├── StaleBinding
├── Exhausted
│   ├── AuthAttemptsExceeded
│   ├── Overloaded
│   └── QuotaExceeded
├── Unavailable
│   ├── ServiceUnavailable
│   └── StreamInterrupted
└── InternalError

`reason` is the name of the contract's ErrorReason without its prefix, `metadata` what ErrorInfo carries. Which gRPC
status each becomes is the rpc room's business. `retry_after` is in seconds; None: waiting does not help.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from bellhop_server.domain import SECOND, Micros


class BellhopError(Exception):
    """Something that a caller is told."""

    reason: ClassVar[str]

    def __init__(self, text: str, metadata: dict[str, str] | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.metadata = metadata or {}
        self.retry_after = retry_after


class Unauthenticated(BellhopError):
    """Nobody we know."""


class CredentialsMissing(Unauthenticated):
    """`app-id` or every credential that the method accepts is absent or empty."""

    reason = "CREDENTIALS_MISSING"

    def __init__(self, accepted: tuple[str, ...]) -> None:
        keys = ", ".join(accepted)
        super().__init__(f"Credentials are missing. Metadata that this method accepts: {keys}.", {"accepted": keys})


class CredentialsInvalid(Unauthenticated):
    """A credential came and is not valid; deliberately the same for every cause."""

    reason = "CREDENTIALS_INVALID"

    def __init__(self) -> None:
        super().__init__("The credentials are not valid.")


class DeviceProofRequired(Unauthenticated):
    """The device is known, and the caller has shown nothing that proves it is its own."""

    reason = "DEVICE_PROOF_REQUIRED"

    def __init__(self, device_id: str) -> None:
        super().__init__(
            "The device is known: present its device-secret, or a client-secret.", {"device_id": device_id}
        )


class Forbidden(BellhopError):
    """We know who it is; they may not."""


class BindGrantExpired(Unauthenticated):
    """The signature of the bind grant is good, but it binds nobody any more."""

    reason = "BIND_GRANT_EXPIRED"

    def __init__(self, expire_time: Micros) -> None:
        at = datetime.fromtimestamp(expire_time / SECOND, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        super().__init__("The bind grant is used, or its time is over.", {"expire_time": at})


class CredentialKindNotAccepted(Forbidden):
    """The credential is valid but of a kind that the method does not take."""

    reason = "CREDENTIAL_KIND_NOT_ACCEPTED"

    def __init__(self, presented: str, accepted: tuple[str, ...]) -> None:
        keys = ", ".join(accepted)
        super().__init__(f"This method takes {keys}, and no {presented}.", {"presented": presented, "accepted": keys})


class DeniedByPolicy(Forbidden):
    """The application's policy forbids it."""

    reason = "DENIED_BY_POLICY"

    def __init__(self, policy: str) -> None:
        super().__init__(f"The application's {policy} forbids this.", {"policy": policy})


class Invalid(BellhopError):
    """The request itself is wrong."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field: its path from the request and what is wrong with it."""

    field: str
    description: str


class InvalidRequest(Invalid):
    """One or more fields are wrong; all violations at once."""

    reason = "INVALID_REQUEST"

    def __init__(self, violations: list[Violation], metadata: dict[str, str] | None = None) -> None:
        self.violations = violations
        first = f"{violations[0].field}: {violations[0].description}" if violations else "the request is invalid"
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        super().__init__(first + more, metadata)


class PageTokenInvalid(Invalid):
    """The page token is not ours, or another field changed since."""

    reason = "PAGE_TOKEN_INVALID"

    def __init__(self) -> None:
        super().__init__("The page token is not valid for this request. Begin again without it.")


class CursorInvalid(Invalid):
    """The cursor is not ours or of another message."""

    reason = "CURSOR_INVALID"

    def __init__(self, message_id: str) -> None:
        super().__init__(
            "The cursor is not valid for this message. Begin again without it.", {"message_id": message_id}
        )


class NotFound(BellhopError):
    """There is no such thing, or it belongs to somebody else."""


class ApplicationNotFound(NotFound):
    """Only ever told to the admin token."""

    reason = "APPLICATION_NOT_FOUND"

    def __init__(self, app_id: str) -> None:
        super().__init__("There is no such application.", {"app_id": app_id})


class SecretNotFound(NotFound):
    """The application has no such secret."""

    reason = "SECRET_NOT_FOUND"

    def __init__(self, secret_id: str) -> None:
        super().__init__("The application has no such secret.", {"secret_id": secret_id})


class DeviceNotFound(NotFound):
    """The application has no such device."""

    reason = "DEVICE_NOT_FOUND"

    def __init__(self, device_id: str) -> None:
        super().__init__("The application has no such device.", {"device_id": device_id})


class MessageNotFound(NotFound):
    """The application has no such message, or its retention is over."""

    reason = "MESSAGE_NOT_FOUND"

    def __init__(self, message_id: str) -> None:
        super().__init__("The application has no such message.", {"message_id": message_id})


class Conflict(BellhopError):
    """The name is taken."""


class TagNotFound(NotFound):
    """The application has no such tag."""

    reason = "TAG_NOT_FOUND"

    def __init__(self, tag_name: str) -> None:
        super().__init__("The application has no such tag.", {"tag_name": tag_name})


class ApplicationAlreadyExists(Conflict):
    """The `app_id` is taken."""

    reason = "APPLICATION_ALREADY_EXISTS"

    def __init__(self, app_id: str) -> None:
        super().__init__("The app_id is taken.", {"app_id": app_id})


class RequestIdReused(Conflict):
    """The `request_id` or `message_id` belongs to a message with other content; nothing was sent."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str, message_id: str) -> None:
        super().__init__(
            "The id belongs to a message with other content. Nothing was sent.",
            {"request_id": request_id, "message_id": message_id},
        )


class Unready(BellhopError):
    """The state of things does not allow it."""


class TagAlreadyExists(Conflict):
    """The tag's name is taken."""

    reason = "TAG_ALREADY_EXISTS"

    def __init__(self, tag_name: str) -> None:
        super().__init__("The tag_name is taken.", {"tag_name": tag_name})


class TagBuiltIn(Unready):
    """A built-in tag stays as it is."""

    reason = "TAG_BUILT_IN"

    def __init__(self, tag_name: str) -> None:
        super().__init__("A built-in tag cannot be changed or deleted.", {"tag_name": tag_name})


class TargetRequired(Unready):
    """The device is new, so the call must say where it is found."""

    reason = "TARGET_REQUIRED"

    def __init__(self, device_id: str) -> None:
        super().__init__("The device is not known yet: a target is required.", {"device_id": device_id})


class CredentialRefused(Unready):
    """The provider refused the new credential; the old one stays."""

    reason = "CREDENTIAL_REFUSED"

    def __init__(self, platform: str, provider_reason: str) -> None:
        super().__init__(
            f"The provider refused the credential: {provider_reason}.",
            {"platform": platform, "provider_reason": provider_reason},
        )


class KeyChangeRefused(Unready):
    """Another VAPID key would split the subscribed browsers."""

    reason = "KEY_CHANGE_REFUSED"

    def __init__(self, vapid_public_key: str) -> None:
        super().__init__(
            "Browsers are subscribed under the present VAPID key: set allow_key_change to serve new ones by another.",
            {"vapid_public_key": vapid_public_key},
        )


class ConcurrentChange(BellhopError):
    """Somebody else changed the same thing at the same moment, repeatedly."""

    reason = "CONCURRENT_CHANGE"

    def __init__(self) -> None:
        super().__init__("Somebody else changed the same thing at the same moment. Repeat.", retry_after=0.1)


class StaleBinding(BellhopError):
    """A login or logout came too late: `seen` is the generation of a later one; None: the user's logins were ended."""

    reason = "STALE_BINDING"

    def __init__(self, device_id: str, seen: int | None) -> None:
        metadata = {"device_id": device_id} | ({} if seen is None else {"binding_generation": str(seen)})
        super().__init__("A later login or logout is already known. Nothing was changed.", metadata)


class Exhausted(BellhopError):
    """A limit is reached."""


class AuthAttemptsExceeded(Exhausted):
    """Too many failed credentials from this peer for this application."""

    reason = "AUTH_ATTEMPTS_EXCEEDED"

    def __init__(self, retry_after: float) -> None:
        super().__init__(
            "Too many failed credentials.", {"retry_after_ms": str(int(retry_after * 1000))}, retry_after=retry_after
        )


class Overloaded(Exhausted):
    """The server is full and took nothing."""

    reason = "OVERLOADED"

    def __init__(self, queue: str, retry_after: float = 1.0) -> None:
        super().__init__("The server is full and took nothing.", {"queue": queue}, retry_after=retry_after)


class QuotaExceeded(Exhausted):
    """A number that waiting does not lower."""

    reason = "QUOTA_EXCEEDED"

    def __init__(self, limit: str, value: int) -> None:
        super().__init__(f"A limit is reached: {limit}, {value}.", {"limit": limit, "value": str(value)})


class Unavailable(BellhopError):
    """Not now."""


class ServiceUnavailable(Unavailable):
    """Shutting down, or the store is away: nothing was acknowledged. Or nobody can say in time that nothing is handed
    over any more: what was committed stays, and a repeat waits on.
    """

    reason = "SERVICE_UNAVAILABLE"

    def __init__(
        self, cause: str, retry_after: float = 1.0, *, text: str = "The service is not available. Nothing was taken."
    ) -> None:
        super().__init__(text, {"cause": cause}, retry_after=retry_after)


class StreamInterrupted(Unavailable):
    """The stream ends early; the message goes on."""

    reason = "STREAM_INTERRUPTED"

    def __init__(self, message_id: str, cursor: str) -> None:
        super().__init__(
            "The stream ends early; the message goes on. Go on with WatchMessage.",
            {"message_id": message_id, "cursor": cursor},
            retry_after=0.2,
        )


class InternalError(BellhopError):
    """A fault of Bellhop."""

    reason = "INTERNAL_ERROR"

    def __init__(self, incident_id: str) -> None:
        super().__init__("A fault of Bellhop. Please report the incident.", {"incident_id": incident_id})
