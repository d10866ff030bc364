"""On what terms a message goes by each network: its override wins, and only there."""

import pytest

from bellhop_server.domain import HOUR, MINUTE, SECOND
from bellhop_server.domain.device import Platform
from bellhop_server.domain.message import ResendPolicy, SendOptions
from bellhop_server.domain.notification import ApnsOverride, FcmOverride, Notification, Priority, WebPushOverride
from bellhop_server.domain.terms import MAX_RESENDS_IN_DOUBT, terms
from tests.unit.app_fakes import NOW, message

OVERRIDES = {
    Platform.APNS: ("apns", ApnsOverride),
    Platform.FCM: ("fcm", FcmOverride),
    Platform.WEB_PUSH: ("web_push", WebPushOverride),
}


@pytest.mark.parametrize("platform", Platform)
def test_an_override_wins_on_its_network_alone(platform: Platform) -> None:
    name, kind = OVERRIDES[platform]
    override = kind(ttl=MINUTE, collapse_key="own", priority=Priority.HIGH)
    sent = message(
        notification=Notification(title="Hi", collapse_key="all", **{name: override}),
        options=SendOptions(ttl=HOUR, priority=Priority.LOW),
    )
    for each in Platform:
        found = terms(sent, each)
        mine = each is platform
        assert found.expire_time == found.last_call == NOW + (MINUTE if mine else HOUR)
        assert found.collapse_key == ("own" if mine else "all")
        assert found.priority is (Priority.HIGH if mine else Priority.LOW)


@pytest.mark.parametrize("platform", Platform)
def test_an_empty_collapse_key_of_its_own_takes_the_common_one_away(platform: Platform) -> None:
    name, kind = OVERRIDES[platform]
    sent = message(notification=Notification(title="Hi", collapse_key="all", **{name: kind(collapse_key="")}))
    assert not terms(sent, platform).may_resend(1)
    assert all(terms(sent, each).may_resend(1) for each in Platform if each is not platform)


def test_ttl_0_is_now_or_never_where_it_is_said() -> None:
    sent = message(notification=Notification(title="Hi", fcm=FcmOverride(ttl=0)), options=SendOptions(ttl=HOUR))
    assert terms(sent, Platform.FCM).now_or_never
    assert terms(sent, Platform.FCM).expire_time == NOW
    assert terms(sent, Platform.FCM).last_call == NOW + MINUTE
    assert not terms(sent, Platform.APNS).now_or_never


def test_what_is_left_of_the_time_counts_from_when_it_is_due() -> None:
    sent = message(options=SendOptions(ttl=HOUR, schedule_time=NOW + 5 * HOUR))
    assert terms(sent, Platform.APNS).last_call == NOW + 6 * HOUR


@pytest.mark.parametrize(
    ("resend", "collapse_key", "expected"),
    [
        (ResendPolicy.NEVER, "k", False),
        (ResendPolicy.IF_REPLACEABLE, "k", True),
        (ResendPolicy.IF_REPLACEABLE, "", False),
        (ResendPolicy.ALWAYS, "", True),
    ],
)
def test_who_may_get_it_twice(resend: ResendPolicy, collapse_key: str, expected: bool) -> None:
    sent = message(
        notification=Notification(title="Hi", collapse_key=collapse_key), options=SendOptions(ttl=SECOND, resend=resend)
    )
    found = terms(sent, Platform.WEB_PUSH)
    assert found.may_resend(MAX_RESENDS_IN_DOUBT) is expected
    assert not found.may_resend(MAX_RESENDS_IN_DOUBT + 1)
