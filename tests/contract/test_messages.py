"""Messages on both databases: kept as they were sent, listed, counted."""

from dataclasses import replace

import pytest

from bellhop_server.domain import DAY
from bellhop_server.domain.batch import BatchReport, NewBatch
from bellhop_server.domain.device import Platform
from bellhop_server.domain.errors import ConcurrentChange, MessageNotFound
from bellhop_server.domain.message import (
    Audience,
    AudienceKind,
    Message,
    MessageCounts,
    MessageState,
    Outcome,
    ResendPolicy,
    SendOptions,
)
from bellhop_server.domain.notification import ApnsOverride, ApnsPushType, Notification, Priority
from bellhop_server.domain.planning import SMALL, AudiencePage
from bellhop_server.store.message_body import decode, encode
from bellhop_server.store.sql_store import SqlStore
from tests.contract.messaging import APP, NOW, accepted, claimed, completed, items, missing, planned, result, send

FULL = Notification(
    title="Höllo \U0001f600",
    subtitle="s\0s",
    body="",
    image_url="https://example.org/a.png",
    link="app://x",
    sound="default",
    badge=0,
    category="c",
    collapse_key="k",
    silent=False,
    data={"a": "1", "b": ""},
    thread_id="t",
    apns=ApnsOverride(
        title="",
        title_loc_key="T",
        title_loc_args=("1", "2"),
        loc_key="L",
        loc_args=("x",),
        launch_image="i",
        mutable_content=True,
        content_available=True,
        push_type=ApnsPushType.VOIP,
        payload={"n": 1, "f": 1.5, "l": [1, None, True], "o": {"": "x"}},
        aps={"timestamp": 2**40},
        ttl=0,
        collapse_key="",
        priority=Priority.LOW,
    ),
)


async def test_an_accepted_message_is_read_as_it_was_sent(store: SqlStore) -> None:
    options = SendOptions(ttl=3 * DAY, priority=Priority.HIGH, resend=ResendPolicy.ALWAYS)
    # So many that they are not resolved by the way.
    users = ("b", "a", "b", *(f"u{number}" for number in range(SMALL)))
    audience = Audience(AudienceKind.USERS, users, (Platform.APNS,), ("\U0001f600", "x\0y"))
    asked = replace(send("r1", "m1", audience=audience), notification=FULL, options=options)
    taken = await store.accept(asked, "mark", "m1", NOW)
    assert not taken.replayed
    assert taken.message == Message(
        ref=taken.message.ref,
        app_id=APP,
        message_id="m1",
        request_id="r1",
        state=MessageState.SENDING,
        accept_time=NOW,
        expire_time=NOW + 3 * DAY,
        complete_time=None,
        audience=audience,
        notification=FULL,
        options=options,
    )
    assert await store.get_message(APP, "m1") == taken.message
    assert await store.get_message_by_ref(taken.message.ref) == taken.message
    assert await store.counts([taken.message.ref]) == {taken.message.ref: MessageCounts()}


@pytest.mark.parametrize("notification", [Notification(), FULL, replace(FULL, apns=ApnsOverride())])
def test_a_body_comes_back_as_it_was(notification: Notification) -> None:
    audience = Audience(AudienceKind.EVERYONE)
    read_audience, read_notification = decode(encode(audience, notification))
    assert (read_audience, read_notification) == (audience, notification)
    # Equal is not enough: 1 is True, and a number is a member of an enum.
    assert repr(read_notification) == repr(notification)
    assert repr(read_audience) == repr(audience)


def test_a_body_of_a_later_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 2"):
        decode(encode(Audience(AudienceKind.EVERYONE), Notification()).replace('"v":1', '"v":2'))


async def test_messages_that_are_not_there(store: SqlStore) -> None:
    await accepted(store, "m1")
    with pytest.raises(MessageNotFound):
        await store.get_message("other", "m1")
    with pytest.raises(MessageNotFound):
        await store.get_message(APP, "m2")
    with pytest.raises(MessageNotFound):
        await store.get_message_by_ref(99)
    assert await store.counts([99]) == {}
    assert await store.counts([]) == {}
    assert await store.last_seq(99) == 0


