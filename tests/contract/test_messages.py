"""Messages on both databases: accepted once, found again, listed, counted, forgotten in time."""

import asyncio
from dataclasses import replace

import pytest

from bellhop_server.domain import DAY
from bellhop_server.domain.batch import BatchReport, NewBatch
from bellhop_server.domain.device import Platform
from bellhop_server.domain.errors import BellhopError, ConcurrentChange, MessageNotFound, RequestIdReused
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
from bellhop_server.ports import AudiencePage, ResultQuery
from bellhop_server.store.database import Database
from bellhop_server.store.message_body import decode, encode
from bellhop_server.store.sql_store import SqlStore
from tests.contract.backstage import Backstage
from tests.contract.messaging import APP, NOW, accepted, claimed, items, missing, planned, result, send

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


async def completed(store: SqlStore, message_id: str, now: int = NOW, *, request_id: str = "") -> Message:
    """A message with two results that completed at `now`."""
    message = await accepted(store, message_id, request_id=request_id, now=now)
    await planned(store, message, ["d1", "d2"], now=now)
    [batch] = await claimed(store, now=now)
    report = BatchReport(batch.batch_id, message.ref, batch.lease, [result("d1"), result("d2")], done=True)
    [recorded] = await store.record([report], now)
    assert recorded.completed
    return message


async def test_an_accepted_message_is_read_as_it_was_sent(store: SqlStore) -> None:
    options = SendOptions(ttl=3 * DAY, priority=Priority.HIGH, resend=ResendPolicy.ALWAYS)
    audience = Audience(AudienceKind.USERS, ("b", "a", "b"), (Platform.APNS,), ("\U0001f600", "x\0y"))
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


async def test_a_repeat_is_the_same_message(store: SqlStore) -> None:
    first = await store.accept(send("r1"), "mark", "m1", NOW)
    again = await store.accept(send("r1"), "mark", "m2", NOW + 5)
    assert again.replayed
    assert again.message == first.message
    assert await store.find_request(APP, "r1") == ("mark", "m1")
    with pytest.raises(MessageNotFound):
        await store.get_message(APP, "m2")


async def test_a_repeat_by_message_id_alone(store: SqlStore) -> None:
    first = await store.accept(send(message_id="m1"), "mark", "m1", NOW)
    again = await store.accept(send(message_id="m1"), "mark", "m1", NOW + 5)
    assert (again.replayed, again.message) == (True, first.message)
    with pytest.raises(RequestIdReused) as refused:
        await store.accept(send(message_id="m1"), "other mark", "m1", NOW + 5)
    assert refused.value.metadata == {"request_id": "", "message_id": "m1"}


async def test_other_content_under_the_same_request_id_is_refused(store: SqlStore) -> None:
    await store.accept(send("r1"), "mark", "m1", NOW)
    with pytest.raises(RequestIdReused) as refused:
        await store.accept(send("r1"), "other mark", "m2", NOW)
    assert refused.value.metadata == {"request_id": "r1", "message_id": "m1"}
    assert len(await store.unplanned(10)) == 1


async def test_a_message_id_that_another_request_has_taken_is_refused_and_leaves_nothing(store: SqlStore) -> None:
    await store.accept(send("r1", "m1"), "mark", "m1", NOW)
    for request_id in ("r2", ""):
        with pytest.raises(RequestIdReused) as refused:
            await store.accept(send(request_id, "m1"), "mark", "m1", NOW)
        assert refused.value.metadata == {"request_id": request_id, "message_id": "m1"}
    # The refused key is free for what it is really meant for.
    assert await store.find_request(APP, "r2") is None
    assert not (await store.accept(send("r2", "m2"), "mark", "m2", NOW)).replayed


async def test_without_any_id_every_send_is_another_message(store: SqlStore) -> None:
    first = await store.accept(send(), "mark", "m1", NOW)
    second = await store.accept(send(), "mark", "m2", NOW)
    assert not second.replayed
    assert second.message.ref != first.message.ref


async def test_ids_of_applications_are_apart(store: SqlStore) -> None:
    await store.accept(send("r1", "m1"), "mark", "m1", NOW)
    taken = await store.accept(send("r1", "m1", app_id="other"), "other mark", "m1", NOW)
    assert not taken.replayed
    assert await store.find_request("third", "r1") is None


async def test_a_hundred_repeats_at_once_are_one_message(store: SqlStore) -> None:
    taken = await asyncio.gather(*(store.accept(send("r1"), "mark", f"m{turn}", NOW) for turn in range(100)))
    assert len({accepted.message.ref for accepted in taken}) == 1
    assert [accepted.replayed for accepted in taken].count(False) == 1
    assert len(await store.unplanned(10)) == 1


async def test_a_group_answers_each_member_for_itself(store: SqlStore) -> None:
    await store.accept(send("old", "taken"), "mark", "taken", NOW)
    answers = await asyncio.gather(
        store.accept(send("a"), "mark", "m1", NOW),
        store.accept(send("a"), "mark", "m2", NOW),
        store.accept(send("a"), "other mark", "m3", NOW),
        store.accept(send("b", "taken"), "mark", "taken", NOW),
        store.accept(send("c"), "mark", "m5", NOW),
        store.accept(send(), "mark", "m6", NOW),
        store.accept(send("old", "taken"), "mark", "taken", NOW),
        return_exceptions=True,
    )
    told = [
        answer if isinstance(answer, BaseException) else (answer.message.message_id, answer.replayed)
        for answer in answers
    ]
    assert told[:2] == [("m1", False), ("m1", True)]
    assert isinstance(told[2], RequestIdReused)
    assert isinstance(told[3], RequestIdReused)
    assert told[4:] == [("m5", False), ("m6", False), ("taken", True)]
    assert await store.find_request(APP, "b") is None


