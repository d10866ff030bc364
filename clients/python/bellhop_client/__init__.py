"""Async client of Bellhop: typed calls, the published repeats, streams that resume by themselves."""

from bellhop.v1.device_pb2 import ApnsEnvironment, ApnsTarget, Device, FcmTarget, Platform, WebPushTarget
from bellhop.v1.event_pb2 import ResultFilter, SendEvent, Summary
from bellhop.v1.message_pb2 import (
    ApnsOverride,
    Audience,
    DeviceList,
    Everyone,
    FcmOverride,
    Notification,
    Outcome,
    Priority,
    Result,
    SendOptions,
    UserList,
    WebPushOverride,
)
from bellhop.v1.notifier_pb2 import ExplainSendResponse
from bellhop_client.admin import AdminClient
from bellhop_client.audience import to_devices, to_everyone, to_users
from bellhop_client.client import Client
from bellhop_client.connection import service_config
from bellhop_client.errors import (
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
    Violation,
)
from bellhop_client.retry import RetryPolicy
from bellhop_client.stream import SendStream

__all__ = [
    "AdminClient",
    "ApnsEnvironment",
    "ApnsOverride",
    "ApnsTarget",
    "Audience",
    "BellhopError",
    "Client",
    "ConflictError",
    "CredentialsError",
    "Device",
    "DeviceList",
    "Everyone",
    "ExhaustedError",
    "ExplainSendResponse",
    "FcmOverride",
    "FcmTarget",
    "InternalError",
    "InvalidRequestError",
    "NotFoundError",
    "Notification",
    "Outcome",
    "PermissionDeniedError",
    "Platform",
    "PreconditionError",
    "Priority",
    "Result",
    "ResultFilter",
    "RetryPolicy",
    "SendEvent",
    "SendOptions",
    "SendStream",
    "Summary",
    "UnavailableError",
    "UserList",
    "Violation",
    "WebPushOverride",
    "WebPushTarget",
    "service_config",
    "to_devices",
    "to_everyone",
    "to_users",
]
