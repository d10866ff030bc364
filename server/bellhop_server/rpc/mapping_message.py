"""Messages of the contract to nouns of the domain and back: sends, messages, results, events.

A send is mapped before it is validated, because a repeat is recognised by what the mapping makes of it. So the mapping
of a send never fails: what is not valid is carried along, and tells two different requests apart.
"""

from enum import IntEnum
from typing import Any, TypeVar, cast

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value

from bellhop.v1 import device_pb2, event_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop_server.domain.device import Platform
from bellhop_server.domain.event import AcceptedEvent, Event, ProgressEvent, ResultsEvent, SummaryEvent
from bellhop_server.domain.message import (
    DEFAULT_TTL,
    Audience,
    AudienceKind,
    Message,
    MessageCounts,
    ResendPolicy,
    Result,
    ResultFilter,
    Send,
    SendOptions,
)
from bellhop_server.domain.notification import ApnsOverride, ApnsPushType, Notification, Priority
from bellhop_server.rpc.mapping import micros_of, optional_timestamp, set_timestamp, timestamp

# A message that names more is shown without them.
SHOWN_IDS = 100

# Whole numbers beyond this are not exact in a double any more, so they are left as they came.
_EXACT = 2**53

E = TypeVar("E", bound=IntEnum)


def send_of(app_id: str, request: notes.SendRequest) -> Send:
    """What a SendRequest asks for, defaults filled in. Never fails."""
    return Send(
        app_id=app_id,
        audience=_audience_of(request.audience),
        notification=_notification_of(request.notification),
        options=_options_of(request.options),
        request_id=request.request_id,
        message_id=request.message_id,
    )


def filter_of(value: int) -> ResultFilter:
    """Which results to show."""
    return _enum(ResultFilter, value) or ResultFilter.ALL


def _audience_of(audience: message_pb2.Audience) -> Audience:
    match audience.WhichOneof("to"):
        case "users":
            kind, ids = AudienceKind.USERS, tuple(audience.users.user_ids)
        case "devices":
            kind, ids = AudienceKind.DEVICES, tuple(audience.devices.device_ids)
        case "everyone":
            kind, ids = AudienceKind.EVERYONE, ()
        case None:
            kind, ids = cast(AudienceKind, 0), ()
    platforms = tuple(_enum(Platform, each) for each in audience.platforms)
    return Audience(kind, ids, platforms, tuple(audience.exclude_user_ids))


def _options_of(options: message_pb2.SendOptions) -> SendOptions:
    return SendOptions(
        ttl=micros_of(options.ttl) if options.HasField("ttl") else DEFAULT_TTL,
        priority=_enum(Priority, options.priority) or Priority.NORMAL,
        resend=_enum(ResendPolicy, options.resend) or ResendPolicy.IF_REPLACEABLE,
        schedule_time=micros_of(options.schedule_time) if options.HasField("schedule_time") else None,
    )


def _notification_of(value: message_pb2.Notification) -> Notification:
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
        apns=_apns_of(value.apns) if value.apns.ByteSize() else None,
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
        push_type=_enum(ApnsPushType, value.push_type) or None,
        payload=_object(value.payload),
        aps=_object(value.aps),
        ttl=micros_of(value.ttl) if value.HasField("ttl") else None,
        collapse_key=value.collapse_key if value.HasField("collapse_key") else None,
        priority=_enum(Priority, value.priority) or None,
    )


def _enum(type_: type[E], value: int) -> E:
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


def push_message(value: Message, counts: MessageCounts, *, full: bool) -> message_pb2.PushMessage:
    """A message as it is shown; `full`: with what was sent and to whom, while that is kept."""
    shown = full and not value.payload_erased
    return message_pb2.PushMessage(
        message_id=value.message_id,
        request_id=value.request_id,
        state=message_pb2.MessageState.ValueType(value.state),
        accept_time=timestamp(value.accept_time),
        schedule_time=timestamp(value.fire_time),
        expire_time=timestamp(value.expire_time),
        complete_time=optional_timestamp(value.complete_time),
        counts=message_counts(counts),
        notification=_notification(value.notification) if shown else None,
        audience=_audience(value.audience) if shown else None,
    )


def _audience(value: Audience) -> message_pb2.Audience:
    shown = message_pb2.Audience(platforms=map(device_pb2.Platform.ValueType, value.platforms))
    if len(value.exclude_user_ids) <= SHOWN_IDS:
        shown.exclude_user_ids.extend(value.exclude_user_ids)
    ids = value.ids if len(value.ids) <= SHOWN_IDS else ()
    match value.kind:
        case AudienceKind.USERS:
            shown.users.user_ids.extend(ids)
            shown.users.SetInParent()
        case AudienceKind.DEVICES:
            shown.devices.device_ids.extend(ids)
            shown.devices.SetInParent()
        case AudienceKind.EVERYONE:
            shown.everyone.SetInParent()
    return shown


def _notification(value: Notification) -> message_pb2.Notification:
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


def message_counts(value: MessageCounts) -> message_pb2.MessageCounts:
    """Numbers of a message."""
    return message_pb2.MessageCounts(
        device_count=value.device_count,
        planned=value.planned,
        finished_count=value.finished_count,
        retrying_count=value.retrying_count,
        not_registered_count=value.not_registered_count,
        outcomes=[
            message_pb2.OutcomeCount(
                platform=device_pb2.Platform.ValueType(platform),
                outcome=message_pb2.Outcome.ValueType(outcome),
                count=count,
            )
            for (platform, outcome), count in sorted(value.outcomes.items())
        ],
    )


def result(value: Result) -> message_pb2.Result:
    """What became of a message for one device."""
    shown = message_pb2.Result()
    _fill(shown, value)
    return shown


def _fill(shown: message_pb2.Result, value: Result) -> None:
    # Field by field and in place: through the constructor it takes two to three times as long, for every result sent.
    (
        shown.device_id,
        shown.user_id,
        platform,
        outcome,
        shown.reason,
        shown.provider_status,
        shown.provider_message_id,
        shown.attempts,
        result_time,
        invalid_since,
    ) = value
    shown.platform = device_pb2.Platform.ValueType(platform)
    shown.outcome = message_pb2.Outcome.ValueType(outcome)
    set_timestamp(shown.result_time, result_time)
    if invalid_since:
        set_timestamp(shown.invalid_since_time, invalid_since)


def send_event(event: Event, cursor: str) -> event_pb2.SendEvent:
    """One step in the life of a message."""
    match event:
        case AcceptedEvent(_, message, replayed):
            accepted = event_pb2.Accepted(
                message_id=message.message_id,
                replayed=replayed,
                accept_time=timestamp(message.accept_time),
                expire_time=timestamp(message.expire_time),
            )
            return event_pb2.SendEvent(cursor=cursor, accepted=accepted)
        case ResultsEvent(_, results):
            shown = event_pb2.SendEvent(cursor=cursor)
            add = shown.results.results.add
            for each in results:
                _fill(add(), each)
            return shown
        case ProgressEvent(_, counts):
            next_attempt = optional_timestamp(counts.next_attempt_time)
            progress = event_pb2.Progress(counts=message_counts(counts), next_attempt_time=next_attempt)
            return event_pb2.SendEvent(cursor=cursor, progress=progress)
        case SummaryEvent(_, message, counts):
            summary = event_pb2.Summary(
                message_id=message.message_id,
                state=message_pb2.MessageState.ValueType(message.state),
                counts=message_counts(counts),
                complete_time=optional_timestamp(message.complete_time),
            )
            return event_pb2.SendEvent(cursor=cursor, summary=summary)
