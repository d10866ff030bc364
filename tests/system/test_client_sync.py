"""The client for programs without an event loop, against a whole server in another thread."""

import asyncio
import inspect
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bellhop_client import (
    AdminClient,
    ApnsTarget,
    Client,
    InvalidRequestError,
    NotFoundError,
    Notification,
    SendRequest,
    to_users,
)
from bellhop_client.sync import SyncAdminClient, SyncClient
from tests.system.live_server import ADMIN_TOKEN, TOKEN, Live, live_server, p8, settings_in

HELLO = Notification(title="Hello")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a server that runs in a thread of its own."""
    listening, stopped = threading.Event(), asyncio.Event()
    lives: list[tuple[Live, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        async with live_server(settings_in(tmp_path)) as live:
            lives.append((live, asyncio.get_running_loop()))
            listening.set()
            await stopped.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert listening.wait(30)
    (live, loop) = lives[0]
    yield live.server.address
    loop.call_soon_threadsafe(stopped.set)
    thread.join()


@pytest.fixture
def client(address: str) -> Iterator[SyncClient]:
    with SyncAdminClient(address, admin_token=ADMIN_TOKEN) as admin:
        made = admin.create_application(app_id="shop", display_name="Shop")
        key = {"key_id": "ABCDE12345", "team_id": "ABCDE12345", "p8": p8()}
        admin.set_credential(app_id="shop", apns={"key": key, "topics": ["com.example.shop"]})
        assert [each.app_id for each in admin.applications()] == ["shop"]
    with SyncClient(address, app_id="shop", app_secret=made.app_secret) as client:
        client.register_device(device_id="phone", user_id="ann", apns=ApnsTarget(token=TOKEN))
        yield client


def test_calls_lists_and_streams(client: SyncClient) -> None:
    assert client.get_device(device_id="phone").device.user_id == "ann"
    assert [device.device_id for device in client.devices(user_id="ann")] == ["phone"]
    with client.send(audience=to_users("ann"), notification=HELLO) as stream:
        kinds = [event.WhichOneof("event") for event in stream]
    assert (kinds[0], kinds[-1]) == ("accepted", "summary")
    assert stream.summary is not None
    assert stream.accepted is not None
    assert stream.cursor
    again = client.watch(stream.message_id)
    assert [result.device_id for result in again.results()] == ["phone"]
    with pytest.raises(NotFoundError) as none:
        client.get_device(device_id="none")
    assert none.value.reason == "DEVICE_NOT_FOUND"


def test_who_hangs_up_leaves_nothing_open(client: SyncClient) -> None:
    stream = client.send(audience=to_users("ann"), notification=HELLO)
    assert next(stream).HasField("accepted")
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)


def test_many_sends_from_a_plain_iterator(client: SyncClient) -> None:
    sends = [SendRequest(request_id=f"r{n}", audience=to_users("ann"), notification=HELLO) for n in range(50)]
    wrong = SendRequest(request_id="wrong", notification=HELLO)
    answers = list(client.send_many([*sends, wrong]))
    ended = [each.request_id for each in answers if each.event is not None and each.event.HasField("summary")]
    assert sorted(ended) == sorted(send.request_id for send in sends)
    (error,) = [each.error for each in answers if each.error is not None]
    assert isinstance(error, InvalidRequestError)


def test_many_threads_share_one(client: SyncClient) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: client.get_device(device_id="phone").device.user_id, range(40)))
    assert found == ["ann"] * 40


def test_a_client_that_is_closed_says_so(client: SyncClient) -> None:
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.get_device(device_id="phone")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # It is what is tried here.
def test_a_client_does_not_survive_a_fork(client: SyncClient) -> None:
    child = os.fork()
    if child == 0:
        try:
            client.get_device(device_id="phone")
        except RuntimeError as error:
            os._exit(7 if "after the fork" in str(error) else 1)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


def test_a_target_that_is_none_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match="port is missing"):
        SyncClient("nowhere", app_id="shop")
    assert threading.active_count() == before


@pytest.mark.parametrize(("face", "original"), [(SyncClient, Client), (SyncAdminClient, AdminClient)])
def test_both_faces_have_the_same_methods(face: type, original: type) -> None:
    methods = {name for name, _ in inspect.getmembers(original, inspect.isfunction) if not name.startswith("_")}
    assert {name for name, _ in inspect.getmembers(face, inspect.isfunction) if not name.startswith("_")} == methods
    for name in methods - {"close", "send_many"}:
        there, here = (inspect.signature(getattr(each, name)) for each in (original, face))
        assert list(there.parameters.values())[1:] == list(here.parameters.values())[1:]
        assert getattr(face, name).__doc__ == getattr(original, name).__doc__
