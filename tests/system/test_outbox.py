"""The outbox: what is committed is sent once, what is rolled back never, whoever dies in between."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, create_engine, event, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import Session

from bellhop_client import ApnsTarget, Client, Notification, RetryPolicy, SendRequest, to_users
from bellhop_client.errors import BellhopError, UnavailableError
from bellhop_client.outbox import AsyncRelay, Outbox, Relay, Relayed, State, _Desk, _Row, is_passing
from bellhop_client.send_many import ManyAnswer
from tests.system.live_server import TOKEN, Live, Shop

HELLO = Notification(title="Hello")
METADATA = MetaData()
ORDERS = Table("orders", METADATA, Column("number", Integer, primary_key=True))
OUTBOX = Outbox(METADATA, "shop_outbox")


def ring(request_id: str = "", user_id: str = "ann") -> SendRequest:
    return SendRequest(request_id=request_id, audience=to_users(user_id), notification=HELLO)


def waiting(connection: Connection) -> list[tuple[str, int, str]]:
    columns = OUTBOX.table.c
    rows = connection.execute(select(columns.request_id, columns.state, columns.reason).order_by(columns.request_id))
    return [tuple(row) for row in rows.all()]


@pytest.fixture
async def engine(postgresql_url: str) -> AsyncIterator[AsyncEngine]:
    """The caller's own database."""
    engine = create_async_engine(postgresql_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    yield engine
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.drop_all)
    await engine.dispose()


@pytest.fixture
async def client(live: Live, shop: Shop) -> AsyncIterator[Client]:
    await live.credential(shop)
    async with Client(live.server.address, app_id="shop", app_secret=shop.app_secret) as client:
        await client.register_device(device_id="phone", user_id="ann", apns=ApnsTarget(token=TOKEN))
        yield client


async def messages(client: Client) -> list[str]:
    return sorted([message.request_id async for message in client.messages()])


async def fail(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(OUTBOX.add(ring("order-2")))
        raise RuntimeError("the order failed")


async def test_what_is_committed_is_sent_and_what_is_rolled_back_is_not(engine: AsyncEngine, client: Client) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(ORDERS).values(number=1))
        await connection.execute(OUTBOX.add(ring("order-1"), ring("order-1-too")))
    with pytest.raises(RuntimeError):
        await fail(engine)
    relay = AsyncRelay(OUTBOX, engine, client)
    assert await relay.run_once() == Relayed(accepted=2)
    assert await messages(client) == ["order-1", "order-1-too"]
    assert (await relay.run_once()).total == 0


async def test_what_will_never_be_taken_is_kept_with_its_reason(engine: AsyncEngine, client: Client) -> None:
    async with engine.begin() as connection:
        await connection.execute(OUTBOX.add(ring("a"), ring("b", "anonymous"), ring("c")))
    relay = AsyncRelay(OUTBOX, engine, client)
    assert await relay.run_once() == Relayed(accepted=2, refused=1)
    async with engine.begin() as connection:
        ((request_id, state, reason),) = await connection.run_sync(waiting)
    assert (request_id, state) == ("b", State.REFUSED)
    assert "audience.users.user_ids[0]" in reason
    assert (await relay.run_once()).total == 0


