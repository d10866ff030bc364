"""Proto to domain and back: total for a send, exact for all else; tokens and cursors that belong to one thing."""

import math
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2, event_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop_server.domain import DAY, HOUR
from bellhop_server.domain.application import Policy, Secret, SecretKind
from bellhop_server.domain.device import ApnsEnvironment, Device, DeviceFacts, DeviceState, Platform, Target
from bellhop_server.domain.event import AcceptedEvent, ProgressEvent, ResultsEvent, SummaryEvent
from bellhop_server.domain.fingerprint import fingerprint
from bellhop_server.domain.message import (
    AudienceKind,
    Message,
    MessageCounts,
    MessageState,
    Outcome,
    ResendPolicy,
    Result,
    ResultFilter,
    SendOptions,
)
from bellhop_server.domain.notification import ApnsPushType, FcmOverride, Priority, WebPushOverride
from bellhop_server.rpc import mapping, mapping_message

AT = 1_800_000_000_123_456

FULL_SEND = notes.SendRequest(
    request_id="order-17",
    message_id="m1",
    audience=message_pb2.Audience(
        users=message_pb2.UserList(user_ids=["anna", "bert"]),
        platforms=[device_pb2.PLATFORM_APNS],
        exclude_user_ids=["carl"],
    ),
    notification=message_pb2.Notification(
        title="T",
        subtitle="S",
        body="B",
        image_url="https://example.org/i.png",
        link="shop:17",
        sound="default",
        badge=0,
        category="C",
        collapse_key="K",
        data={"a": "1", "b": "2"},
        thread_id="H",
        apns=message_pb2.ApnsOverride(
            title="",
            body="b",
            title_loc_key="tk",
            title_loc_args=["x"],
            loc_key="lk",
            loc_args=["y", "z"],
            launch_image="L",
            mutable_content=True,
            content_available=True,
            push_type=message_pb2.APNS_PUSH_TYPE_VOIP,
            payload={"n": 3, "f": 1.5, "l": [1, "a", None, True, {"d": {}}]},
            aps={"relevance-score": 1},
            ttl={"seconds": 60, "nanos": 500_000_000},
            collapse_key="",
            priority=message_pb2.PRIORITY_HIGH,
        ),
        fcm=message_pb2.FcmOverride(
            title="t",
            body="",
            data_only=True,
            data={"c": "3"},
            channel_id="orders",
            icon="bell",
            color="#0a0B0c",
            android={"notification": {"tag": "x", "notification_count": 3}, "direct_boot_ok": True},
            ttl={},
            collapse_key="k",
            priority=message_pb2.PRIORITY_LOW,
        ),
        web_push=message_pb2.WebPushOverride(
            title="w",
            body="",
            options={"tag": "x", "actions": [{"action": "open", "title": "Open"}]},
            raw_payload="{}",
            ttl={"seconds": 2419200},
            collapse_key="",
            priority=message_pb2.PRIORITY_NORMAL,
        ),
    ),
    options=message_pb2.SendOptions(
        ttl={"seconds": 3600}, priority=message_pb2.PRIORITY_LOW, resend=message_pb2.RESEND_POLICY_ALWAYS
    ),
)


def message(request: notes.SendRequest, **changes: Any) -> Message:
    send = mapping_message.send_of("shop", request)
    fields = {
        "ref": 1,
        "app_id": "shop",
        "message_id": "m1",
        "request_id": send.request_id,
        "state": MessageState.COMPLETED,
        "accept_time": AT,
        "expire_time": AT + HOUR,
        "complete_time": AT + 1,
        "audience": send.audience,
        "notification": send.notification,
        "options": send.options,
    }
    return Message(**{**fields, **changes})


def test_a_send_is_carried_over_field_by_field() -> None:
    send = mapping_message.send_of("shop", FULL_SEND)
    assert (send.app_id, send.request_id, send.message_id) == ("shop", "order-17", "m1")
    assert send.audience.kind is AudienceKind.USERS
    assert (send.audience.ids, send.audience.exclude_user_ids) == (("anna", "bert"), ("carl",))
    assert send.audience.platforms == (Platform.APNS,)
    assert send.options == SendOptions(HOUR, Priority.LOW, ResendPolicy.ALWAYS)
    shown = send.notification
    assert (shown.badge, shown.data, shown.collapse_key, shown.silent) == (0, {"a": "1", "b": "2"}, "K", False)
    assert shown.apns is not None
    assert (shown.apns.title, shown.apns.body, shown.apns.collapse_key) == ("", "b", "")
    assert (shown.apns.push_type, shown.apns.priority) == (ApnsPushType.VOIP, Priority.HIGH)
    assert shown.apns.ttl == 60_500_000
    assert shown.apns.payload == {"n": 3, "f": 1.5, "l": [1, "a", None, True, {"d": {}}]}
    assert type(shown.apns.payload["n"]) is int
    assert shown.fcm == FcmOverride(
        title="t",
        body="",
        data_only=True,
        data={"c": "3"},
        channel_id="orders",
        icon="bell",
        color="#0a0B0c",
        android={"notification": {"tag": "x", "notification_count": 3}, "direct_boot_ok": True},
        ttl=0,
        collapse_key="k",
        priority=Priority.LOW,
    )
    assert shown.web_push == WebPushOverride(
        title="w",
        body="",
        options={"tag": "x", "actions": [{"action": "open", "title": "Open"}]},
        raw_payload="{}",
        ttl=28 * DAY,
        collapse_key="",
        priority=Priority.NORMAL,
    )


