"""Before a hand-over: who is still meant, by which way each goes, and what else gets its result there and then."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bellhop_server.app.brief import Brief
from bellhop_server.app.sorting import Sorted, sort
from bellhop_server.domain import HOUR, MINUTE, SECOND
from bellhop_server.domain.application import Credential
from bellhop_server.domain.delivery import Reading
from bellhop_server.domain.device import ApnsEnvironment, Device, DeviceState, Platform, Target
from bellhop_server.domain.message import Audience, AudienceKind, Message, Outcome
from tests.sealing import STAMPER
from tests.unit.app_fakes import CREDENTIAL, NOW, batch_of, device, found, message

pytestmark = pytest.mark.promise("P3")


class Table:
    """A batch as it was planned, sorted by what is there now."""

    def __init__(
        self,
        planned: Sequence[Device],
        now: Sequence[Device],
        sent: Message | None = None,
        credentials: Sequence[Credential] = (CREDENTIAL,),
        *,
        by_user: bool = False,
    ) -> None:
        sent = sent or message()
        brief = Brief(sent, frozenset(sent.audience.exclude_user_ids))
        reading = Reading({each.device_id: found(each) for each in now}, False, list(credentials))
        items = [replace(item, by_user=by_user) for item in batch_of(planned).items]
        self.sorted: Sorted = sort(brief, items, reading, NOW, STAMPER)

    @property
    def withheld(self) -> dict[str, tuple[Outcome, str]]:
        return {item.device_id: (outcome, reason) for item, outcome, reason in self.sorted.withheld}

    @property
    def sent(self) -> list[str]:
        return [entry[0].device_id for lot in self.sorted.lots for entry in lot.entries if entry is not None]


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (device("d1", "ben", epoch=2), "BindingChanged"),
        (device("d1", None, epoch=2), "BindingChanged"),
        (device("d1", epoch=2), "BindingChanged"),
        (device("d1", binding_expire_time=NOW), "BindingExpired"),
    ],
)
def test_who_has_a_tag_by_their_user_loses_it_with_the_login_and_keeps_their_own(now: Device, reason: str) -> None:
    to_tags = message(Audience(AudienceKind.TAGS, ("news",)))
    assert Table([device("d1")], [now], to_tags, by_user=True).withheld == {"d1": (Outcome.SUPERSEDED, reason)}
    assert Table([device("d1")], [now], to_tags).sent == ["d1"]
    assert Table([device("d1")], [device("d1")], to_tags, by_user=True).sent == ["d1"]


def test_whoever_is_as_planned_is_sent_to() -> None:
    phones = [device("d1"), device("d2")]
    table = Table(phones, phones)
    assert table.sent == ["d1", "d2"]
    assert table.sorted.moved == []
    assert table.withheld == {}


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (None, "DeviceGone"),
        (device("d1", "ben"), "BindingChanged"),
        (device("d1", None), "BindingChanged"),
        (device("d1", epoch=2), "BindingChanged"),
        (device("d1", binding_expire_time=NOW), "BindingExpired"),
        (device("d1", state=DeviceState.DEAD), "DeviceDead"),
        (device("d1", state=DeviceState.UNVERIFIED), "DeviceUnverified"),
    ],
)
def test_whoever_is_not_is_superseded_and_it_is_said_why(now: Device | None, reason: str) -> None:
    table = Table([device("d1")], [now] if now else [])
    assert table.sent == []
    assert table.withheld == {"d1": (Outcome.SUPERSEDED, reason)}


@pytest.mark.parametrize("kind", [AudienceKind.DEVICES, AudienceKind.EVERYONE])
def test_an_installation_is_meant_whoever_is_bound_to_it_or_no_longer(kind: AudienceKind) -> None:
    now = [device("d1", "ben", epoch=7), device("d2", binding_expire_time=NOW - 1)]
    assert Table([device("d1"), device("d2")], now, message(Audience(kind, ("d1", "d2")))).sent == ["d1", "d2"]


def test_whoever_is_excluded_is_so_at_this_moment_and_while_he_is_bound() -> None:
    planned = [device("d1"), device("d2", "ben"), device("d3", "ben")]
    now = [device("d1", "ben", epoch=2), device("d2", "cora", epoch=2), device("d3", "ben", binding_expire_time=NOW)]
    table = Table(planned, now, message(Audience(AudienceKind.EVERYONE, exclude_user_ids=("ben",))))
    assert table.sent == ["d2", "d3"]
    assert table.withheld == {"d1": (Outcome.SUPERSEDED, "UserExcluded")}


def test_a_network_that_was_not_asked_for_is_left_out() -> None:
    sent = message(Audience(AudienceKind.USERS, ("anna",), platforms=(Platform.WEB_PUSH,)))
    table = Table([device("d1")], [device("d1")], sent)
    assert table.withheld == {"d1": (Outcome.SUPERSEDED, "PlatformExcluded")}


def test_who_has_another_target_than_was_marked_is_not_sent_to_under_that_mark() -> None:
    planned = [device("d1"), device("d2")]
    moved = device("d2", target=Target(Platform.APNS, "ffff"))
    table = Table(planned, [planned[0], moved])
    assert table.sent == ["d1"]
    [(position, item)] = table.sorted.moved
    assert (position, item.device_id, item.target_digest) == (1, "d2", moved.target.digest.hex()[:16])
    assert table.withheld == {}


def test_who_has_moved_and_is_no_longer_meant_is_not_followed() -> None:
    table = Table([device("d1")], [device("d1", "ben", epoch=2, target=Target(Platform.APNS, "ffff"))])
    assert table.sorted.moved == []
    assert table.withheld == {"d1": (Outcome.SUPERSEDED, "BindingChanged")}


def test_nothing_is_kept_by_the_network_for_longer_than_the_binding_lasts() -> None:
    phones = [
        device("d1"),
        device("d2", binding_expire_time=NOW + MINUTE),
        device("d3", binding_expire_time=NOW + 9**18),
    ]
    [lot] = Table(phones, phones).sorted.lots
    end = NOW + message().options.ttl
    assert [delivery.expire_time for delivery in lot.deliveries] == [end, NOW + MINUTE, end]
    assert end > NOW + HOUR
    assert lot.until is None


def test_what_ends_before_the_hand_over_may_is_handed_over_until_then() -> None:
    phones = [device("d1"), device("d2", binding_expire_time=NOW + SECOND)]
    lots = Table(phones, phones).sorted.lots
    assert [(lot.until, [delivery.address for delivery in lot.deliveries]) for lot in lots] == [
        (None, [phones[0].target.address]),
        (NOW + SECOND, [phones[1].target.address]),
    ]


def test_a_binding_that_has_ended_ends_nothing_for_a_message_to_the_installation() -> None:
    phones = [device("d1", binding_expire_time=NOW - SECOND)]
    sent = message(audience=Audience(AudienceKind.DEVICES, ("d1",)))
    [lot] = Table(phones, phones, sent).sorted.lots
    assert [delivery.expire_time for delivery in lot.deliveries] == [NOW + sent.options.ttl]
    assert lot.until is None


def test_each_way_is_a_lot_of_its_own_and_places_in_the_mark_are_kept() -> None:
    sandbox = Target(Platform.APNS, "ee", apns_environment=ApnsEnvironment.SANDBOX)
    phones = [device("d1"), device("d2", target=sandbox), device("d3")]
    table = Table(phones, phones)
    entries = [[(entry[0].device_id, entry[2]) for entry in lot.entries if entry] for lot in table.sorted.lots]
    assert entries == [[("d1", 0), ("d3", 2)], [("d2", 1)]]


def test_without_a_way_there_is_a_result() -> None:
    strange = device("d2", target=Target(Platform.APNS, "aa", apns_topic="other.app"))
    table = Table([device("d1"), strange], [device("d1"), strange])
    assert table.sent == ["d1"]
    assert table.withheld["d2"][0] is Outcome.CONFIG_ERROR

    assert Table([device("d1")], [device("d1")], credentials=[]).withheld["d1"][0] is Outcome.NOT_CONFIGURED
