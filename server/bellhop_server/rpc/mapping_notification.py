"""What a message shows: messages of the contract to nouns of the domain and back.

Neither way fails: what is not valid is carried along (see `mapping_message.py`).
"""

from enum import IntEnum
from functools import lru_cache
from typing import Any, TypeVar, cast

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value

from bellhop.v1 import message_pb2
from bellhop_server.domain.notification import (
    ApnsOverride,
    ApnsPushType,
    FcmOverride,
    Notification,
    Priority,
    WebPushOverride,
)
from bellhop_server.rpc.mapping import micros_of

# Whole numbers beyond this are not exact in a double any more, so they are left as they came.
_EXACT = 2**53

E = TypeVar("E", bound=IntEnum)


def notification_of(value: message_pb2.Notification) -> Notification:
    """What a Notification says. Never fails."""
    return Notification(
        title=value.title,
        subtitle=value.subtitle,
        body=value.body,
        image_url=value.image_url,
        link=value.link,
        sound=value.sound,
        badge=value.badge if value.HasField("badge") else None,
        category=value.category,
        collapse_key=value.collapse_key,
        silent=value.silent,
        data=dict(value.data),
        thread_id=value.thread_id,
        # An override that says nothing is none: both are the same message.
        apns=_apns_of(value.apns) if value.HasField("apns") and value.apns.ByteSize() else None,
        fcm=_fcm_of(value.fcm) if value.HasField("fcm") and value.fcm.ByteSize() else None,
        web_push=_web_push_of(value.web_push) if value.HasField("web_push") and value.web_push.ByteSize() else None,
    )


def _apns_of(value: message_pb2.ApnsOverride) -> ApnsOverride:
    return ApnsOverride(
        title=value.title if value.HasField("title") else None,
        body=value.body if value.HasField("body") else None,
        title_loc_key=value.title_loc_key,
        title_loc_args=tuple(value.title_loc_args),
        loc_key=value.loc_key,
        loc_args=tuple(value.loc_args),
        launch_image=value.launch_image,
        mutable_content=value.mutable_content,
        content_available=value.content_available,
        push_type=enum_of(ApnsPushType, value.push_type) or None,
        payload=_object(value.payload),
        aps=_object(value.aps),
        ttl=micros_of(value.ttl) if value.HasField("ttl") else None,
        collapse_key=value.collapse_key if value.HasField("collapse_key") else None,
        priority=enum_of(Priority, value.priority) or None,
    )


def _fcm_of(value: message_pb2.FcmOverride) -> FcmOverride:
    return FcmOverride(
        title=value.title if value.HasField("title") else None,
        body=value.body if value.HasField("body") else None,
        data_only=value.data_only,
        data=dict(value.data),
        channel_id=value.channel_id,
        icon=value.icon,
        color=value.color,
        android=_object(value.android),
        ttl=micros_of(value.ttl) if value.HasField("ttl") else None,
        collapse_key=value.collapse_key if value.HasField("collapse_key") else None,
        priority=enum_of(Priority, value.priority) or None,
    )


def _web_push_of(value: message_pb2.WebPushOverride) -> WebPushOverride:
    return WebPushOverride(
        title=value.title if value.HasField("title") else None,
        body=value.body if value.HasField("body") else None,
        options=_object(value.options),
        raw_payload=value.raw_payload,
        ttl=micros_of(value.ttl) if value.HasField("ttl") else None,
        collapse_key=value.collapse_key if value.HasField("collapse_key") else None,
        priority=enum_of(Priority, value.priority) or None,
    )


@lru_cache(maxsize=256)
def enum_of(type_: type[E], value: int) -> E:
    """The member; what is none is carried along as the number it is, and refused by validation."""
    try:
        return type_(value)
    except ValueError:
        return cast(E, value)


def _object(struct: Struct) -> dict[str, Any]:
    return {key: _json(value) for key, value in struct.fields.items()}


def _json(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if abs(number) <= _EXACT and number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _object(value.struct_value)
        case "list_value":
            return [_json(each) for each in value.list_value.values]
        case _:
            return None


def notification(value: Notification) -> message_pb2.Notification:
    """A notification as it is shown."""
    return message_pb2.Notification(
        title=value.title,
        subtitle=value.subtitle,
        body=value.body,
        image_url=value.image_url,
        link=value.link,
        sound=value.sound,
        badge=value.badge,
        category=value.category,
        collapse_key=value.collapse_key,
        silent=value.silent,
        data=value.data,
        thread_id=value.thread_id,
        apns=None if value.apns is None else _apns(value.apns),
        fcm=None if value.fcm is None else _fcm(value.fcm),
        web_push=None if value.web_push is None else _web_push(value.web_push),
    )


def _apns(value: ApnsOverride) -> message_pb2.ApnsOverride:
    shown = message_pb2.ApnsOverride(
        title=value.title,
        body=value.body,
        title_loc_key=value.title_loc_key,
        title_loc_args=value.title_loc_args,
        loc_key=value.loc_key,
        loc_args=value.loc_args,
        launch_image=value.launch_image,
        mutable_content=value.mutable_content,
        content_available=value.content_available,
        push_type=message_pb2.ApnsPushType.ValueType(value.push_type or 0),
        collapse_key=value.collapse_key,
        priority=message_pb2.Priority.ValueType(value.priority or 0),
    )
    if value.payload:
        ParseDict(value.payload, shown.payload)
    if value.aps:
        ParseDict(value.aps, shown.aps)
    if value.ttl is not None:
        shown.ttl.FromMicroseconds(value.ttl)
    return shown


def _fcm(value: FcmOverride) -> message_pb2.FcmOverride:
    shown = message_pb2.FcmOverride(
        title=value.title,
        body=value.body,
        data_only=value.data_only,
        data=value.data,
        channel_id=value.channel_id,
        icon=value.icon,
        color=value.color,
        collapse_key=value.collapse_key,
        priority=message_pb2.Priority.ValueType(value.priority or 0),
    )
    if value.android:
        ParseDict(value.android, shown.android)
    if value.ttl is not None:
        shown.ttl.FromMicroseconds(value.ttl)
    return shown


def _web_push(value: WebPushOverride) -> message_pb2.WebPushOverride:
    shown = message_pb2.WebPushOverride(
        title=value.title,
        body=value.body,
        raw_payload=value.raw_payload,
        collapse_key=value.collapse_key,
        priority=message_pb2.Priority.ValueType(value.priority or 0),
    )
    if value.options:
        ParseDict(value.options, shown.options)
    if value.ttl is not None:
        shown.ttl.FromMicroseconds(value.ttl)
    return shown
