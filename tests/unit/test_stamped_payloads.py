"""P4: where the id of a message and its stamp stand on each network, and that nothing else changes for them."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.domain import HOUR, SECOND
from bellhop_server.domain.application import ApnsCredential
from bellhop_server.domain.delivery import Answer, Chunk, Delivery, Verdict
from bellhop_server.domain.notification import (
    ApnsOverride,
    ApnsPushType,
    FcmOverride,
    Notification,
    Priority,
    WebPushOverride,
)
from bellhop_server.domain.stamp import STAMP_LENGTH
from bellhop_server.providers.apns import payload as apns
from bellhop_server.providers.fcm import payload as fcm
from bellhop_server.providers.webpush import payload as webpush
from bellhop_server.providers.webpush.encryption import LARGEST_PLAINTEXT

pytestmark = pytest.mark.promise("P4")

NOW = 1_800_000_000 * SECOND
STAMP = "XehU6pGBUGfKPy62"
OTHER = "PVQ89NMrTDOSn9ze"


def chunk(notification: Notification, *stamps: str, message_id: str = "m1") -> Chunk:
    deliveries = [Delivery(f"t{number}", "", "", NOW + HOUR, stamp) for number, stamp in enumerate(stamps)]
    secret = ApnsCredential("KEY1234567", "TEAM123456", "pem", ("com.example.shop",))
    return Chunk("shop", "c", 1, secret, notification, Priority.NORMAL, False, deliveries, 0.0, message_id=message_id)


class Network(NamedTuple):
    """`body`: of a rendered chunk for one stamp, as bytes; `marks`: message id and stamp of a body, parsed."""

    render: Callable[[Chunk], Any]
    body: Callable[[Any, str], bytes]
    marks: Callable[[dict[str, Any]], tuple[str | None, str | None]]
    without: Callable[[dict[str, Any]], dict[str, Any]]


def _apns_without(body: dict[str, Any]) -> dict[str, Any]:
    ours = {key: value for key, value in body.get("bellhop", {}).items() if key not in ("message_id", "stamp")}
    rest = {key: value for key, value in body.items() if key != "bellhop"}
    return rest | ({"bellhop": ours} if ours else {})


def _fcm_without(body: dict[str, Any]) -> dict[str, Any]:
    message = body["message"]
    marks = ("bellhop_message_id", "bellhop_stamp")
    data = {key: value for key, value in message.get("data", {}).items() if key not in marks}
    rest = {key: value for key, value in message.items() if key != "data"}
    return rest | ({"data": data} if data else {})


NETWORKS = {
    "apns": Network(
        apns.render,
        lambda rendered, stamp: rendered.stamped(stamp),
        lambda body: (body.get("bellhop", {}).get("message_id"), body.get("bellhop", {}).get("stamp")),
        _apns_without,
    ),
    "fcm": Network(
        fcm.render,
        lambda rendered, stamp: rendered.body(b'"token"', "", NOW + HOUR, NOW, stamp),
        lambda body: (
            body["message"].get("data", {}).get("bellhop_message_id"),
            body["message"].get("data", {}).get("bellhop_stamp"),
        ),
        _fcm_without,
    ),
    "webpush": Network(
        webpush.render,
        lambda rendered, stamp: rendered.stamped(stamp),
        lambda body: (body.get("message_id"), body.get("stamp")),
        lambda body: {key: value for key, value in body.items() if key not in ("message_id", "stamp")},
    ),
}

everywhere = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


def read(network: Network, notification: Notification, stamp: str, message_id: str = "m1") -> dict[str, Any]:
    rendered = network.render(chunk(notification, *([stamp] if stamp else []), message_id=message_id))
    assert not isinstance(rendered, Answer), rendered
    decoded: dict[str, Any] = json.loads(network.body(rendered, stamp))
    return decoded


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
notifications = st.builds(
    Notification,
    title=texts.map(lambda text: text or "T"),
    body=texts,
    link=st.sampled_from(["", "https://shop.example/7", "shop://orders/7"]),
    image_url=st.sampled_from(["", "https://shop.example/7.png"]),
    badge=st.none() | st.integers(0, 9),
    data=st.dictionaries(texts.map(lambda text: f"k{text}"), texts, max_size=3),
    silent=st.booleans(),
    collapse_key=st.sampled_from(["", "order-7"]),
    fcm=st.none() | st.builds(FcmOverride, data_only=st.booleans()),
)


@everywhere
def test_both_are_there_and_nothing_else_is_other_than_without(network: Network) -> None:
    @given(notifications)
    def compare(notification: Notification) -> None:
        bare = read(network, notification, "", "")
        named = read(network, notification, "")
        stamped = read(network, notification, STAMP)
        assert network.marks(bare) == (None, None)
        assert network.marks(named) == ("m1", None)
        assert network.marks(stamped) == ("m1", STAMP)
        assert network.without(bare) == network.without(named) == network.without(stamped)

    compare()


@everywhere
def test_one_rendering_serves_all_stamps(network: Network) -> None:
    rendered = network.render(chunk(Notification(title="T"), STAMP, OTHER))
    bodies = [json.loads(network.body(rendered, stamp)) for stamp in (STAMP, OTHER, STAMP)]
    assert [network.marks(body)[1] for body in bodies] == [STAMP, OTHER, STAMP]
    assert bodies[0] == bodies[2]


def largest(network: Network, *stamps: str) -> int:
    """The longest body text that is taken."""
    low, high = 0, 8192
    while low < high:
        middle = (low + high + 1) // 2
        taken = network.render(chunk(Notification(title="T", body="x" * middle), *stamps))
        low, high = (low, middle - 1) if isinstance(taken, Answer) else (middle, high)
    return low


@everywhere
def test_limits_count_it(network: Network) -> None:
    without, with_stamp = largest(network), largest(network, STAMP)
    key = "bellhop_stamp" if network is NETWORKS["fcm"] else ',"stamp":""'
    assert without - with_stamp == len(key) + STAMP_LENGTH
    answer = network.render(chunk(Notification(title="T", body="x" * (with_stamp + 1)), STAMP))
    assert answer.verdict is Verdict.PAYLOAD_TOO_LARGE


def test_what_is_as_large_as_it_may_be_fits() -> None:
    for name, limit in (("apns", apns.LARGEST), ("webpush", LARGEST_PLAINTEXT)):
        network = NETWORKS[name]
        notification = Notification(title="T", body="x" * largest(network, STAMP))
        assert len(network.body(network.render(chunk(notification, STAMP)), STAMP)) == limit
    network = NETWORKS["fcm"]
    rendered = network.render(chunk(Notification(title="T", body="x" * largest(network, STAMP)), STAMP))
    assert rendered.size == fcm.LARGEST
    # What the pool is told of the largest body.
    assert len(rendered.body(b"", "", NOW + HOUR, NOW, STAMP)) <= rendered.frame


def test_a_raw_payload_is_the_senders_alone() -> None:
    notification = Notification(web_push=WebPushOverride(raw_payload='{"mine":1}'))
    rendered = webpush.render(chunk(notification, STAMP))
    assert isinstance(rendered, webpush.Rendered)
    assert rendered.stamped(STAMP) == b'{"mine":1}'
    full = Notification(web_push=WebPushOverride(raw_payload="x" * LARGEST_PLAINTEXT))
    assert isinstance(webpush.render(chunk(full, STAMP)), webpush.Rendered)


def test_a_management_command_has_nothing_of_ours() -> None:
    notification = Notification(apns=ApnsOverride(push_type=ApnsPushType.MDM, payload={"mdm": "magic"}))
    rendered = apns.render(chunk(notification, STAMP))
    assert isinstance(rendered, apns.Rendered)
    assert json.loads(rendered.stamped(STAMP)) == {"mdm": "magic"}


@pytest.mark.parametrize("push_type", [each for each in ApnsPushType if each is not ApnsPushType.MDM])
def test_every_other_push_type_of_apple_has_both(push_type: ApnsPushType) -> None:
    override = ApnsOverride(push_type=push_type, payload={"zzz": {"nested": {}}})
    body = read(NETWORKS["apns"], Notification(title="T", link="shop://7", apns=override), STAMP)
    assert body["bellhop"] == {"link": "shop://7", "message_id": "m1", "stamp": STAMP}
    assert body["zzz"] == {"nested": {}}


def test_where_fcm_carries_its_own_data_they_are_beside_it() -> None:
    notification = Notification(title="T", data={"a": "1"}, fcm=FcmOverride(data={"b": "2"}))
    body = read(NETWORKS["fcm"], notification, STAMP)
    assert body["message"]["data"] == {"b": "2", "bellhop_message_id": "m1", "bellhop_stamp": STAMP}
    override = FcmOverride(android={"data": {"c": "3"}})
    body = read(NETWORKS["fcm"], replace(notification, fcm=override), STAMP)
    assert body["message"]["data"] == {"a": "1", "bellhop_message_id": "m1", "bellhop_stamp": STAMP}
