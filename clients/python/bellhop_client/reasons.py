"""One class for each reason of the contract's ErrorReason, below what a caller can do about it.

`except reasons.StaleBinding` catches that alone, `except ConflictError` its family; errors of the transport, and
reasons of a newer server, are of a family and of no class here.
"""

import re
from collections.abc import Mapping

from bellhop_client import errors


class CredentialsMissing(errors.CredentialsError):
    """`app-id`, or every credential that this method accepts, is missing: `metadata["accepted"]`."""


class CredentialsInvalid(errors.CredentialsError):
    """A credential came and is not valid; deliberately not said why."""


class BindGrantExpired(errors.CredentialsError):
    """The bind grant's time is over, or it was revoked or used for another device: fetch a new one."""


class DeviceProofRequired(errors.CredentialsError):
    """The device is known: present its `device_secret`, or a `client_secret`."""


class CredentialKindNotAccepted(errors.PermissionDeniedError):
    """The credential is valid, but of a kind that this method does not take."""


class DeniedByPolicy(errors.PermissionDeniedError):
    """The application's policy forbids it; `metadata["policy"]` names its field."""


class InvalidRequest(errors.InvalidRequestError):
    """One or more fields are wrong; `violations` names up to 25."""


class PageTokenInvalid(errors.InvalidRequestError):
    """The page token is not the server's, or another field changed since: begin again without it."""


class CursorInvalid(errors.InvalidRequestError):
    """The cursor is not the server's, or of another message: begin again without it."""


class ApplicationNotFound(errors.NotFoundError):
    """There is no such application; only for the admin token."""


class SecretNotFound(errors.NotFoundError):
    """The application has no such secret."""


class CredentialNotFound(errors.NotFoundError):
    """The application has no such provider credential."""


class DeviceNotFound(errors.NotFoundError):
    """The application has no such device."""


class TagNotFound(errors.NotFoundError):
    """The application has no such tag."""


class MessageNotFound(errors.NotFoundError):
    """The application has no such message, or its retention is over."""


class ApplicationAlreadyExists(errors.ConflictError):
    """The `app_id` is taken. After a lost response: `rotate_secret` gives new secrets."""


class TagAlreadyExists(errors.ConflictError):
    """The tag name is taken."""


class RequestIdReused(errors.ConflictError):
    """The `request_id` belongs to a message with other content, `metadata["message_id"]`. Nothing was sent."""


class ConcurrentChange(errors.ConflictError):
    """Somebody else changed the same thing at the same moment: repeat."""


class StaleBinding(errors.ConflictError):
    """A later login or logout is already known: nothing was changed, and nothing is to be done."""


class TargetRequired(errors.PreconditionError):
    """The device is not known yet: repeat with `apns`, `fcm` or `web_push`."""


class TagBuiltIn(errors.PreconditionError):
    """A built-in tag cannot be changed or deleted."""


class CredentialRefused(errors.PreconditionError):
    """The provider refused the new credential, `metadata["provider_reason"]`; the old one stays."""


class KeyChangeRefused(errors.PreconditionError):
    """Another VAPID key would split the subscribed browsers: `allow_key_change=True` if you mean it."""


class AuthAttemptsExceeded(errors.ExhaustedError):
    """Over 20 failed credentials within a minute: wait `retry_after`."""


class RateLimited(errors.ExhaustedError):
    """The application's own rate is used up: wait `retry_after`."""


class Overloaded(errors.ExhaustedError):
    """The server is full and took nothing: wait `retry_after`, then repeat."""


class QuotaExceeded(errors.ExhaustedError):
    """There may be no more than `metadata["value"]` of `metadata["limit"]`: waiting does not help."""


class ServiceUnavailable(errors.UnavailableError):
    """Shutting down, or the store is away; nothing was acknowledged: repeat after `retry_after`."""


class StreamInterrupted(errors.UnavailableError):
    """The stream ends early, the message goes on: watch it from the last cursor."""


class InternalError(errors.InternalError):
    """A fault of Bellhop: report `metadata["incident_id"]`."""


BY_REASON: Mapping[str, type[errors.BellhopError]] = {
    re.sub(r"(?<!^)(?=[A-Z])", "_", each.__name__).upper(): each
    for each in tuple(vars().values())
    if isinstance(each, type) and issubclass(each, errors.BellhopError)
}
"""The class of each name of ErrorReason, without its prefix."""