async def test_a_group_in_which_a_taken_message_id_is_repeated(store: SqlStore) -> None:
    await store.accept(send("old", "taken"), "mark", "taken", NOW)
    answers = await asyncio.gather(
        *(store.accept(send("b", "taken"), "mark", "taken", NOW) for _ in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [RequestIdReused] * 3


async def test_repeats_in_two_processes_are_one_message_each(store: SqlStore, other_store: SqlStore) -> None:
    keys = [f"r{number}" for number in range(50)]

    async def send_all(to: SqlStore, prefix: str, order: list[str]) -> list[tuple[str, int, bool]]:
        taken = await asyncio.gather(*(to.accept(send(key), "mark", f"{prefix}{key}", NOW) for key in order))
        return [(key, each.message.ref, each.replayed) for key, each in zip(order, taken, strict=True)]

    told = await asyncio.gather(
        send_all(store, "a", keys),
        send_all(other_store, "b", keys[::-1]),
        send_all(store, "c", keys[25:] + keys[:25]),
    )
    for key in keys:
        mine = [(ref, replayed) for answers in told for name, ref, replayed in answers if name == key]
        assert len({ref for ref, _ in mine}) == 1
        assert [replayed for _, replayed in mine].count(False) == 1
    assert len(await store.unplanned(100)) == len(keys)


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


async def test_payloads_are_erased_after_seven_days(store: SqlStore) -> None:
    done = await completed(store, "m1")
    waiting = await accepted(store, "m2")
    assert await store.sweep(NOW + 7 * DAY - 1, 100) == 0
    assert await store.sweep(NOW + 7 * DAY, 100) == 1
    assert await store.sweep(NOW + 7 * DAY, 100) == 0
    kept = await store.get_message(APP, "m1")
    assert kept == replace(
        done,
        state=MessageState.COMPLETED,
        complete_time=NOW,
        audience=Audience(AudienceKind.USERS),
        notification=Notification(),
        payload_erased=True,
    )
    assert len(await store.list_results(ResultQuery(done.ref), 0, 9)) == 2
    assert await store.get_message(APP, "m2") == waiting


async def test_messages_go_after_thirty_days_and_request_ids_a_day_later(store: SqlStore, backstage: Backstage) -> None:
    done = await completed(store, "m1", request_id="r1")
    await completed(store, "m2", NOW + DAY, request_id="r2")
    endless = await accepted(store, "m3", request_id="r3")
    while await store.sweep(NOW + 30 * DAY - 1, 100):
        pass
    assert (await store.get_message(APP, "m1")).ref == done.ref
    while await store.sweep(NOW + 30 * DAY, 100):
        pass
    with pytest.raises(MessageNotFound):
        await store.get_message(APP, "m1")
    assert (await store.get_message(APP, "m2")).payload_erased
    # A repeat that comes so late is still no second push.
    with pytest.raises(MessageNotFound):
        await store.accept(send("r1"), "mark", "m4", NOW + 30 * DAY)
    with pytest.raises(RequestIdReused):
        await store.accept(send("r1"), "other mark", "m4", NOW + 30 * DAY)
    while await store.sweep(NOW + 31 * DAY, 100):
        pass
    assert not (await store.accept(send("r1"), "mark", "m4", NOW + 31 * DAY)).replayed
    while await store.sweep(NOW + 99 * DAY, 100):
        pass
    assert await store.find_request(APP, "r2") is None
    # What has not completed stays, however old it is.
    assert await store.get_message(APP, "m3") == endless
    assert await store.find_request(APP, "r3") == ("mark", "m3")
    for table in ("results", "outcome_counts"):
        assert backstage.execute(f"SELECT COUNT(*) FROM {table}") == [(0,)]
    assert backstage.execute("SELECT COUNT(*) FROM payloads") == [(2,)]


async def test_a_sweep_takes_bounded_steps_through_a_large_message(store: SqlStore) -> None:
    message = await accepted(store)
    ids = [f"d{number}" for number in range(25)]
    await planned(store, message, ids)
    [batch] = await claimed(store)
    report = BatchReport(batch.batch_id, message.ref, batch.lease, [result(each) for each in ids], done=True)
    await store.record([report], NOW)
    await completed(store, "m2")
    steps = []
    while swept := await store.sweep(NOW + 40 * DAY, 10):
        steps.append(swept)
    # Two payloads; 25 + 2 results, 2 counts and 2 messages; no key.
    assert sum(steps) == 2 + 31
    assert max(steps) <= 13
    with pytest.raises(MessageNotFound):
        await store.get_message(APP, "m2")


async def test_a_message_that_is_gone_has_no_plan(store: SqlStore) -> None:
    with pytest.raises(ConcurrentChange):
        await store.add_plan(99, "", AudiencePage([], [missing("d1")], None), [], NOW)


async def test_refs_are_never_given_twice(store: SqlStore) -> None:
    last = await completed(store, "m1")
    while await store.sweep(NOW + 40 * DAY, 100):
        pass
    assert (await accepted(store, "m2")).ref > last.ref


async def test_accepting_while_the_database_is_away_takes_nothing(store: SqlStore, database: Database) -> None:
    await database.aclose()
    with pytest.raises(BellhopError):
        await store.accept(send("r1"), "mark", "m1", NOW)
