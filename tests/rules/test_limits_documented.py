"""Numbers that the contract's comments tell are those of the code."""

import pytest

from bellhop_server.app.administering import LIVE_SECRETS
from bellhop_server.domain import DAY
from bellhop_server.domain.binding import GENERATION_LIFE
from bellhop_server.domain.picture import FAREWELL
from bellhop_server.domain.quota import DEVICES_OF_A_USER, UNVERIFIED_DEVICES
from bellhop_server.domain.tag import SUBSCRIPTIONS, TAGS
from bellhop_server.main import DEFAULT_LIMITS
from bellhop_server.rpc.errors import MAX_VIOLATIONS
from bellhop_server.rpc.notifier import EXPLAINED
from bellhop_server.rpc.validation import LONGEST_BINDING, NONCE_LENGTH, SESSION_LENGTH, SHORTEST_BINDING
from bellhop_server.rpc.validation_credential import PEM_LENGTH, SERVICE_ACCOUNT_LENGTH
from bellhop_server.rpc.validation_message import MAX_EXPLAINED
from bellhop_server.rpc.validation_web_push import PAYLOAD_BYTES
from tests.rules.contract import fields, methods, reasons, services

SERVICES = {name: " ".join(comment.split()) for name, comment in services()}
METHODS = {method.name: " ".join(method.comment.split()) for method in methods()}
FIELDS = {field.name: " ".join(field.comment.split()) for field in fields()}
REASONS = {reason.name: " ".join(reason.comment.split()) for reason in reasons()}

REQUEST = f"{DEFAULT_LIMITS.request_bytes // 2**20} MiB"
METADATA = f"{DEFAULT_LIMITS.metadata_bytes // 2**10} KiB"
STREAMS = f"{DEFAULT_LIMITS.streams_per_application:,}"
STREAMS_OF_CONNECTION = f"{DEFAULT_LIMITS.streams_per_connection:,} over a connection"


@pytest.mark.parametrize("service", SERVICES)
def test_services_tell_what_is_too_large(service: str) -> None:
    assert f"the request is over {REQUEST}, or its metadata over {METADATA}" in SERVICES[service]
    assert f"names up to {MAX_VIOLATIONS} of them" in SERVICES[service]


def test_the_notifier_tells_how_many_streams_may_be_open() -> None:
    assert f"At most {STREAMS} streams of an application" in SERVICES["Notifier"]
    assert f"and {STREAMS_OF_CONNECTION}" in SERVICES["Notifier"]


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("Applications.RotateSecret", f"more than {LIVE_SECRETS} secrets of that kind"),
        ("PushRegistry.RegisterDevice", f"the user has {DEVICES_OF_A_USER:,} devices already"),
        ("PushRegistry.Subscribe", f"more than {SUBSCRIPTIONS:,} subscriptions"),
        ("PushRegistry.RegisterAnonymousDevice", f"has {UNVERIFIED_DEVICES:,} UNVERIFIED devices already"),
        ("PushRegistry.UpdateDevice", f"has {UNVERIFIED_DEVICES:,} UNVERIFIED devices already"),
        ("PushRegistry.UnregisterDevice", f"for {FAREWELL // DAY} days after the device was taken out"),
        ("Notifier.Send", f"read nothing for {DEFAULT_LIMITS.reader_seconds:.0f} seconds"),
        ("Notifier.WatchMessage", f"read nothing for {DEFAULT_LIMITS.reader_seconds:.0f} seconds"),
        ("Notifier.ExplainSend", f"read nothing for {DEFAULT_LIMITS.reader_seconds:.0f} seconds"),
    ],
)
def test_methods_tell_their_limits(method: str, told: str) -> None:
    assert told in METHODS[method]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("INVALID_REQUEST", f"a request over {REQUEST}, or metadata over {METADATA}"),
        ("INVALID_REQUEST", f"names up to {MAX_VIOLATIONS}."),
        ("AUTH_ATTEMPTS_EXCEEDED", f"Over {DEFAULT_LIMITS.wrong_credentials} failed credentials"),
        ("OVERLOADED", f"`calls` ({DEFAULT_LIMITS.calls:,} at once)"),
        ("OVERLOADED", f"`streams` ({STREAMS} of an application, {STREAMS_OF_CONNECTION})"),
        ("QUOTA_EXCEEDED", f"`secrets` ({LIVE_SECRETS} live ones of a kind)"),
        ("QUOTA_EXCEEDED", f"`devices_of_user` ({DEVICES_OF_A_USER:,})"),
        ("QUOTA_EXCEEDED", f"`unverified_devices` ({UNVERIFIED_DEVICES:,} of an application)"),
        ("QUOTA_EXCEEDED", f"`tags` ({TAGS:,} of an application)"),
        ("QUOTA_EXCEEDED", f"`subscriptions` ({SUBSCRIPTIONS:,} of a device or user)"),
        ("STREAM_INTERRUPTED", f"a reader that took nothing for {DEFAULT_LIMITS.reader_seconds:.0f} seconds"),
    ],
)
def test_reasons_tell_their_limits(reason: str, told: str) -> None:
    assert told in REASONS[reason]


BINDING = f"{SHORTEST_BINDING.seconds // 60} minute to {LONGEST_BINDING.days} days"


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("RegisterDeviceRequest.session_id", f"up to {SESSION_LENGTH} characters"),
        ("UnregisterUserRequest.session_id", f"up to {SESSION_LENGTH} characters"),
        ("RegisterDeviceRequest.binding_ttl", BINDING),
        ("ApplicationPolicy.default_binding_ttl", BINDING),
        ("RegisterAnonymousDeviceRequest.target_nonce", f"up to {NONCE_LENGTH} characters"),
        ("UpdateDeviceRequest.target_nonce", f"up to {NONCE_LENGTH} characters"),
        ("ApnsKey.p8", f"up to {PEM_LENGTH} characters"),
        ("FcmCredential.service_account_json", f"up to {SERVICE_ACCOUNT_LENGTH:,} characters"),
        ("WebPushCredential.vapid_private_key", f"up to {PEM_LENGTH} characters"),
        ("WebPushOverride.raw_payload", f"up to {PAYLOAD_BYTES} bytes"),
        ("ExplainSendRequest.max_devices", f"1 to {MAX_EXPLAINED:,};"),
        ("ExplainSendRequest.max_devices", f"Default {EXPLAINED}."),
        ("RegisterDeviceRequest.binding_generation", f"for {GENERATION_LIFE // DAY} days after it was last shown"),
    ],
)
def test_fields_tell_their_limits(field: str, told: str) -> None:
    assert told in FIELDS[field]
