"""Sending later and taking back on the command line, against a server that writes down what it is asked."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from bellhop.v1 import event_pb2, message_pb2
from bellhop_cli.main import main
from tests.unit.scripted_server import ScriptedServer, accepted, scripted_server

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with scripted_server() as scripted:
        monkeypatch.setenv("BELLHOP_SERVER", scripted.address)
        monkeypatch.setenv("BELLHOP_APP_ID", "shop")
        monkeypatch.setenv("BELLHOP_APP_SECRET", "bha_1")
        yield scripted


@pytest.fixture
def say(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command; its exit code, and what it wrote."""

    def say(*arguments: str) -> tuple[int, str]:
        code = main(arguments)
        return code, "".join(capsys.readouterr())

    return say


@pytest.mark.parametrize("wrong", ["tomorrow", "2026-12-01", "2026-12-01T08:00:00", ""])
def test_a_time_without_its_offset_is_none(say: Say, server: ScriptedServer, wrong: str) -> None:
    code, told = say("send", "--user", "anna", "--title", "Dinner", "--at", wrong)
    assert (code, server.notifier.sends) == (2, [])
    assert "is not a time such as" in told


def test_a_send_at_a_time(say: Say, server: ScriptedServer) -> None:
    _, told = say("send", "--user", "anna", "--title", "Dinner", "--at", "2999-12-01T09:00:00+01:00")
    [request] = server.notifier.sends
    assert request.options.schedule_time.ToJsonString() == "2999-12-01T08:00:00Z"
    assert "Message m1 accepted, to be sent at 2999-12-01 08:00:00Z" in told.splitlines()


def test_a_send_at_a_time_that_is_over_is_a_send_now(say: Say, server: ScriptedServer) -> None:
    _, told = say("send", "--user", "anna", "--title", "Dinner", "--at", "1999-12-01T09:00:00Z")
    assert server.notifier.sends[0].options.HasField("schedule_time")
    assert "Message m1 accepted" in told.splitlines()


def test_a_send_in_a_while(say: Say, server: ScriptedServer) -> None:
    before = int(time.time())
    assert say("send", "--user", "anna", "--title", "Dinner", "--in", "10m")[0] == 0
    assert before + 600 <= server.notifier.sends[0].options.schedule_time.seconds <= time.time() + 600
    assert say("send", "--user", "a", "--title", "T", "--in", "10m", "--at", "2999-12-01T09:00:00Z")[0] == 2


def test_a_message_that_is_cancelled_while_it_is_followed_ends_with_1(say: Say, server: ScriptedServer) -> None:
    summary = event_pb2.Summary(message_id="m1", state=message_pb2.MESSAGE_STATE_CANCELLED)
    server.notifier.message = [accepted(), event_pb2.SendEvent(cursor="c1", summary=summary)]

    code, told = say("send", "--user", "anna", "--title", "Dinner", "--at", "2999-12-01T09:00:00Z")
    assert code == 1
    assert "The message was cancelled." in told.splitlines()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (message_pb2.MESSAGE_STATE_CANCELLED, "Message m1 cancelled\n"),
        (message_pb2.MESSAGE_STATE_SENDING, "2 of 3 devices have their result"),
        (message_pb2.MESSAGE_STATE_COMPLETED, "was over before"),
    ],
)
def test_cancel_says_what_became_of_it(
    say: Say, server: ScriptedServer, state: message_pb2.MessageState.ValueType, said: str
) -> None:
    numbers = message_pb2.MessageCounts(device_count=3, finished_count=2)
    server.notifier.cancelled = message_pb2.PushMessage(message_id="m1", state=state, counts=numbers)

    code, told = say("cancel", "m1")
    assert (code, server.notifier.cancels) == (0, ["m1"])
    assert said in told


def test_cancel_as_json_is_the_message(say: Say, server: ScriptedServer) -> None:
    _, told = say("cancel", "m1", "--json")
    assert json.loads(told)["state"] == "MESSAGE_STATE_CANCELLED"
