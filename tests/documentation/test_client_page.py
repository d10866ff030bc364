"""The examples of docs/client.md, in order, each run against a whole server."""

import ast
import asyncio
import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from grpc import StatusCode
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from bellhop_client import ApnsTarget, ExhaustedError, Notification, reasons, to_users
from bellhop_client.outbox import Outbox
from bellhop_client.sync import SyncClient
from bellhop_testing import FakeBellhop
from tests.documentation.pages import blocks, replaced

pytest_plugins = ["bellhop_testing.fixtures"]

FIRST, MANY, SYNC, OUTBOX, ERRORS = blocks("docs/client.md", "python")
SECRET = "bha_…"


def compiled(text: str) -> CodeType:
    """Of a block, which may await outside of a function as a reader's own function would."""
    return compile(text, "docs/client.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.fixture
def annas_phone(bellhop_client: SyncClient) -> ApnsTarget:
    """Anna is logged in on one."""
    target = ApnsTarget(token="ab" * 32)
    bellhop_client.register_device(device_id="phone", user_id="anna", apns=target)
    return target


def here(text: str, bellhop: FakeBellhop, server: str = "127.0.0.1:50051") -> str:
    """The block for that server."""
    return replaced(text, (server, bellhop.address), ('"shop"', f'"{bellhop.app_id}"'), (SECRET, bellhop.app_secret))


def titles(bellhop: FakeBellhop) -> list[str]:
    return [each.notification.title for each in bellhop.sent("anna")]


@pytest.mark.usefixtures("annas_phone")
def test_the_first_one_sends(bellhop: FakeBellhop, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compiled(here(FIRST, bellhop)), {})
    assert titles(bellhop) == ["Dinner is ready"]
    assert capsys.readouterr().out.startswith("phone OUTCOME_ACCEPTED")


@pytest.mark.usefixtures("annas_phone")
def test_many_at_once(bellhop: FakeBellhop, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with bellhop.client() as client:
            names: dict[str, Any] = {
                "client": client,
                "waiting": lambda: [("anna", "123 456"), ("", "654 321")],
                "to_users": to_users,
                "Notification": Notification,
            }
            running = eval(compiled(MANY), names)
            assert inspect.iscoroutine(running)
            await running

    asyncio.run(main())
    assert titles(bellhop) == ["123 456"]
    assert sorted(capsys.readouterr().out.splitlines()) == ["code- INVALID_REQUEST None", "code-anna 1"]


@pytest.mark.usefixtures("annas_phone")
def test_without_an_event_loop(bellhop: FakeBellhop, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compiled(here(SYNC, bellhop)), {"to_users": to_users, "Notification": Notification})
    assert titles(bellhop) == ["Dinner is ready"]
    assert "summary {" in capsys.readouterr().out


class Base(DeclarativeBase):
    """The tables of a shop."""


class Order(Base):
    """What a customer ordered."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.mark.usefixtures("annas_phone")
def test_an_order_and_its_push_are_one(bellhop: FakeBellhop, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    engine = create_engine(url)
    outbox = Outbox(Base.metadata)
    Base.metadata.create_all(engine)
    text = replaced(
        here(OUTBOX, bellhop, "push.example.com:50051"),
        ("postgresql+psycopg://…", url),
    )
    with stopped_once_sent(bellhop) as stopped:
        names = {"to_users": to_users, "Notification": Notification, "order": Order(id=17), "stopped": stopped}
        exec(compiled(text), names)
    assert titles(bellhop) == ["Thank you"]
    with Session(engine) as session:
        assert session.scalars(select(Order.id)).all() == [17]
        assert session.execute(select(outbox.table)).all() == []


@contextmanager
def stopped_once_sent(bellhop: FakeBellhop) -> Iterator[threading.Event]:
    """An event that is set when something was sent."""
    stopped = threading.Event()

    def watch() -> None:
        while not bellhop.sent() and not stopped.is_set():
            pass
        stopped.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield stopped
    finally:
        stopped.set()
        watcher.join()


def test_errors_are_caught_by_what_there_is_to_do(
    bellhop: FakeBellhop, bellhop_client: SyncClient, annas_phone: ApnsTarget
) -> None:
    later: list[float] = []
    stale: list[bool] = []
    names: dict[str, Any] = {"client": bellhop_client, "target": annas_phone, "try_again_in": later.append}
    bellhop_client.register_device(device_id="phone", user_id="ben", binding_generation=8, apns=annas_phone)
    exec(compiled(replaced(ERRORS, ("    pass", "    stale.append(True)"))), {**names, "stale": stale})
    assert (stale, later) == ([True], [])
    assert bellhop_client.get_device(device_id="phone").device.user_id == "ben"

    class Full:
        """A client whose server refuses."""

        def __init__(self, error: Exception) -> None:
            self.error = error

        def register_device(self, **fields: object) -> None:
            raise self.error

    code = StatusCode.RESOURCE_EXHAUSTED
    exec(compiled(ERRORS), {**names, "client": Full(reasons.Overloaded(code, "full", retry_after=2.0))})
    assert later == [2.0]
    with pytest.raises(ExhaustedError):
        exec(compiled(ERRORS), {**names, "client": Full(reasons.QuotaExceeded(code, "many"))})
