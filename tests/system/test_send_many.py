"""SendMany over the wire: each item a Send of its own, good ones and bad ones on one stream."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import error_reason_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop_server.domain.fingerprint import fingerprint
from bellhop_server.domain.message import Send
from bellhop_server.rpc.admission import Limits
from bellhop_server.rpc.send_many import MOST_ANSWERS
from tests.system.live_server import Live, Shop, as_admin, details, live_server, refusal, settings_in, told
from tests.system.many import Many, item, register, sent

WHOLE = ["accepted", "results", "summary"]
ACCEPTED = message_pb2.OUTCOME_ACCEPTED
NOT_REGISTERED = message_pb2.OUTCOME_NOT_REGISTERED


@pytest.fixture
async def live(tmp_path: Path, database_url: str) -> AsyncIterator[Live]:
    settings = settings_in(tmp_path, database_url=database_url, master_key=base64.b64encode(bytes(32)).decode())
    async with live_server(settings) as live:
        yield live


@pytest.fixture
async def shop(live: Live) -> Shop:
    shop = await live.shop()
    await register(live, shop, 3)
    return shop


async def test_each_item_is_a_send_of_its_own(live: Live, shop: Shop) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    many = await sent(
        live.notifier,
        shop,
        item("to-anna"),
        item("to-nobody", "nobody"),
        item("to-both", "anna", "u1", "nobody"),
        item("to-devices", audience={"devices": {"device_ids": ["d2", "d1", "gone"]}}),
        item("to-everyone", audience={"everyone": {}}),
        item("failures", "nobody", "u1", result_filter="RESULT_FILTER_FAILURES"),
        item("silently", result_filter="RESULT_FILTER_NONE"),
        item("in-short", accept_only=True),
        item("named", message_id="a-name"),
        item("later", accept_only=True, options={"schedule_time": soon}),
    )

    for name in ("to-anna", "to-both", "to-devices", "to-everyone", "failures", "named"):
        assert many.kinds(name)[0] == "accepted"
        assert many.kinds(name)[-1] == "summary"
        assert set(many.kinds(name)[1:-1]) == {"results"}
    assert many.kinds("to-nobody") == WHOLE
    assert many.kinds("silently") == ["accepted", "summary"]
    assert many.kinds("in-short") == many.kinds("later") == ["accepted"]
    assert many.results("to-anna") == many.results("named") == [("d0", ACCEPTED)]
    assert many.results("to-nobody") == many.results("failures") == [("", NOT_REGISTERED)]
    assert sorted(many.results("to-both")) == [("", NOT_REGISTERED), ("d0", ACCEPTED), ("d1", ACCEPTED)]
    assert sorted(many.results("to-devices")) == [("d1", ACCEPTED), ("d2", ACCEPTED), ("gone", NOT_REGISTERED)]
    assert sorted(many.results("to-everyone")) == [(f"d{number}", ACCEPTED) for number in range(3)]
    assert many.events("named")[0].accepted.message_id == "a-name"
    assert not any(many.events(name)[0].accepted.replayed for name in many.answers)


async def test_an_item_is_told_what_watch_message_tells(live: Live, shop: Shop) -> None:
    many = await sent(live.notifier, shop, item("x", "anna", "u1", "nobody"), item("y", "u2"))

    for name in ("x", "y"):
        told_of = many.events(name)
        request = notes.WatchMessageRequest(message_id=told_of[0].accepted.message_id)
        watched = [each.event async for each in live.notifier.WatchMessage(request, metadata=shop.sender)]
        assert told_of[-1] == watched[-1]
        assert [r for e in told_of for r in e.results.results] == [r for e in watched for r in e.results.results]
        for event in told_of:
            request.after_cursor = event.cursor
            again = [each.event async for each in live.notifier.WatchMessage(request, metadata=shop.sender)]
            assert again[-1] == watched[-1]


async def test_a_bad_item_is_answered_by_itself_as_its_send_would_be(live: Live, shop: Shop) -> None:
    await sent(live.notifier, shop, item("known"))
    bad = {
        "no-audience": item("no-audience", audience=None),
        "nothing": item("nothing", notification={}),
        "both": item("both", "a" * 513, notification={"link": "no link", "data": {"aps": "x"}}),
        "no-tag": item("no-tag", audience={"tags": {"tag_names": ["no-such-tag"]}}),
        "known": item("known", "u1"),
        "many-wrong": item("many-wrong", *("\0" for _ in range(40))),
    }
    many = await sent(live.notifier, shop, item("first"), *bad.values(), item("last"))

    assert many.kinds("first") == many.kinds("last") == WHOLE
    for name, request in bad.items():
        assert many.kinds(name) == ["error"]
        error = many.answers[name][0].error
        refused = await refusal(live.notifier.Send(request, metadata=shop.sender))
        code, reason, metadata = told(refused)
        assert error.code == code.value[0]
        assert error_reason_pb2.ErrorReason.Name(error.reason) == f"ERROR_REASON_{reason}"
        assert error.message == refused.details()
        assert dict(error.metadata) == metadata
        said = details(refused)
        violations = said["BadRequest"].field_violations if "BadRequest" in said else []
        assert [(each.field, each.description) for each in error.field_violations] == [
            (each.field, each.description) for each in violations
        ]
        assert error.HasField("retry_delay") == ("RetryInfo" in said)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (item(""), "request_id"),
        (item("checked", validate_only=True), "validate_only"),
        (item("é"), "request_id"),
        (item("x" * 129), "request_id"),
        (item("x" * 100_000), "request_id"),
    ],
    ids=["none", "validate_only", "no ASCII", "long", "huge"],
)
async def test_what_cannot_be_an_item_is_refused_alone(
    live: Live, shop: Shop, request_: notes.SendRequest, field: str
) -> None:
    many = await sent(live.notifier, shop, request_, item("good"))

    assert many.kinds("good") == WHOLE
    shown = request_.request_id[:128]
    assert many.kinds(shown) == ["error"]
    error = many.answers[shown][0].error
    assert (error.code, error.reason) == (3, error_reason_pb2.ERROR_REASON_INVALID_REQUEST)
    assert [each.field for each in error.field_violations] == [field]


@pytest.mark.promise("P8")
async def test_an_id_is_refused_while_an_item_with_it_is_open_and_repeats_it_afterwards(live: Live, shop: Shop) -> None:
    live.provider.answers.clear()
    many = Many(live.notifier, shop)
    await many.write([item("same"), item("same"), item("other")])
    while many.kinds("same").count("error") < 1:
        assert await many.read()
    await many.write([item("same", "u1")])
    while many.kinds("same").count("error") < 2:
        assert await many.read()
    live.provider.answers.set()
    await many.read_until("same", "summary")
    assert len(many.events("same")) == 3
    await many.write([item("same")])
    await many.half_close()
    assert await many.rest() is grpc.StatusCode.OK

    first, again = many.events("same")[:3], many.events("same")[3:]
    assert [event.WhichOneof("event") for event in again] == WHOLE
    assert again[0].accepted.replayed
    assert again[0].accepted.message_id == first[0].accepted.message_id
    assert again[1:] == first[1:]
    assert many.kinds("other") == WHOLE
    assert sum(len(chunk.deliveries) for chunk in live.provider.chunks) == 2


@pytest.mark.promise("P8")
async def test_repeats_after_a_broken_stream_attach_to_what_is_there(live: Live, shop: Shop) -> None:
    live.provider.answers.clear()
    items = [item(f"r{number}", "anna" if number % 2 else "u1") for number in range(20)]
    broken = Many(live.notifier, shop)
    await broken.write(items)
    await broken.read_until("r19", "accepted")
    broken.call.cancel()
    repeat = Many(live.notifier, shop)
    await repeat.write([*items, item("new")])
    await repeat.half_close()
    await repeat.read_until("new", "accepted")
    live.provider.answers.set()
    assert await repeat.rest() is grpc.StatusCode.OK
    once_more = await sent(live.notifier, shop, *items)

    for each in items:
        name = each.request_id
        (first, *_), (again, *_), (late, *_) = (many.events(name) for many in (broken, repeat, once_more))
        assert again.accepted.replayed
        assert first.accepted.message_id == again.accepted.message_id == late.accepted.message_id
        assert repeat.kinds(name) == once_more.kinds(name) == WHOLE
        assert repeat.events(name)[1:] == once_more.events(name)[1:]
    assert sum(len(chunk.deliveries) for chunk in live.provider.chunks) == 21


@pytest.mark.promise("P8")
async def test_two_ids_of_one_message_are_both_answered(live: Live, shop: Shop) -> None:
    """The message has one name, under which both know it."""
    many = await sent(live.notifier, shop, item("one", message_id="m"), item("two", message_id="m"))

    assert many.kinds("one") == many.kinds("two") == WHOLE
    assert {many.events(name)[0].accepted.replayed for name in ("one", "two")} == {False, True}
    assert many.events("one")[1:] == many.events("two")[1:]


async def test_after_the_half_close_what_is_open_is_answered(live: Live, shop: Shop) -> None:
    live.provider.answers.clear()
    many = Many(live.notifier, shop)
    await many.write([item(f"r{number}") for number in range(200)])
    await many.half_close()
    await many.read_until("r199", "accepted")
    live.provider.answers.set()

    assert await many.rest() is grpc.StatusCode.OK
    assert all(many.kinds(f"r{number}") == WHOLE for number in range(200))
    assert max(many.sizes) <= MOST_ANSWERS
    assert len(many.sizes) < 100


async def test_a_stream_without_items_is_ok(live: Live, shop: Shop) -> None:
    many = Many(live.notifier, shop)
    await many.half_close()
    assert await many.rest() is grpc.StatusCode.OK
    assert not many.answers


@pytest.mark.parametrize("count", [0, 501])
async def test_a_request_with_too_few_or_too_many_items_ends_the_stream(live: Live, shop: Shop, count: int) -> None:
    many = Many(live.notifier, shop)
    await many.write([item("before", accept_only=True)])
    await many.read_until("before", "accepted")
    await many.write([item(f"r{number}") for number in range(count)])
    error = await many.error()

    assert told(error)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert [each.field for each in details(error)["BadRequest"].field_violations] == ["sends"]
    assert list(many.answers) == ["before"]


async def test_a_request_of_more_than_four_mebibytes_ends_the_stream(live: Live, shop: Shop) -> None:
    many = Many(live.notifier, shop)
    ids = [f"{number:05}{'x' * 400}" for number in range(2500)]
    await many.write([item(f"r{number}", *ids) for number in range(5)])
    error = await many.error()

    limit = {"limit": "request_bytes", "value": str(4 * 1024 * 1024)}
    assert told(error) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", limit)


async def test_what_is_no_message_of_the_method_ends_the_stream(live: Live, shop: Shop) -> None:
    raw: Any = live.channel.stream_stream("/bellhop.v1.Notifier/SendMany")(metadata=shop.sender)
    await raw.write(b"\xff\xff\xff")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await raw.read()
    assert told(refused.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


async def test_a_large_item_is_taken_and_answered_in_pages(live: Live, shop: Shop) -> None:
    """Almost four megabytes of people whom nobody knows."""
    ids = [f"{number:05}{'x' * 390}" for number in range(9_990)]
    many = await sent(live.notifier, shop, item("large", *ids), item("small"))

    assert many.kinds("small") == WHOLE
    named = [each.user_id for event in many.events("large") for each in event.results.results]
    assert sorted(named) == sorted(ids)
    assert max(len(event.results.results) for event in many.events("large")) == 200
    assert many.events("large")[-1].summary.counts.not_registered_count == len(ids)


@pytest.mark.parametrize("metadata", [(), (("app-id", "shop"), ("app-secret", "bha_" + "x" * 43))])
async def test_nothing_is_read_of_a_caller_who_is_not_known(live: Live, shop: Shop, metadata: Any) -> None:
    call = live.notifier.SendMany(metadata=metadata)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    call = live.notifier.SendMany(metadata=shop.client)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_secret_that_was_revoked_takes_nothing_more(live: Live, shop: Shop) -> None:
    live.provider.answers.clear()
    many = Many(live.notifier, shop)
    await many.write([item("before")])
    accepted = await many.read_until("before", "accepted")
    listed = await live.applications.ListSecrets(apps.ListSecretsRequest(app_id="shop"), metadata=as_admin())
    for secret in listed.secrets:
        revoke = apps.RevokeSecretRequest(app_id="shop", secret_id=secret.secret_id)
        await live.applications.RevokeSecret(revoke, metadata=as_admin())
    await many.write([item("after")])
    error = await many.error()
    live.provider.answers.set()

    assert told(error)[:2] == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID")
    assert list(many.answers) == ["before"]
    rotate = apps.RotateSecretRequest(app_id="shop", kind=apps.SECRET_KIND_APP)
    fresh = (await live.applications.RotateSecret(rotate, metadata=as_admin())).secret
    watch = notes.WatchMessageRequest(message_id=accepted.accepted.message_id)
    seen = [
        each.event
        async for each in live.notifier.WatchMessage(watch, metadata=(("app-id", "shop"), ("app-secret", fresh)))
    ]
    assert seen[-1].summary.counts.finished_count == 1
    messages = await live.notifier.ListMessages(
        notes.ListMessagesRequest(), metadata=(("app-id", "shop"), ("app-secret", fresh))
    )
    assert len(messages.messages) == 1


async def test_it_counts_as_a_stream(tmp_path: Path) -> None:
    limits = Limits(streams_per_application=2)
    async with live_server(settings_in(tmp_path), limits=limits) as live:
        shop = await live.shop()
        open_ = [Many(live.notifier, shop) for _ in range(2)]
        for many in open_:
            await many.write([item("x", "nobody")])
            await many.read_until("x", "summary")
        error = await Many(live.notifier, shop).error()
        assert told(error) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", {"queue": "streams"})
        for many in open_:
            await many.half_close()
            assert await many.rest() is grpc.StatusCode.OK
        await sent(live.notifier, shop, item("y", "nobody"))


async def test_a_caller_who_hangs_up_leaves_nothing_behind(live: Live, shop: Shop) -> None:
    live.provider.answers.clear()
    before = asyncio.all_tasks()
    many = Many(live.notifier, shop)
    await many.write([item(f"r{number}") for number in range(50)])
    await many.read_until("r49", "accepted")
    many.call.cancel()
    live.provider.answers.set()
    again = await sent(live.notifier, shop, *(item(f"r{number}") for number in range(50)))

    assert all(again.events(f"r{number}")[0].accepted.replayed for number in range(50))
    async with asyncio.timeout(10):
        while any("send_many" in str(task.get_coro()) for task in asyncio.all_tasks() - before):
            await live.applications.ListSecrets(apps.ListSecretsRequest(app_id="shop"), metadata=as_admin())


async def test_what_nobody_foresaw_is_an_incident_of_its_item_alone(
    live: Live, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(send: Send) -> str:
        if send.request_id == "poison":
            raise RuntimeError("a fault")
        return fingerprint(send)

    monkeypatch.setattr("bellhop_server.app.sending.fingerprint", poisoned)
    many = await sent(live.notifier, shop, item("first"), item("poison"), item("last"))

    assert many.kinds("first") == many.kinds("last") == WHOLE
    error = many.answers["poison"][0].error
    assert (error.code, error.reason) == (13, error_reason_pb2.ERROR_REASON_INTERNAL_ERROR)
    assert list(error.metadata) == ["incident_id"]
    assert "fault" not in error.message.replace("A fault of Bellhop", "")


async def test_an_item_that_waits_for_its_time_holds_up_no_other(live: Live, shop: Shop) -> None:
    many = Many(live.notifier, shop)
    later = datetime.now(UTC) + timedelta(hours=1)
    await many.write([item("later", options={"schedule_time": later}), item("now")])
    await many.read_until("now", "summary")
    message_id = (await many.read_until("later", "accepted")).accepted.message_id
    await live.notifier.CancelMessage(notes.CancelMessageRequest(message_id=message_id), metadata=shop.sender)
    ended = await many.read_until("later", "summary")

    assert ended.summary.state == message_pb2.MESSAGE_STATE_CANCELLED
    await many.half_close()
    assert await many.rest() is grpc.StatusCode.OK
