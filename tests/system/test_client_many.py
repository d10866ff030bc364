"""The Python client's tags, grants, interactions and stream of many sends, against a whole server."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any

import grpc
import pytest

from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1.message_pb2 import INTERACTION_OPENED, INTERACTION_SEEN
from bellhop.v1.push_registry_pb2 import (
    SUBSCRIPTION_OUTCOME_CREATED,
    SUBSCRIPTION_OUTCOME_REMOVED,
    SUBSCRIPTION_OUTCOME_TAG_NOT_FOUND,
)
from bellhop_client import (
    ApnsTarget,
    Client,
    ConflictError,
    CredentialsError,
    InvalidRequestError,
    ManyAnswer,
    NotFoundError,
    Notification,
    RetryPolicy,
    SendRequest,
    to_everyone,
    to_tags,
    to_users,
)
from tests.system.live_server import TOKEN, Live, Shop

HELLO = Notification(title="Hello")


@pytest.fixture
async def back_end(live: Live, shop: Shop) -> AsyncIterator[Client]:
    await live.credential(shop)
    async with Client(live.server.address, app_id="shop", app_secret=shop.app_secret) as client:
        yield client


async def phone(client: Client, name: str = "phone", user_id: str = "ann") -> None:
    token = TOKEN if name == "phone" else name.encode().hex()
    await client.register_device(device_id=name, user_id=user_id, apns=ApnsTarget(token=token))


async def test_tags_and_whom_they_reach(back_end: Client) -> None:
    await phone(back_end)
    await back_end.create_tag(tag_name="news", description="What is new")
    with pytest.raises(ConflictError) as taken:
        await back_end.create_tag(tag_name="Push.ALL")
    assert taken.value.reason == "TAG_ALREADY_EXISTS"
    changes = (await back_end.subscribe(user_id="ann", tag_names=["news", "none"])).changes
    assert [change.outcome for change in changes] == [SUBSCRIPTION_OUTCOME_CREATED, SUBSCRIPTION_OUTCOME_TAG_NOT_FOUND]
    told = [event async for event in back_end.send(audience=to_tags("news"), notification=HELLO)]
    assert told[-1].summary.counts.device_count == 1
    with pytest.raises(NotFoundError) as unknown:
        async for _ in back_end.send(audience=to_tags("none"), notification=HELLO):
            pass
    assert (unknown.value.reason, unknown.value.metadata) == ("TAG_NOT_FOUND", {"tag_name": "none"})
    names = [(tag.tag_name, tag.subscription_count) async for tag in back_end.tags(return_subscription_count=True)]
    assert names == [("Push.ALL", 1), ("news", 1)]
    assert [each.user_id async for each in back_end.subscriptions(device_id="phone")] == ["ann"]
    assert [each.device_id async for each in back_end.devices(tag_name="news")] == ["phone"]
    changes = (await back_end.unsubscribe(user_id="ann", tag_names=["news"])).changes
    assert [change.outcome for change in changes] == [SUBSCRIPTION_OUTCOME_REMOVED]
    assert (await back_end.update_tag(tag_name="news", description="")).tag.description == ""
    assert (await back_end.delete_tag(tag_name="news")).existed
    with pytest.raises(ValueError, match="device_id or a user_id"):
        await back_end.subscribe(tag_names=["news"])


async def test_a_grant_binds_and_a_funnel_shows_what_became_of_a_message(live: Live, back_end: Client) -> None:
    grant = (await back_end.create_bind_grant(user_id="ann", device_id="phone")).bind_grant
    async with Client(live.server.address, app_id="shop", bind_grant=grant) as app:
        await phone(app)
        with pytest.raises(CredentialsError):
            await phone(app, user_id="ben")
    assert list((await back_end.get_client_config()).platforms) == [1]
    async for _ in back_end.send(audience=to_users("ann"), notification=HELLO, message_id="m1"):
        pass
    for interaction in (INTERACTION_SEEN, INTERACTION_SEEN, INTERACTION_OPENED):
        await back_end.report_interaction(message_id="m1", device_id="phone", interaction=interaction)
    counts = (await back_end.get_message(message_id="m1")).message.counts
    assert [(each.interaction, each.count) for each in counts.interactions] == [(1, 1), (2, 1)]
    (result,) = (await back_end.list_results(message_id="m1")).results
    assert list(result.interactions) == [INTERACTION_SEEN, INTERACTION_OPENED]


async def source(sends: Iterable[SendRequest]) -> AsyncIterator[SendRequest]:
    for send in sends:
        yield send


async def drain(call: Any) -> None:
    while await call.read():
        pass


def sends(count: int, first: int = 0) -> list[SendRequest]:
    return [
        SendRequest(request_id=f"r{number}", audience=to_users("ann"), notification=HELLO)
        for number in range(first, first + count)
    ]


def ended(answers: list[ManyAnswer]) -> list[str]:
    return [each.request_id for each in answers if each.event is not None and each.event.HasField("summary")]


async def test_many_sends_are_answered_each_by_itself(back_end: Client) -> None:
    await phone(back_end)
    wrong = SendRequest(request_id="wrong", audience=to_users("anonymous"), notification=HELLO)
    answers = [each async for each in back_end.send_many(source([*sends(700), wrong, *sends(700, 700)]))]
    assert sorted(ended(answers)) == sorted(f"r{number}" for number in range(1400))
    (refused,) = [each.error for each in answers if each.error is not None]
    assert isinstance(refused, InvalidRequestError)
    assert refused.violations[0].field == "audience.users.user_ids[0]"
    again = [each async for each in back_end.send_many(source(sends(2)))]
    assert all(each.event.accepted.replayed for each in again if each.event and each.event.HasField("accepted"))


async def test_items_that_cannot_be_one(live: Live, shop: Shop, back_end: Client) -> None:
    await phone(back_end)
    live.provider.answers.clear()
    call = live.notifier.SendMany(metadata=shop.sender)
    same = sends(1)[0]
    checked = SendRequest(request_id="c", audience=to_everyone(), notification=HELLO, validate_only=True)
    nameless = SendRequest(audience=to_everyone(), notification=HELLO)
    await call.write(notes.SendManyRequest(sends=[same, same, checked, nameless]))
    errors = {}
    while len(errors) < 3:
        for answer in (await call.read()).answers:
            if answer.HasField("error"):
                errors[answer.request_id] = answer.error.field_violations[0].field
    assert errors == {"r0": "request_id", "c": "validate_only", "": "request_id"}
    live.provider.answers.set()
    await call.write(notes.SendManyRequest())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await drain(call)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_two_of_one_id_come_one_after_the_other(live: Live, back_end: Client) -> None:
    await phone(back_end)
    other = SendRequest(request_id="r1", audience=to_users("ann"), notification=Notification(title="Other"))
    first, again = sends(2)[1], sends(2)[1]
    answers = [each async for each in back_end.send_many(source([*sends(1), first, again, other, *sends(1, 2)]))]
    # The second one is the same message; the third one is another, and refused by the server alone.
    assert sorted(ended(answers)) == ["r0", "r1", "r1", "r2"]
    replayed = [each.event.accepted.replayed for each in answers if each.event and each.event.HasField("accepted")]
    assert sorted(replayed) == [False, False, False, True]
    (error,) = [each.error for each in answers if each.error is not None]
    assert error.reason == "REQUEST_ID_REUSED"
    assert len(live.provider.chunks) == 3


async def test_no_more_is_read_than_the_window_holds(live: Live, back_end: Client) -> None:
    await phone(back_end)
    live.provider.answers.clear()
    taken = 0

    async def counted() -> AsyncIterator[SendRequest]:
        nonlocal taken
        for send in sends(3_000):
            taken += 1
            yield send

    answers = back_end.send_many(counted())
    told = [await anext(answers) for _ in range(900)]
    assert taken <= 1_001
    live.provider.answers.set()
    told += [each async for each in answers]
    assert len(ended(told)) == taken == 3_000


class Wire:
    """A way to a server that can be cut."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._open: set[asyncio.StreamWriter] = set()
        self.cuts = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, int(self._port))
        self._open |= {writer, back}
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        self.cuts += 1
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()


async def test_a_stream_that_breaks_goes_on_and_tells_nothing_twice(live: Live, shop: Shop) -> None:
    await live.credential(shop)
    policy, wire = RetryPolicy(initial_delay=0.01), Wire(live.server.address)
    server = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with (
        server,
        Client(f"{host}:{port}", app_id="shop", app_secret=shop.app_secret, retry_policy=policy) as client,
    ):
        await phone(client)
        live.provider.answers.clear()
        answers = client.send_many(source(sends(5)))
        told = [await anext(answers) for _ in range(5)]
        wire.cut()
        live.provider.answers.set()
        told += [each async for each in answers]
    kinds = [(each.request_id, each.event.WhichOneof("event")) for each in told if each.event is not None]
    expected = [(f"r{number}", kind) for number in range(5) for kind in ("accepted", "results", "summary")]
    assert sorted(kind for kind in kinds if kind[1] != "progress") == sorted(expected)