def test_what_was_not_given_gets_its_default() -> None:
    send = mapping_message.send_of("shop", notes.SendRequest(notification={"apns": {"mutable_content": True}}))
    assert send.options == SendOptions(DAY, Priority.NORMAL, ResendPolicy.IF_REPLACEABLE)
    assert send.notification.badge is None
    assert send.notification.apns is not None
    assert (send.notification.apns.title, send.notification.apns.ttl, send.notification.apns.push_type) == (None,) * 3


@pytest.mark.parametrize("network", ["apns", "fcm", "web_push"])
def test_an_override_that_says_nothing_is_none(network: str) -> None:
    empty = mapping_message.send_of("shop", notes.SendRequest(notification={"title": "Hello", network: {}}))
    none = mapping_message.send_of("shop", notes.SendRequest(notification={"title": "Hello"}))

    assert empty == none


def test_a_schedule_is_carried_over_and_shown() -> None:
    request = notes.SendRequest(options={"schedule_time": {"seconds": 5, "nanos": 1999}})
    assert mapping_message.send_of("shop", request).options.schedule_time == 5_000_001
    for schedule, shown in ((AT + HOUR, AT + HOUR), (AT - HOUR, AT), (None, AT)):
        kept = message(request, options=SendOptions(schedule_time=schedule))
        pushed = mapping_message.push_message(kept, MessageCounts(), full=False)
        assert pushed.schedule_time.ToMicroseconds() == shown


def test_a_ttl_of_nothing_is_not_the_default() -> None:
    send = mapping_message.send_of("shop", notes.SendRequest(options={"ttl": {}}))
    assert send.options.ttl == 0


def test_what_was_sent_is_shown_again_as_it_was() -> None:
    shown = mapping_message.push_message(message(FULL_SEND), MessageCounts(), full=True)
    assert shown.notification == FULL_SEND.notification
    assert shown.audience == FULL_SEND.audience


def test_what_was_sent_is_left_out_of_the_basic_view_and_after_retention() -> None:
    basic = mapping_message.push_message(message(FULL_SEND), MessageCounts(), full=False)
    erased = mapping_message.push_message(message(FULL_SEND, payload_erased=True), MessageCounts(), full=True)
    for shown in (basic, erased):
        assert not shown.HasField("notification")
        assert not shown.HasField("audience")


@pytest.mark.parametrize(("count", "shown"), [(100, 100), (101, 0)])
def test_long_audiences_are_left_out(count: int, shown: int) -> None:
    request = notes.SendRequest(audience={"devices": {"device_ids": ["d"] * count}, "exclude_user_ids": ["u"] * count})
    told = mapping_message.push_message(message(request), MessageCounts(), full=True).audience
    assert told.WhichOneof("to") == "devices"
    assert (len(told.devices.device_ids), len(told.exclude_user_ids)) == (shown, shown)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=8,
)
numbers = st.integers(min_value=-(2**31), max_value=2**31 - 1)


@given(
    struct=st.dictionaries(st.text(max_size=3), json_values, max_size=3),
    number=numbers,
    seconds=st.integers(min_value=-(2**63), max_value=2**63 - 1),
    text=st.text(max_size=5),
)
def test_the_mapping_of_a_send_never_fails_and_has_a_fingerprint(
    struct: dict[str, Any], number: int, seconds: int, text: str
) -> None:
    request = notes.SendRequest(
        request_id=text,
        audience={"platforms": [number], "users": {"user_ids": [text]}},
        notification={
            "badge": number,
            "apns": {"push_type": number, "priority": number, "ttl": {"seconds": seconds, "nanos": number}},
            "fcm": {"color": text, "priority": number, "ttl": {"seconds": seconds, "nanos": number}},
            "web_push": {"raw_payload": text, "priority": number, "ttl": {"seconds": seconds, "nanos": number}},
        },
        options={"ttl": {"seconds": seconds, "nanos": number}, "priority": number, "resend": number},
    )
    shown = request.notification
    for each in (shown.apns.aps, shown.fcm.android, shown.web_push.options):
        json_format.ParseDict({key: value for key, value in struct.items() if _plain(value)}, each)
    assert len(fingerprint(mapping_message.send_of("shop", request))) == 64


def _plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(map(_plain, parts))


@pytest.mark.parametrize("number", [math.nan, math.inf, 1e300, -0.0, 2.0**53 + 2, 0.1])
def test_numbers_of_any_kind_are_mapped(number: float) -> None:
    request = notes.SendRequest()
    request.notification.apns.aps["x"] = number
    assert fingerprint(mapping_message.send_of("shop", request))


