"""The rules of requests: each bad value is told by its path, all of them at once, and good ones pass."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import Message

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2, event_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.domain.errors import InvalidRequest
from bellhop_server.rpc import validation
from bellhop_server.rpc.auth import ACCESS
from bellhop_server.rpc.validation import validate


def register(**changes: Any) -> reg.RegisterDeviceRequest:
    fields = {"device_id": "d1", "user_id": "anna", "apns": device_pb2.ApnsTarget(token="aB" * 32)}
    return reg.RegisterDeviceRequest(**{**fields, **changes})


def send(**changes: Any) -> notes.SendRequest:
    fields: dict[str, Any] = {
        "audience": message_pb2.Audience(users=message_pb2.UserList(user_ids=["anna"])),
        "notification": message_pb2.Notification(title="Hello"),
    }
    return notes.SendRequest(**{**fields, **changes})


def notification(**fields: Any) -> notes.SendRequest:
    return send(notification=message_pb2.Notification(**{"title": "Hello", **fields}))


def apns(**fields: Any) -> notes.SendRequest:
    return notification(apns=message_pb2.ApnsOverride(**fields))


def audience(**fields: Any) -> notes.SendRequest:
    return send(audience=message_pb2.Audience(**fields))


def credential(**changes: Any) -> apps.SetCredentialRequest:
    key = apps.ApnsKey(key_id="ABCDE12345", team_id="ABCDE12345", p8="-----BEGIN")
    fields = {"key": key, "topics": ["com.example.shop"]}
    return apps.SetCredentialRequest(app_id="shop", apns=apps.ApnsCredential(**{**fields, **changes}))


# In seconds.
NOW = 1_800_000_000


def violations(request: Message, now: int = 0) -> list[str]:
    try:
        validate(request, now)
    except InvalidRequest as refused:
        return [each.field for each in refused.violations]
    return []


def test_every_request_of_the_contract_has_rules() -> None:
    pool = descriptor_pool.Default()
    methods = [pool.FindMethodByName(path.strip("/").replace("/", ".")) for path in ACCESS]
    requests = {method.input_type.full_name for method in methods}
    assert {type_.DESCRIPTOR.full_name for type_ in validation._RULES} == requests


@pytest.mark.parametrize(
    "request_",
    [
        register(),
        register(device_id=""),
        register(user_id="x" * 512),
        register(user_id="𝕏" * 512),
        register(user_id=" \n\t"),
        register(device_id="ж" * 128),
        register(apns=device_pb2.ApnsTarget(token="00")),
        register(apns=device_pb2.ApnsTarget(token="f" * 512)),
        register(locale="de_AT", time_zone="America/Argentina/Buenos_Aires", app_version="1.2.3 (45)"),
        register(locale="zh-Hant-TW", time_zone="Etc/GMT+3"),
        register(attributes={"k" * 64: "v" * 256, "a.b_c-d": ""}),
        register(attributes={f"k{index}": "" for index in range(50)}),
        reg.RegisterAnonymousDeviceRequest(),
        reg.UpdateDeviceRequest(device_id="d1", locale="", time_zone="", app_version=""),
        reg.ListDevicesRequest(page_size=5000, states=[device_pb2.DEVICE_STATE_DEAD]),
        reg.CheckCredentialRequest(),
        send(),
        send(request_id="~" * 128, message_id="A-z_09", result_filter=event_pb2.RESULT_FILTER_NONE),
        audience(everyone=message_pb2.Everyone(), platforms=[1, 2, 3]),
        audience(users=message_pb2.UserList(user_ids=["anna"] * 10_000)),
        notification(image_url="https://example.org/a.png", link="shop:order/17", badge=0, collapse_key="ä" * 32),
        send(notification=message_pb2.Notification(badge=0)),
        send(notification=message_pb2.Notification(silent=True, data={"k": "v"}, collapse_key="c", link="a:b")),
        send(notification=message_pb2.Notification(apns=message_pb2.ApnsOverride(mutable_content=True))),
        apns(title_loc_key="k", title_loc_args=["a"] * 100, push_type=message_pb2.APNS_PUSH_TYPE_VOIP),
        apns(aps={"interruption-level": "critical", "sound": {"critical": 1, "name": "default", "volume": 0.8}}),
        apns(aps={"event": "update", "timestamp": 1.7e9, "content-state": {"a": [1, None, "x"]}, "badge": 3}),
        apns(aps={"unheard-of": [{}], "relevance-score": 0.5}, payload={"order": {"id": 17}}),
        apns(push_type=message_pb2.APNS_PUSH_TYPE_LIVE_ACTIVITY, aps={"event": "end", "timestamp": 1.7e9}),
        apns(push_type=message_pb2.APNS_PUSH_TYPE_BACKGROUND, payload={"order": {"id": 17}}),
        apps.CreateApplicationRequest(display_name="Shop"),
        apps.RotateSecretRequest(app_id="shop", kind=apps.SECRET_KIND_APP, overlap={"seconds": 90 * 86400}),
        credential(),
        credential(environments=[1, 2], topics=[f"com.example.{index}" for index in range(400)]),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_is_right_passes(request_: Message) -> None:
    assert violations(request_) == []


WRONG: list[tuple[Message, list[str]]] = [
    (reg.RegisterDeviceRequest(), ["user_id"]),
    (register(user_id="x" * 513), ["user_id"]),
    (register(user_id="a\0b"), ["user_id"]),
    (register(user_id="anonymous"), ["user_id"]),
    (register(device_id="x" * 129), ["device_id"]),
    (register(device_id="a\x85b"), ["device_id"]),
    (register(apns=device_pb2.ApnsTarget()), ["apns.token"]),
    (register(apns=device_pb2.ApnsTarget(token="abc")), ["apns.token"]),
    (register(apns=device_pb2.ApnsTarget(token="zz")), ["apns.token"]),
    (register(apns=device_pb2.ApnsTarget(token="a" * 514)), ["apns.token"]),
    (register(apns=device_pb2.ApnsTarget(token="aa\n")), ["apns.token"]),
    (
        register(apns=device_pb2.ApnsTarget(token="aa", topic="com example", environment=7)),
        ["apns.topic", "apns.environment"],
    ),
    (register(locale="d"), ["locale"]),
    (register(locale="de-"), ["locale"]),
    (register(locale="de" + "-x" * 32), ["locale"]),
    (register(time_zone="Europe/Vienna!", app_version="v" * 65), ["time_zone", "app_version"]),
    (register(attributes={"": "x"}), ['attributes[""]']),
    (register(attributes={"k": "v" * 257}), ['attributes["k"]']),
    (register(attributes={'say "hi"': ""}), ['attributes["say \\"hi\\""]']),
    (register(attributes={f"k{index}": "" for index in range(51)}), ["attributes"]),
    (reg.UpdateDeviceRequest(), ["device_id"]),
    (
        reg.UpdateDeviceRequest(device_id="d", set_attributes={"a": "1"}, remove_attributes=["a", "?"]),
        ["remove_attributes[0]", "remove_attributes[1]"],
    ),
    (reg.ListDevicesRequest(page_size=-1, platforms=[1, 1], states=[0]), ["page_size", "platforms[1]", "states[0]"]),
    (reg.ListDevicesRequest(states=[1, 2, 3, 1]), ["states"]),
    (reg.UnregisterUserRequest(user_id="anonymous"), ["user_id"]),
    (notes.SendRequest(), ["audience", "notification"]),
    (send(request_id="a b"), ["request_id"]),
    (send(request_id="ä"), ["request_id"]),
    (send(message_id="a/b"), ["message_id"]),
    (send(accept_only=True, validate_only=True), ["validate_only"]),
    (send(result_filter=9), ["result_filter"]),
    (send(options=message_pb2.SendOptions(ttl={"seconds": -1})), ["options.ttl"]),
    (send(options=message_pb2.SendOptions(ttl={"seconds": 28 * 86400, "nanos": 1000})), ["options.ttl"]),
    (register(binding_ttl={"seconds": 400 * 86400, "nanos": 1}), ["binding_ttl"]),
    (register(binding_ttl={"seconds": 59, "nanos": 999_999_999}), ["binding_ttl"]),
    (send(options=message_pb2.SendOptions(ttl={"seconds": 2**62})), ["options.ttl"]),
    (send(options=message_pb2.SendOptions(ttl={"seconds": 1, "nanos": -1})), ["options.ttl"]),
    (send(options=message_pb2.SendOptions(priority=9, resend=-1)), ["options.priority", "options.resend"]),
    (audience(), ["audience.to"]),
    (audience(users=message_pb2.UserList()), ["audience.users.user_ids"]),
    (
        audience(users=message_pb2.UserList(user_ids=["a", "", "anonymous"])),
        ["audience.users.user_ids[1]", "audience.users.user_ids[2]"],
    ),
    (audience(users=message_pb2.UserList(user_ids=["a"] * 10_001)), ["audience.users.user_ids"]),
    (audience(devices=message_pb2.DeviceList(device_ids=["a", "b\n"])), ["audience.devices.device_ids[1]"]),
    (
        audience(everyone=message_pb2.Everyone(), exclude_user_ids=["\0"], platforms=[4]),
        ["audience.platforms[0]", "audience.exclude_user_ids[0]"],
    ),
    (send(notification=message_pb2.Notification()), ["notification"]),
    (send(notification=message_pb2.Notification(subtitle="only")), ["notification"]),
    (send(notification=message_pb2.Notification(apns=message_pb2.ApnsOverride())), ["notification"]),
    (notification(image_url="http://example.org/a.png"), ["notification.image_url"]),
    (notification(image_url="https:///a.png"), ["notification.image_url"]),
    (notification(image_url="https://[/"), ["notification.image_url"]),
    (notification(link="order/17"), ["notification.link"]),
    (notification(link="https://example.org/a b"), ["notification.link"]),
    (notification(link="a:" + "b" * 2047), ["notification.link"]),
    (notification(badge=-1, sound="s" * 257), ["notification.sound", "notification.badge"]),
    (notification(collapse_key="ä" * 33), ["notification.collapse_key"]),
    (notification(collapse_key="a\tb"), ["notification.collapse_key"]),
    (
        notification(data={"bellhop.x": "", "google": "", "gcm.y": "", "aps": "", "from": ""}),
        [f'notification.data["{key}"]' for key in ("aps", "bellhop.x", "from", "gcm.y", "google")],
    ),
    (notification(data={"a b": ""}), ['notification.data["a b"]']),
    (notification(data={f"k{index}": "" for index in range(101)}), ["notification.data"]),
    (
        notification(silent=True, body="b", badge=0),
        ["notification.title", "notification.body", "notification.badge"],
    ),
    (apns(loc_args=["a"]), ["notification.apns.loc_args"]),
    (apns(title_loc_key="k", title_loc_args=["a"] * 101), ["notification.apns.title_loc_args"]),
    (
        apns(push_type=99, priority=9, ttl={"nanos": -5}),
        ["notification.apns.push_type", "notification.apns.ttl", "notification.apns.priority"],
    ),
    (
        apns(payload={"aps": {}, "bellhop": 1, "ok": 2}),
        ['notification.apns.payload["aps"]', 'notification.apns.payload["bellhop"]'],
    ),
    (
        notification(
            title="", silent=True, apns=message_pb2.ApnsOverride(title="t", push_type=message_pb2.APNS_PUSH_TYPE_ALERT)
        ),
        ["notification.apns.push_type", "notification.apns.title"],
    ),
    (
        apns(push_type=message_pb2.APNS_PUSH_TYPE_BACKGROUND, body="b", aps={"alert": "a", "badge": 1, "sound": "s"}),
        [
            "notification.apns.body",
            'notification.apns.aps["alert"]',
            'notification.apns.aps["badge"]',
            'notification.apns.aps["sound"]',
        ],
    ),
    (
        apns(push_type=message_pb2.APNS_PUSH_TYPE_LIVE_ACTIVITY, aps={"event": "update"}),
        ['notification.apns.aps["timestamp"]', 'notification.apns.aps["content-state"]'],
    ),
    (apns(payload={"a": {"b": [1, math.nan]}}), ['notification.apns.payload["a"]["b"][1]']),
    (apns(aps={"relevance-score": math.inf}), ['notification.apns.aps["relevance-score"]']),
    (apns(aps={"interruption-level": "loud"}), ['notification.apns.aps["interruption-level"]']),
    (
        apns(aps={"timestamp": 1.5, "badge": -1}),
        ['notification.apns.aps["badge"]', 'notification.apns.aps["timestamp"]'],
    ),
    (
        apns(aps={"event": "begin", "content-state": "x"}),
        ['notification.apns.aps["content-state"]', 'notification.apns.aps["event"]'],
    ),
    (apns(aps={"sound": {"critical": 2}}), ['notification.apns.aps["sound"]']),
    (apns(aps={"sound": {"volume": 1.1}}), ['notification.apns.aps["sound"]']),
    (apns(aps={"sound": None}), ['notification.apns.aps["sound"]']),
    (notes.WatchMessageRequest(message_id="", after_cursor="x" * 129), ["message_id", "after_cursor"]),
    (notes.GetMessageRequest(message_id="m", view=3), ["view"]),
    (notes.ListMessagesRequest(accepted_from_time={"seconds": 2**60}), ["accepted_from_time"]),
    (notes.ListResultsRequest(message_id="m", result_filter=3, outcomes=[18]), ["result_filter", "outcomes[0]"]),
    (
        apps.CreateApplicationRequest(app_id="Shop", policy=apps.ApplicationPolicy(anonymous_policy=9)),
        ["app_id", "display_name", "policy.anonymous_policy"],
    ),
    (apps.CreateApplicationRequest(app_id="-shop", display_name="a\nb"), ["app_id", "display_name"]),
    (apps.CreateApplicationRequest(app_id="a" * 64, display_name="x" * 129), ["app_id", "display_name"]),
    (apps.UpdateApplicationRequest(app_id="shop", display_name=""), ["display_name"]),
    (apps.RotateSecretRequest(app_id="shop", overlap={"seconds": 90 * 86400 + 1}), ["kind", "overlap"]),
    (apps.RevokeSecretRequest(app_id="shop"), ["secret_id"]),
    (apps.SetCredentialRequest(app_id="shop", credential_id="APNS"), ["credential_id", "credential"]),
    (apps.SetCredentialRequest(app_id="shop", apns=apps.ApnsCredential()), ["apns.auth", "apns.topics"]),
    (
        credential(key=apps.ApnsKey(key_id="short", team_id="ABCDE1234a")),
        ["apns.key.key_id", "apns.key.team_id", "apns.key.p8"],
    ),
    (
        credential(topics=["a", "a", ""], environments=[1, 1]),
        ["apns.topics[1]", "apns.topics[2]", "apns.environments[1]"],
    ),
    (apps.DeleteCredentialRequest(app_id="shop"), ["credential_id"]),
    (apps.ListSecretsRequest(page_size=-1), ["app_id", "page_size"]),
    (notes.CancelMessageRequest(), ["message_id"]),
    (notes.CancelMessageRequest(message_id="a/b"), ["message_id"]),
]


@pytest.mark.parametrize(("request_", "paths"), WRONG)
def test_what_is_wrong_is_told_by_its_path_and_all_at_once(request_: Message, paths: list[str]) -> None:
    assert violations(request_) == paths


def test_a_huge_key_is_not_sent_back_whole() -> None:
    (path,) = violations(register(attributes={"k" * 100_000: ""}))
    assert len(path) < 80


@pytest.mark.parametrize("request_", [request for request, _ in WRONG])
def test_no_description_quotes_a_long_value(request_: Message) -> None:
    with pytest.raises(InvalidRequest) as refused:
        validate(request_)
    assert all(len(each.description) < 120 for each in refused.value.violations)


@pytest.mark.parametrize(
    ("seconds", "nanos", "right"),
    [
        (-62_135_596_800, 0, True),
        (0, 0, True),
        (NOW + 90 * 86400, 999, True),
        (NOW + 90 * 86400, 1000, False),
        (NOW, -1, False),
        (2**62, 0, False),
        (-(2**62), 0, False),
    ],
)
def test_a_schedule_is_a_time_up_to_90_days_ahead(seconds: int, nanos: int, right: bool) -> None:
    asked = send(options=message_pb2.SendOptions(schedule_time={"seconds": seconds, "nanos": nanos}))
    assert violations(asked, NOW * 1_000_000) == ([] if right else ["options.schedule_time"])


@pytest.mark.parametrize("make", [lambda: {"a": {"b": {"c": []}}}, dict])
def test_nested_and_empty_objects_are_json(make: Callable[[], Any]) -> None:
    assert violations(apns(payload=make(), mutable_content=True)) == []
