"""The fingerprint of a send (P8): what means the same is the same, whatever wrote it."""

from dataclasses import fields, replace

import pytest

from bellhop_server.domain import HOUR
from bellhop_server.domain.device import Platform
from bellhop_server.domain.fingerprint import fingerprint
from bellhop_server.domain.message import Audience, AudienceKind, ResendPolicy, Send, SendOptions
from bellhop_server.domain.notification import ApnsOverride, Notification, Priority

pytestmark = pytest.mark.promise("P8")

SEND = Send(
    "shop",
    Audience(AudienceKind.USERS, ("anna", "ben")),
    Notification(title="Hello", data={"a": "1", "b": "2"}),
    request_id="r1",
)


def test_order_and_repeats_of_what_is_a_set_do_not_matter() -> None:
    same = replace(
        SEND,
        audience=Audience(AudienceKind.USERS, ("ben", "anna", "ben")),
        notification=Notification(title="Hello", data={"b": "2", "a": "1"}),
    )

    assert fingerprint(SEND) == fingerprint(same)


def test_a_default_spelt_out_is_the_default() -> None:
    spelt = replace(SEND, options=SendOptions(ttl=24 * HOUR, priority=Priority.NORMAL))

    assert fingerprint(SEND) == fingerprint(spelt)


def test_a_send_that_says_nothing_new_keeps_its_fingerprint() -> None:
    """It was remembered by versions that knew fewer fields, and a repeat must still be one."""
    assert fingerprint(SEND) == "c0f947c5f30bd310b768cd27149f716bdb8f99a6b3d5a8e53f0139e1d3210b41"


def test_the_request_id_is_not_part_of_what_it_identifies() -> None:
    assert fingerprint(SEND) == fingerprint(replace(SEND, request_id="r2"))


@pytest.mark.parametrize(
    "other",
    [
        replace(SEND, message_id="m1"),
        replace(SEND, audience=Audience(AudienceKind.DEVICES, ("anna", "ben"))),
        replace(SEND, audience=Audience(AudienceKind.USERS, ("anna",))),
        replace(SEND, audience=replace(SEND.audience, platforms=(Platform.APNS,))),
        replace(SEND, audience=replace(SEND.audience, exclude_user_ids=("ben",))),
        replace(SEND, options=SendOptions(ttl=HOUR)),
        replace(SEND, options=SendOptions(priority=Priority.HIGH)),
        replace(SEND, options=SendOptions(resend=ResendPolicy.NEVER)),
        replace(SEND, options=SendOptions(schedule_time=1)),
        replace(SEND, options=SendOptions(schedule_time=0)),
        replace(SEND, notification=replace(SEND.notification, badge=0)),
        replace(SEND, notification=replace(SEND.notification, badge=1)),
        replace(SEND, notification=replace(SEND.notification, silent=True)),
        replace(SEND, notification=replace(SEND.notification, apns=ApnsOverride(title=""))),
        replace(SEND, notification=replace(SEND.notification, apns=ApnsOverride(payload={"k": 1}))),
    ],
)
def test_what_differs_differs(other: Send) -> None:
    assert fingerprint(other) != fingerprint(SEND)


def test_every_field_of_a_notification_counts() -> None:
    seen = {fingerprint(SEND)}
    for field in fields(Notification):
        if field.name in ("title", "data", "apns"):
            continue
        value: object = {"badge": 3, "silent": True}.get(field.name, "x")
        seen.add(fingerprint(replace(SEND, notification=replace(SEND.notification, **{field.name: value}))))

    assert len(seen) == len(fields(Notification)) - 2