async def test_unplanned_are_urgent_first_then_older(store: SqlStore) -> None:
    for number, priority in enumerate((Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.HIGH, Priority.NORMAL)):
        await accepted(store, f"m{number}", priority=priority)
    found = await store.unplanned(4)
    assert [planning.message.message_id for planning in found] == ["m2", "m3", "m1", "m4"]
    assert {planning.after for planning in found} == {""}
    message = found[0].message
    await store.add_plan(message.ref, "", AudiencePage([], [], "d7"), [], NOW)
    assert [planning.after for planning in await store.unplanned(2)] == ["d7", ""]
    await store.add_plan(message.ref, "d7", AudiencePage([], [], None), [], NOW)
    assert message.ref not in {planning.message.ref for planning in await store.unplanned(10)}


async def test_lists_the_latest_first_page_by_page(store: SqlStore) -> None:
    for number in range(6):
        await accepted(store, f"m{number}", now=NOW + number // 2)
    await store.accept(send(app_id="other"), "mark", "m0", NOW)
    listed: list[str] = []
    before: tuple[int, int] | None = None
    while page := await store.list_messages(APP, (), None, None, before, 4):
        listed += [message.message_id for message in page]
        before = (page[-1].accept_time, page[-1].ref)
    assert listed == ["m5", "m4", "m3", "m2", "m1", "m0"]
    between = await store.list_messages(APP, (), NOW + 1, NOW + 2, None, 10)
    assert [message.message_id for message in between] == ["m3", "m2"]


async def test_lists_by_state(store: SqlStore) -> None:
    await accepted(store, "m1")
    await completed(store, "m2", NOW + 1)
    for states, ids in (
        ((MessageState.SENDING,), ["m1"]),
        ((MessageState.COMPLETED, MessageState.CANCELLED), ["m2"]),
        ((MessageState.COMPLETED, MessageState.SENDING), ["m2", "m1"]),
        ((MessageState.SCHEDULED,), []),
    ):
        assert [each.message_id for each in await store.list_messages(APP, states, None, None, None, 9)] == ids


async def test_counts_tell_what_waits_for_another_attempt(store: SqlStore) -> None:
    message = await accepted(store)
    other = await accepted(store, "m2")
    await planned(store, message, ["d1", "d2", "d3"], ["d4"])
    batch, last = await claimed(store)
    again = [
        NewBatch(items("d1"), NOW + 30, Priority.NORMAL, retry=True),
        NewBatch(items("d2"), NOW + 20, Priority.NORMAL, retry=True),
    ]
    failed = result("d3", Outcome.TOKEN_INVALID)
    await store.record([BatchReport(batch.batch_id, message.ref, batch.lease, [failed], True, again)], NOW)
    assert await store.counts([message.ref, other.ref]) == {
        message.ref: MessageCounts(
            device_count=4,
            planned=True,
            finished_count=1,
            retrying_count=2,
            outcomes={(Platform.APNS, Outcome.TOKEN_INVALID): 1},
            next_attempt_time=NOW + 20,
        ),
        other.ref: MessageCounts(),
    }
    await store.record([BatchReport(last.batch_id, message.ref, last.lease, [result("d4")], True)], NOW)
    [retried] = await claimed(store, now=NOW + 20)
    assert await store.start(retried.batch_id, retried.lease, NOW + 20, NOW + DAY)
    counts = (await store.counts([message.ref]))[message.ref]
    assert (counts.retrying_count, counts.next_attempt_time) == (1, NOW + 30)
    assert counts.outcomes == {(Platform.APNS, Outcome.TOKEN_INVALID): 1, (Platform.APNS, Outcome.ACCEPTED): 1}


async def test_a_message_that_is_gone_has_no_plan(store: SqlStore) -> None:
    with pytest.raises(ConcurrentChange):
        await store.add_plan(99, "", AudiencePage([], [missing("d1")], None), [], NOW)
