"""P4: the stamp of a notification, by the form that clients of every platform compute."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.app.brief import Brief
from bellhop_server.app.sorting import Lot, sort
from bellhop_server.app.stamping import Stamper
from bellhop_server.domain import MINUTE
from bellhop_server.domain.delivery import Reading
from bellhop_server.domain.device import Device
from bellhop_server.domain.message import Audience, AudienceKind, Message
from bellhop_server.domain.stamp import STAMP_LENGTH, stamp_of
from bellhop_server.store.seal import BindingKeys, MasterKey
from tests.rules.sources import ROOT
from tests.unit.app_fakes import CREDENTIAL, NOW, batch_of, device, found, message

pytestmark = pytest.mark.promise("P4")

KEYS = BindingKeys(MasterKey(bytes(32)))
KEY = bytes(range(32))
DESCENDING = bytes.fromhex("ffeeddccbbaa99887766554433221100" * 2)

keys = st.binary(min_size=32, max_size=32)
ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("key", "app_id", "device_id", "message_id", "stamp"),
    [
        # Computed by openssl dgst -sha256 -mac HMAC.
        (KEY, "shop", "phone-1", "m1", "XehU6pGBUGfKPy62"),
        (DESCENDING, "shop", "t\u00e9l\u00e9phone \U0001f514", "order-17", "PVQ89NMrTDOSn9ze"),
    ],
)
def test_what_others_have_computed(key: bytes, app_id: str, device_id: str, message_id: str, stamp: str) -> None:
    assert stamp_of(key, app_id, device_id, message_id) == stamp
    page = (ROOT / "docs/stamps.md").read_text(encoding="utf-8")
    assert f"`{key.hex()}`" in page
    assert f"`{stamp}`" in page


@given(keys, ids, ids, ids)
def test_its_form(key: bytes, app_id: str, device_id: str, message_id: str) -> None:
    stamp = stamp_of(key, app_id, device_id, message_id)
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", stamp)
    assert len(stamp) == STAMP_LENGTH


@given(st.lists(st.tuples(keys, ids, ids, ids), min_size=2, max_size=6, unique=True))
def test_whatever_differs_gives_another_one(cases: list[tuple[bytes, str, str, str]]) -> None:
    assert len({stamp_of(*each) for each in cases}) == len(cases)


def test_ids_do_not_run_into_each_other() -> None:
    assert stamp_of(KEY, "ab", "c", "d") != stamp_of(KEY, "a", "bc", "d")
    assert stamp_of(KEY, "a", "bc", "d") != stamp_of(KEY, "a", "b", "cd")


# Whose notifications have one


def wanting(device_id: str = "d1", key: bytes = KEY, user: str | None = "anna", **changes: object) -> Device:
    return replace(device(device_id, user, **changes), sealed_binding_key=KEYS.seal(key, "shop", device_id))


def lots(devices: list[Device], sent: Message | None = None) -> list[Lot]:
    sent = sent or message()
    reading = Reading({each.device_id: found(each) for each in devices}, False, [CREDENTIAL])
    return sort(Brief(sent, frozenset()), batch_of(devices).items, reading, NOW, Stamper(KEYS)).lots


def stamps(devices: list[Device], sent: Message | None = None) -> dict[str, str]:
    return {
        entry[0].device_id: delivery.stamp
        for lot in lots(devices, sent)
        for delivery, entry in zip(lot.deliveries, lot.entries, strict=True)
        if entry is not None
    }


def test_a_device_with_a_key_is_stamped_for_and_others_are_not() -> None:
    expected = {"d1": stamp_of(KEY, "shop", "d1", "m1"), "d2": ""}
    assert stamps([wanting(), device("d2")]) == expected
    assert stamps([device("d2"), wanting()]) == expected


def test_each_message_has_another_one() -> None:
    first, second = stamps([wanting()]), stamps([wanting()], message(message_id="m2"))
    assert first["d1"] != second["d1"]


def test_a_chunk_is_stamped_wholly_or_not_at_all() -> None:
    found_lots = lots([wanting("d1"), device("d2"), wanting("d3"), device("d4")])
    chunks = [lot.chunk(message(), 0.0) for lot in found_lots]
    assert sorted(len(chunk.deliveries) for chunk in chunks) == [2, 2]
    for chunk in chunks:
        assert {bool(delivery.stamp) for delivery in chunk.deliveries} == {chunk.stamped}
        assert chunk.message_id == "m1"


@pytest.mark.parametrize("kind", [AudienceKind.DEVICES, AudienceKind.EVERYONE])
def test_whoever_is_bound_is_stamped_for_also_by_what_is_for_the_installation(kind: AudienceKind) -> None:
    sent = message(Audience(kind, ("d1",)))
    assert stamps([wanting()], sent)["d1"] == stamp_of(KEY, "shop", "d1", "m1")


def test_nobody_is_stamped_for_where_nobody_is_bound() -> None:
    everyone = message(Audience(AudienceKind.EVERYONE))
    nobodys = [wanting("d1", user=None), wanting("d2", binding_expire_time=NOW)]
    assert stamps(nobodys, everyone) == {"d1": "", "d2": ""}
    [stamp] = stamps([wanting("d3", binding_expire_time=NOW + MINUTE)], everyone).values()
    assert stamp == stamp_of(KEY, "shop", "d3", "m1")


def test_a_key_that_cannot_be_opened_costs_nobody_the_message(caplog: pytest.LogCaptureFixture) -> None:
    spoilt = replace(device("d2"), sealed_binding_key=b"spoilt")
    anothers = replace(device("d3"), sealed_binding_key=KEYS.seal(KEY, "shop", "d1"))
    other_master = replace(device("d4"), sealed_binding_key=BindingKeys(MasterKey(b"x" * 32)).seal(KEY, "shop", "d4"))
    found_stamps = stamps([wanting(), spoilt, anothers, other_master])
    assert found_stamps == {"d1": stamp_of(KEY, "shop", "d1", "m1"), "d2": "", "d3": "", "d4": ""}
    assert {record.__dict__["device_id"] for record in caplog.records} == {"d2", "d3", "d4"}
    assert KEY.hex() not in caplog.text