def test_an_unset_json_value_is_mapped() -> None:
    request = notes.SendRequest()
    request.notification.apns.payload.fields["x"].SetInParent()
    assert mapping_message.send_of("shop", request).notification.apns.payload == {"x": None}


def test_values_that_are_refused_still_make_a_difference() -> None:
    marks = {
        fingerprint(mapping_message.send_of("shop", notes.SendRequest(options={"priority": priority})))
        for priority in (1, 2, 98, 99)
    }
    assert len(marks) == 4


def test_filters() -> None:
    assert mapping_message.filter_of(event_pb2.RESULT_FILTER_UNSPECIFIED) is ResultFilter.ALL
    assert mapping_message.filter_of(event_pb2.RESULT_FILTER_NONE) is ResultFilter.NONE


@pytest.mark.parametrize(
    ("given_", "usual"),
    [
        ("", ""),
        ("de_AT", "de-AT"),
        ("DE", "de"),
        ("zh_hant_tw", "zh-Hant-TW"),
        ("sr-latn", "sr-Latn"),
        ("es-419", "es-419"),
        ("en-us-x-Phonebk-AB", "en-US-x-phonebk-AB"),
        ("de-a-ab", "de-a-ab"),
        ("sl-Rozaj-1994", "sl-rozaj-1994"),
    ],
)
def test_language_tags_get_their_usual_spelling(given_: str, usual: str) -> None:
    assert mapping.normal_locale(given_) == usual


def test_a_device_is_shown_without_its_token() -> None:
    target = Target(Platform.APNS, "ab" * 32, "com.x", ApnsEnvironment.PRODUCTION)
    facts = DeviceFacts("de-AT", "Europe/Vienna", "1.0", {"k": "v"})
    value = Device("shop", "d1", "anna", 7, target, facts, DeviceState.DEAD, AT, AT + 1, AT + 2, AT + 3)
    shown = mapping.device(value)
    assert shown.user_id == "anna"
    assert shown.target_fingerprint == target.fingerprint
    assert (shown.state, shown.apns_topic, shown.apns_environment) == (2, "com.x", 2)
    assert shown.bind_time.ToMicroseconds() == AT + 1
    assert shown.target_time.ToMicroseconds() == AT + 3
    assert dict(shown.attributes) == {"k": "v"}
    assert "ab" * 32 not in str(shown)


def test_an_anonymous_device_has_no_user_and_no_bind_time() -> None:
    target = Target(Platform.APNS, "ab")
    value = Device("shop", "d1", None, 7, target, DeviceFacts(), DeviceState.ACTIVE, AT, None, AT, AT)
    shown = mapping.device(value)
    assert (shown.user_id, shown.HasField("bind_time"), shown.apns_environment) == ("", False, 0)


def test_a_secret_is_shown_without_itself() -> None:
    secret = mapping.secret(Secret("s1", "shop", SecretKind.APP, b"digest", "wxyz", AT, AT + 1, None))
    assert secret == apps.Secret(
        secret_id="s1",
        kind=apps.SECRET_KIND_APP,
        hint="wxyz",
        create_time=mapping.timestamp(AT),
        expire_time=mapping.timestamp(AT + 1),
    )


def test_a_policy_gets_its_defaults() -> None:
    assert mapping.policy_of(apps.ApplicationPolicy()) == Policy()


RESULT = Result("d1", "anna", 1, Outcome.TOKEN_INVALID, "Unregistered", 410, "uuid", 2, AT, AT - 5)


def test_events() -> None:
    counts = MessageCounts(2, True, 2, 0, 1, {(Platform.APNS, Outcome.ACCEPTED): 2}, AT + 9)
    sent = message(FULL_SEND)
    accepted = mapping_message.send_event(AcceptedEvent(0, sent, True), "c").accepted
    assert (accepted.message_id, accepted.replayed) == ("m1", True)
    assert accepted.expire_time.ToMicroseconds() == AT + HOUR
    (result,) = mapping_message.send_event(ResultsEvent(1, [RESULT]), "c").results.results
    assert (result.platform, result.outcome, result.provider_status, result.attempts) == (1, 2, 410, 2)
    assert result.invalid_since_time.ToMicroseconds() == AT - 5
    progress = mapping_message.send_event(ProgressEvent(1, counts), "c").progress
    assert progress.next_attempt_time.ToMicroseconds() == AT + 9
    summary = mapping_message.send_event(SummaryEvent(2, sent, counts), "c")
    assert summary.cursor == "c"
    assert summary.summary.state == message_pb2.MESSAGE_STATE_COMPLETED
    assert [(each.platform, each.outcome, each.count) for each in summary.summary.counts.outcomes] == [(1, 1, 2)]


def test_a_result_of_nobody_has_no_platform_and_no_times_it_does_not_know() -> None:
    result = mapping_message.result(Result("", "anna", 0, Outcome.NOT_REGISTERED, "", 0, "", 0, AT, 0))
    assert (result.platform, result.HasField("invalid_since_time")) == (0, False)
