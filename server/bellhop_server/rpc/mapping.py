"""Messages of the contract to nouns of the domain and back: applications, secrets, devices, times."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.domain import Micros
from bellhop_server.domain.application import (
    AnonymousPolicy,
    Application,
    BindingPolicy,
    Breaker,
    Policy,
    Secret,
)
from bellhop_server.domain.device import Device, DeviceFacts


def timestamp(micros: Micros) -> Timestamp:
    """A point in time."""
    value = Timestamp()
    set_timestamp(value, micros)
    return value


def set_timestamp(value: Timestamp, micros: Micros) -> None:
    """Makes it that point in time."""
    seconds, rest = divmod(micros, 1_000_000)
    value.seconds = seconds
    value.nanos = rest * 1000


def optional_timestamp(micros: Micros | None) -> Timestamp | None:
    """A point in time, or unset."""
    return None if micros is None else timestamp(micros)


def duration(micros: Micros) -> Duration:
    """A span."""
    seconds, rest = divmod(micros, 1_000_000)
    return Duration(seconds=seconds, nanos=rest * 1000)


def micros_of(value: Timestamp | Duration) -> Micros:
    """A point in time or a span; what is finer than a microsecond is dropped."""
    return value.seconds * 1_000_000 + value.nanos // 1000


def normal_locale(tag: str) -> str:
    """The usual spelling of a language tag (RFC 5646 section 2.1.1): `zh_hant_tw` is `zh-Hant-TW`."""
    parts = tag.replace("_", "-").lower().split("-")
    for index, part in enumerate(parts[1:], start=1):
        if len(parts[index - 1]) == 1:
            continue
        if len(part) == 2:
            parts[index] = part.upper()
        elif len(part) == 4:
            parts[index] = part.title()
    return "-".join(parts)


def facts_of(request: reg.RegisterDeviceRequest | reg.RegisterAnonymousDeviceRequest) -> DeviceFacts:
    """What an app says of its installation."""
    return DeviceFacts(
        locale=normal_locale(request.locale),
        time_zone=request.time_zone,
        app_version=request.app_version,
        attributes=dict(request.attributes),
    )


def device(value: Device) -> device_pb2.Device:
    """A device as it is shown."""
    return device_pb2.Device(
        device_id=value.device_id,
        user_id=value.user_id or "",
        platform=device_pb2.Platform.ValueType(value.target.platform),
        locale=value.facts.locale,
        time_zone=value.facts.time_zone,
        app_version=value.facts.app_version,
        attributes=value.facts.attributes,
        session_id=value.session_id,
        binding_expire_time=optional_timestamp(value.binding_expire_time),
        register_time=timestamp(value.register_time),
        bind_time=optional_timestamp(value.bind_time),
        update_time=timestamp(value.update_time),
        target_time=timestamp(value.target_time),
        state=device_pb2.DeviceState.ValueType(value.state),
        target_fingerprint=value.target.fingerprint,
        apns_topic=value.target.apns_topic,
        apns_environment=device_pb2.ApnsEnvironment.ValueType(value.target.apns_environment or 0),
    )


def policy_of(policy: apps.ApplicationPolicy) -> Policy:
    """Rules of an application, defaults filled in."""
    ttl = micros_of(policy.default_binding_ttl) if policy.HasField("default_binding_ttl") else None
    anonymous = AnonymousPolicy(policy.anonymous_policy or AnonymousPolicy.OPEN)
    return Policy(anonymous, ttl, BindingPolicy(policy.binding_policy or BindingPolicy.SECRET_OR_GRANT))


def application(value: Application, breakers: list[Breaker]) -> apps.Application:
    """An application as it is shown."""
    anonymous, ttl = value.policy.anonymous_policy, value.policy.default_binding_ttl
    return apps.Application(
        app_id=value.app_id,
        display_name=value.display_name,
        policy=apps.ApplicationPolicy(
            binding_policy=apps.BindingPolicy.ValueType(value.policy.binding_policy),
            anonymous_policy=apps.AnonymousPolicy.ValueType(anonymous),
            default_binding_ttl=None if ttl is None else duration(ttl),
        ),
        create_time=timestamp(value.create_time),
        update_time=timestamp(value.update_time),
        breakers=[
            apps.Breaker(
                credential_id=breaker.credential_id,
                platform=device_pb2.Platform.ValueType(breaker.platform),
                reason=breaker.reason,
                retry_time=timestamp(breaker.retry_time),
            )
            for breaker in breakers
        ],
    )


def secret(value: Secret) -> apps.Secret:
    """A secret as it is shown: without its text."""
    return apps.Secret(
        secret_id=value.secret_id,
        kind=apps.SecretKind.ValueType(value.kind),
        hint=value.hint,
        create_time=timestamp(value.create_time),
        expire_time=optional_timestamp(value.expire_time),
        last_use_time=optional_timestamp(value.last_use_time),
    )
