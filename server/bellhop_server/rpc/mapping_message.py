"""Messages of the contract to nouns of the domain and back: sends, messages, results, events.

A send is mapped before it is validated, because a repeat is recognised by what the mapping makes of it. So the mapping
of a send never fails: what is not valid is carried along, and tells two different requests apart.
"""

from typing import cast

from bellhop.v1 import device_pb2, event_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop_server.app.explaining import Explained
from bellhop_server.domain.device import Platform
from bellhop_server.domain.event import AcceptedEvent, Event, ProgressEvent, ResultsEvent, SummaryEvent
from bellhop_server.domain.interaction import InteractionCount
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
from bellhop_server.domain.notification import Priority
from bellhop_server.rpc.mapping import micros_of, optional_timestamp, set_timestamp, timestamp
from bellhop_server.rpc.mapping_notification import enum_of, notification, notification_of

# A message that names more is shown without them.
SHOWN_IDS = 100


def send_of(app_id: str, request: notes.SendRequest) -> Send:
    """What a SendRequest asks for, defaults filled in. Never fails."""
    return _send_of(app_id, request, request.request_id, request.message_id)


def explained_of(app_id: str, request: notes.SendRequest | notes.ExplainSendRequest) -> Send:
    """What would be sent, and how. Never fails."""
    return _send_of(app_id, request, "", "")


def _send_of(
    app_id: str, request: notes.SendRequest | notes.ExplainSendRequest, request_id: str, message_id: str
) -> Send:
    return Send(
        app_id=app_id,
        request_id=request_id,
        message_id=message_id,
        audience=_audience_of(request.audience),
        notification=notification_of(request.notification),
        options=_options_of(request.options),
    )


def filter_of(value: int) -> ResultFilter:
    """Which results to show."""
    return enum_of(ResultFilter, value) or ResultFilter.ALL


def _audience_of(audience: message_pb2.Audience) -> Audience:
    match audience.WhichOneof("to"):
        case "users":
            kind, ids = AudienceKind.USERS, tuple(audience.users.user_ids)
        case "devices":
            kind, ids = AudienceKind.DEVICES, tuple(audience.devices.device_ids)
        case "tags":
            kind, ids = AudienceKind.TAGS, tuple(audience.tags.tag_names)
        case "everyone":
            kind, ids = AudienceKind.EVERYONE, ()
        case None:
            kind, ids = cast(AudienceKind, 0), ()
    platforms = tuple(enum_of(Platform, each) for each in audience.platforms)
    return Audience(kind, ids, platforms, tuple(audience.exclude_user_ids))


def _options_of(options: message_pb2.SendOptions) -> SendOptions:
    return SendOptions(
        ttl=micros_of(options.ttl) if options.HasField("ttl") else DEFAULT_TTL,
        priority=enum_of(Priority, options.priority) or Priority.NORMAL,
        resend=enum_of(ResendPolicy, options.resend) or ResendPolicy.IF_REPLACEABLE,
        schedule_time=micros_of(options.schedule_time) if options.HasField("schedule_time") else None,
    )


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
        notification=notification(value.notification) if shown else None,
        audience=_audience(value.audience) if shown else None,
    )


def interaction_count(value: InteractionCount) -> message_pb2.InteractionCount:
    """How many devices reported it."""
    return message_pb2.InteractionCount(
        platform=device_pb2.Platform.ValueType(value.platform),
        interaction=message_pb2.Interaction.ValueType(value.interaction),
        count=value.count,
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
        case AudienceKind.TAGS:
            shown.tags.tag_names.extend(ids)
        case AudienceKind.EVERYONE:
            shown.everyone.SetInParent()
    return shown


def message_counts(value: MessageCounts) -> message_pb2.MessageCounts:
    """Numbers of a message."""
    shown = message_pb2.MessageCounts()
    _count(shown, value)
    return shown


def _count(shown: message_pb2.MessageCounts, value: MessageCounts) -> None:
    shown.device_count = value.device_count
    shown.planned = value.planned
    shown.finished_count = value.finished_count
    shown.retrying_count = value.retrying_count
    shown.not_registered_count = value.not_registered_count
    for (platform, outcome), count in sorted(value.outcomes.items()):
        shown.outcomes.add(
            platform=device_pb2.Platform.ValueType(platform),
            outcome=message_pb2.Outcome.ValueType(outcome),
            count=count,
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
    shown = event_pb2.SendEvent()
    write_event(shown, event, cursor)
    return shown


def write_event(shown: event_pb2.SendEvent, event: Event, cursor: str) -> None:
    """The same in a place that is there already: of many answers none is copied."""
    shown.cursor = cursor
    match event:
        case AcceptedEvent(_, message, replayed):
            accepted = shown.accepted
            accepted.message_id = message.message_id
            accepted.replayed = replayed
            set_timestamp(accepted.accept_time, message.accept_time)
            set_timestamp(accepted.expire_time, message.expire_time)
        case ResultsEvent(_, results):
            add = shown.results.results.add
            for each in results:
                _fill(add(), each)
        case ProgressEvent(_, counts):
            _count(shown.progress.counts, counts)
            if counts.next_attempt_time is not None:
                set_timestamp(shown.progress.next_attempt_time, counts.next_attempt_time)
        case SummaryEvent(_, message, counts):
            summary = shown.summary
            summary.message_id = message.message_id
            summary.state = message_pb2.MessageState.ValueType(message.state)
            _count(summary.counts, counts)
            if message.complete_time is not None:
                set_timestamp(summary.complete_time, message.complete_time)


def explanation(value: Explained) -> notes.ExplainSendResponse:
    """What would happen for one device."""
    shown = notes.ExplainSendResponse(
        device_id=value.device_id,
        user_id=value.user_id,
        platform=device_pb2.Platform.ValueType(value.platform or 0),
    )
    if value.request is not None:
        # The one method by which providers are asked.
        shown.request.url, shown.request.body = f"POST {value.request.url}", value.request.body
        shown.request.headers.update(value.request.headers)
        shown.request.body_size, shown.request.body_limit = value.request.body_size, value.request.body_limit
    elif value.withheld is not None:
        shown.withheld = message_pb2.Outcome.ValueType(value.withheld)
    return shown
