"""Async client of Bellhop: typed calls, the published repeats, streams that resume by themselves."""

from bellhop.v1.device_pb2 import ApnsEnvironment, ApnsTarget, Device, FcmTarget, Platform, WebPushTarget
from bellhop.v1.event_pb2 import ResultFilter, SendEvent, Summary
from bellhop.v1.message_pb2 import (
    ApnsOverride,
    Audience,
    DeviceList,
    Everyone,
    FcmOverride,
    Interaction,
    Notification,
    Outcome,
    Priority,
    Result,
    SendOptions,
    TagList,
    UserList,
    WebPushOverride,
)
from bellhop.v1.notifier_pb2 import ExplainSendResponse, SendRequest
from bellhop.v1.push_registry_pb2 import SubscriptionOutcome
from bellhop.v1.tag_pb2 import Subscription, Tag
from bellhop_client import reasons
from bellhop_client.admin import AdminClient
from bellhop_client.audience import to_devices, to_everyone, to_tags, to_users
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
from bellhop_client.send_many import ManyAnswer
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
    "Interaction",
    "InternalError",
    "InvalidRequestError",
    "ManyAnswer",
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
    "SendRequest",
    "SendStream",
    "Subscription",
    "SubscriptionOutcome",
    "Summary",
    "Tag",
    "TagList",
    "UnavailableError",
    "UserList",
    "Violation",
    "WebPushOverride",
    "WebPushTarget",
    "reasons",
    "service_config",
    "to_devices",
    "to_everyone",
    "to_tags",
    "to_users",
]