async def test_a_relay_that_dies_before_it_can_note_sends_nothing_twice(
    engine: AsyncEngine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine.begin() as connection:
        await connection.execute(OUTBOX.add(ring("order-1")))

    async def die(requests: Any) -> AsyncIterator[ManyAnswer]:
        async for answer in Client.send_many(client, requests):
            raise SystemExit
            yield answer

    monkeypatch.setattr(client, "send_many", die)
    with pytest.raises(SystemExit):
        await AsyncRelay(OUTBOX, engine, client).run_once()
    monkeypatch.undo()
    other = AsyncRelay(OUTBOX, engine, client)
    assert (await other.run_once()).total == 0
    async with engine.begin() as connection:
        await connection.execute(OUTBOX.table.update().values(lease_until=0))
    assert await other.run_once() == Relayed(accepted=1)
    assert await messages(client) == ["order-1"]


async def test_many_relays_share_the_rows(engine: AsyncEngine, client: Client) -> None:
    names = [f"order-{number:03}" for number in range(60)]
    async with engine.begin() as connection:
        await connection.execute(OUTBOX.add(*map(ring, names)))
    relays = [AsyncRelay(OUTBOX, engine, client) for _ in range(4)]
    done = await asyncio.gather(*(relay.run_once() for relay in relays))
    assert sum(each.accepted for each in done) == 60
    assert await messages(client) == names


async def test_a_server_that_is_away_costs_nothing(engine: AsyncEngine, live: Live, shop: Shop) -> None:
    await live.stop()
    policy = RetryPolicy(initial_delay=0.0, resuming_attempts=1)
    async with Client(live.server.address, app_id="shop", app_secret=shop.app_secret, retry_policy=policy) as client:
        async with engine.begin() as connection:
            await connection.execute(OUTBOX.add(ring("order-1")))
        assert await AsyncRelay(OUTBOX, engine, client).run_once() == Relayed(again=1)
        async with engine.begin() as connection:
            ((_, state, reason),) = await connection.run_sync(waiting)
        assert (state, bool(reason)) == (State.WAITING, True)


class FakeSync:
    """Takes everything, or says why not."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.error: BellhopError | None = None

    def send_many(self, sends: Iterator[SendRequest]) -> Iterator[ManyAnswer]:
        for send in sends:
            assert send.accept_only
            if self.error is None:
                self.taken.append(send.request_id)
            yield ManyAnswer(send.request_id, None, self.error)


def test_a_session_of_the_caller_s_own_and_a_relay_without_a_loop(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    METADATA.create_all(engine)
    fake = FakeSync()
    relay = Relay(OUTBOX, engine, fake)
    with Session(engine) as session:
        session.execute(OUTBOX.add(ring()))
        session.commit()
        session.execute(OUTBOX.add(ring("rolled-back")))
        session.rollback()
    fake.error = UnavailableError(grpc.StatusCode.UNAVAILABLE, "away", retry_after=0.0)
    assert relay.run_once() == Relayed(again=1)
    assert relay.run_once().total == 0
    with engine.begin() as connection:
        connection.execute(OUTBOX.table.update().values(due_time=0))
    fake.error = None
    assert relay.run_once() == Relayed(accepted=1)
    (name,) = fake.taken
    assert len(name) == 32
    with engine.begin() as connection:
        assert connection.execute(select(func.count()).select_from(OUTBOX.table)).scalar_one() == 0
    engine.dispose()


async def test_a_relay_runs_until_it_is_told_to_stop(engine: AsyncEngine, client: Client) -> None:
    running = asyncio.create_task(AsyncRelay(OUTBOX, engine, client).run(poll=0.01))
    for name in ("a", "b"):
        async with engine.begin() as connection:
            await connection.execute(OUTBOX.add(ring(name)))
        while name not in await messages(client):
            pass
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_a_relay_without_a_loop_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    engine, fake, stopped = create_engine(f"sqlite:///{tmp_path / 'shop.db'}"), FakeSync(), threading.Event()
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(OUTBOX.add(ring("a")))
    running = threading.Thread(target=Relay(OUTBOX, engine, fake).run, args=(stopped, 0.01))
    running.start()
    while not fake.taken:
        stopped.wait(0.01)
    stopped.set()
    running.join(10)
    assert not running.is_alive()
    engine.dispose()


def test_two_who_read_the_same_row_do_not_both_have_it(tmp_path: Path) -> None:
    """As on databases that lock nothing."""
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    METADATA.create_all(engine)
    desk = _Desk(OUTBOX)
    with engine.begin() as connection:
        connection.execute(OUTBOX.add(ring("a")))
    taken: list[_Row] = []

    @event.listens_for(engine, "before_cursor_execute")
    def come_between(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE") and not taken:
            taken.append(_Row(ring("a"), 0))
            cursor.execute(f"UPDATE {OUTBOX.table.name} SET lease_until = 7")

    with engine.begin() as connection:
        assert desk.take(connection) == []
    assert taken
    engine.dispose()


def test_what_has_no_place_in_an_outbox() -> None:
    with pytest.raises(ValueError, match="validate_only"):
        OUTBOX.add(SendRequest(validate_only=True))


@pytest.mark.parametrize(
    ("code", "passing"), [("UNAVAILABLE", True), ("RESOURCE_EXHAUSTED", True), ("INVALID_ARGUMENT", False)]
)
def test_what_may_be_taken_later(code: str, passing: bool) -> None:
    assert is_passing(BellhopError(grpc.StatusCode[code], "")) == passing
    assert is_passing(BellhopError(grpc.StatusCode[code], "", retry_after=1.0))
