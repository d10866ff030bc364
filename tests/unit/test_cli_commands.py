"""Commands against a server that answers as the test tells it: what they ask for, print and end with."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.rpc import error_details_pb2

from bellhop.v1 import applications_pb2, device_pb2, event_pb2, message_pb2, push_registry_pb2
from bellhop_cli.main import main
from tests.unit.scripted_server import Refusal, ScriptedServer, accepted, counts, error_info, results, scripted_server

# `bellhop` with SIGINT at its default: what a shell starts in the background has it ignored, and hands that on.
INTERRUPTIBLE = """
import signal, sys
from bellhop_cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""


@dataclass
class Finished:
    code: int
    out: str
    err: str


Run = Callable[..., Finished]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as scripted:
        yield scripted


@pytest.fixture
def run(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BELLHOP_SERVER", server.address)
    monkeypatch.setenv("BELLHOP_APP_ID", "shop")
    monkeypatch.setenv("BELLHOP_APP_SECRET", "bha_1")
    monkeypatch.setenv("BELLHOP_ADMIN_TOKEN", "root")

    def run(*arguments: str) -> Finished:
        code = main(arguments)
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return run


def some_fail(failures: int) -> list[event_pb2.SendEvent]:
    dead = {f"dead-{number}": message_pb2.OUTCOME_TOKEN_INVALID for number in range(failures)}
    return [
        accepted(),
        results("c1", phone=message_pb2.OUTCOME_ACCEPTED, **dead),
        event_pb2.SendEvent(
            cursor="c2", summary=event_pb2.Summary(message_id="m1", counts=counts(ACCEPTED=1, TOKEN_INVALID=failures))
        ),
    ]


def test_a_send_that_reaches_all_ends_with_0_and_a_table(run: Run, server: ScriptedServer) -> None:
    done = run("send", "--user", "anna", "--title", "Dinner")

    assert done.code == 0
    assert done.err == ""
    lines = [line.split() for line in done.out.splitlines()]
    assert ["Message", "m1", "accepted"] in lines
    assert lines[-2:] == [["PLATFORM", "OUTCOME", "COUNT"], ["apns", "accepted", "3"]]


def test_a_send_that_some_missed_ends_with_1_and_lists_the_first_20(run: Run, server: ScriptedServer) -> None:
    server.notifier.message = some_fail(25)

    done = run("send", "--user", "anna", "--title", "Dinner")
    assert done.code == 1
    assert ["apns", "token", "invalid", "25"] in [line.split() for line in done.out.splitlines()]
    assert "Not accepted: 25, the first 20" in done.out
    assert [number for number in range(25) if f"dead-{number} " in done.out] == list(range(20))
    assert "phone" not in done.out


def test_a_person_without_a_device_is_not_reached(run: Run, server: ScriptedServer) -> None:
    nobody = message_pb2.MessageCounts(planned=True, not_registered_count=1)
    server.notifier.message = [
        accepted(),
        event_pb2.SendEvent(cursor="c1", summary=event_pb2.Summary(message_id="m1", counts=nobody)),
    ]

    done = run("send", "--user", "nobody", "--title", "Dinner")
    assert done.code == 1
    assert ["-", "not", "registered", "1"] in [line.split() for line in done.out.splitlines()]


def test_a_refused_send_ends_with_2_and_one_line_with_reason_and_field(run: Run, server: ScriptedServer) -> None:
    wrong = error_details_pb2.BadRequest.FieldViolation(
        field="audience.users.user_ids[0]", description="must not be \x1b[2Jempty\n"
    )
    server.notifier.cuts = [
        (
            0,
            Refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                "1 field is wrong",
                error_info("INVALID_REQUEST"),
                error_details_pb2.BadRequest(field_violations=[wrong]),
            ),
        )
    ]

    done = run("send", "--user", "", "--title", "Dinner")
    assert done.code == 2
    assert done.out == ""
    assert done.err == "bellhop: INVALID_REQUEST: audience.users.user_ids[0]: must not be \\x1b[2Jempty\n"


def test_a_stream_that_cannot_go_on_says_how_to(run: Run, server: ScriptedServer) -> None:
    gone = Refusal(grpc.StatusCode.NOT_FOUND, "no such message", error_info("MESSAGE_NOT_FOUND"))
    server.notifier.cuts = [(2, gone)]

    done = run("send", "--user", "anna", "--title", "Dinner")
    assert done.code == 2
    assert done.err.splitlines() == [
        "The message goes on; so does: bellhop watch m1 --after c1",
        "bellhop: MESSAGE_NOT_FOUND: no such message",
    ]


def test_every_option_of_send_arrives(run: Run, server: ScriptedServer, tmp_path: Path) -> None:
    Path("users.txt").write_text("ben\n\n  spaced \r\nč\n", encoding="utf-8")

    done = run(
        *("send", "--user", "anna", "--users-file", "users.txt", "--exclude-user", "eve", "--platform", "apns"),
        *("--title", "Dinner", "--body", "Now", "--data", "table=4", "--data", "note=a=b", "--collapse-key", "dinner"),
        *("--ttl", "15m", "--priority", "high", "--request-id", "order-17", "--filter", "failures"),
    )
    assert done.code == 0
    [request] = server.notifier.sends
    assert list(request.audience.users.user_ids) == ["anna", "ben", "  spaced ", "č"]
    assert list(request.audience.exclude_user_ids) == ["eve"]
    assert list(request.audience.platforms) == [device_pb2.PLATFORM_APNS]
    assert request.notification == message_pb2.Notification(
        title="Dinner", body="Now", data={"table": "4", "note": "a=b"}, collapse_key="dinner"
    )
    assert (request.options.ttl.seconds, request.options.priority) == (900, message_pb2.PRIORITY_HIGH)
    assert (request.request_id, request.result_filter) == ("order-17", event_pb2.RESULT_FILTER_FAILURES)


@pytest.mark.parametrize(
    ("option", "kind"), [(("--device", "d1"), "devices"), (("--everyone",), "everyone"), (("--user", "a"), "users")]
)
def test_each_audience_is_its_own(run: Run, server: ScriptedServer, option: tuple[str, ...], kind: str) -> None:
    assert run("send", *option, "--title", "Dinner").code == 0
    assert server.notifier.sends[0].audience.WhichOneof("to") == kind


def test_a_request_from_a_file_is_the_ground_and_options_lie_on_top(
    run: Run, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {"message_id": "m7", "audience": {"everyone": {}}, "notification": {"title": "Old", "badge": 3}}
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(request).encode())))

    assert run("send", "--json-file", "-", "--title", "New").code == 0
    [sent] = server.notifier.sends
    assert (sent.message_id, sent.request_id) == ("m7", "")
    assert sent.notification == message_pb2.Notification(title="New", badge=3)
    assert not sent.HasField("options")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("send", "--user", "a", "--everyone"), "Choose one"),
        (("send", "--user", "a", "--data", "novalue"), "KEY=VALUE"),
        (("send", "--user", "a", "--ttl", "soon"), "not a duration"),
        (("send", "--user", "a", "--ttl", "-5s"), "not a duration"),
        (("send", "--frobnicate"), "--frobnicate"),
        (("send", "--json-file", "missing.json"), "missing.json"),
        (("watch",), "MESSAGE"),
        (("frobnicate",), "frobnicate"),
        (("app", "create"), "Give APP, --name or both"),
        (("app", "credential", "set", "shop", "--key-id", "K"), "--key-file"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(
    run: Run, server: ScriptedServer, arguments: tuple[str, ...], said: str
) -> None:
    done = run(*arguments)

    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("bellhop: ")
    assert done.err.count("\n") == 1
    assert said in done.err
    assert server.notifier.sends == []
    assert server.applications.requests == []


def test_accept_only_and_validate_only(run: Run, server: ScriptedServer) -> None:
    assert run("send", "--user", "a", "--title", "t", "--accept-only").out == "Message m1 accepted\n"
    assert run("send", "--user", "a", "--title", "t", "--validate-only").out == "Valid; it would go to 3 devices now.\n"
    assert [(each.accept_only, each.validate_only) for each in server.notifier.sends] == [(True, False), (False, True)]


def test_send_as_json_prints_each_event_on_a_line(run: Run, server: ScriptedServer) -> None:
    server.notifier.message = some_fail(1)

    done = run("send", "--user", "anna", "--title", "Dinner", "--json")
    assert done.code == 1
    events = [ParseDict(json.loads(line), event_pb2.SendEvent()) for line in done.out.splitlines()]
    assert events == list(server.notifier.message)


def test_watch_goes_on_from_a_cursor(run: Run, server: ScriptedServer) -> None:
    server.notifier.message = some_fail(1)

    done = run("watch", "m1", "--after", "c1", "--filter", "all")
    assert done.code == 0
    [watch] = server.notifier.watches
    assert (watch.message_id, watch.after_cursor, watch.result_filter) == ("m1", "c1", event_pb2.RESULT_FILTER_ALL)
    assert "token invalid" in done.out


def test_a_watch_that_is_refused_is_one_line(run: Run, server: ScriptedServer) -> None:
    server.notifier.cuts = [(0, Refusal(grpc.StatusCode.NOT_FOUND, "no such message", error_info("MESSAGE_NOT_FOUND")))]
    assert run("watch", "nosuch").err == "bellhop: MESSAGE_NOT_FOUND: no such message\n"


@pytest.mark.parametrize("option", ["--json-file", "--users-file"])
def test_what_is_not_utf_8_is_told_in_one_line(run: Run, tmp_path: Path, option: str) -> None:
    (tmp_path / "bad").write_bytes(b"\xff\xfe")
    [line] = run("send", option, "bad").err.splitlines()
    assert line.startswith("bellhop: Arguments and files must be UTF-8")


def test_ids_cannot_move_the_cursor(run: Run, server: ScriptedServer) -> None:
    server.registry.devices = [device_pb2.Device(device_id="d\x1b[2J1", user_id="an\u202ena", platform=1, state=99)]

    done = run("device", "list")
    assert done.code == 0
    assert "d\\x1b[2J1" in done.out
    assert "an\\u202ena" in done.out
    assert " 99 " in done.out


def test_device_list_asks_for_what_was_said(run: Run, server: ScriptedServer) -> None:
    server.registry.devices = [device_pb2.Device(device_id=f"d{number}") for number in range(5)]

    done = run("device", "list", "--user", "anna", "--bound", "--state", "dead", "--state", "active", "--json")
    assert [json.loads(line)["device_id"] for line in done.out.splitlines()] == ["d0", "d1", "d2", "d3", "d4"]
    assert server.registry.requests[0] == push_registry_pb2.ListDevicesRequest(
        user_id="anna", anonymous=False, states=[device_pb2.DEVICE_STATE_DEAD, device_pb2.DEVICE_STATE_ACTIVE]
    )


def test_app_create_prints_what_a_shell_can_take_over(run: Run) -> None:
    done = run("app", "create", "bakery", "--name", "The bakery")

    assert done.out.splitlines() == [
        "export BELLHOP_APP_ID=bakery",
        "export BELLHOP_CLIENT_SECRET=bhc_1",
        "export BELLHOP_APP_SECRET=bha_1",
    ]


def test_app_create_names_what_was_not_named(run: Run, server: ScriptedServer) -> None:
    assert run("app", "create", "bakery").code == 0
    assert run("app", "create", "--name", "The bakery").code == 0

    assert server.applications.requests == [
        applications_pb2.CreateApplicationRequest(app_id="bakery", display_name="bakery"),
        applications_pb2.CreateApplicationRequest(display_name="The bakery"),
    ]


def test_app_list_and_rotate(run: Run, server: ScriptedServer) -> None:
    assert ["shop", "The", "shop", "unspecified"] in [line.split() for line in run("app", "list").out.splitlines()]
    assert json.loads(run("app", "list", "--json").out)["app_id"] == "shop"

    assert run("app", "rotate", "--kind", "client", "--overlap", "7d").out == "export BELLHOP_CLIENT_SECRET=bhc_2\n"
    request = server.applications.requests[-1]
    assert isinstance(request, applications_pb2.RotateSecretRequest)
    assert (request.app_id, request.kind, request.overlap.seconds) == ("shop", 1, 7 * 86400)


def test_a_credential_from_a_key_file(run: Run, server: ScriptedServer) -> None:
    Path("key.p8").write_text("-----BEGIN PRIVATE KEY-----\n")

    done = run(
        *("app", "credential", "set", "shop", "--key-file", "key.p8", "--key-id", "ABCDE12345"),
        *("--team-id", "TEAM123456", "--topic", "com.example.app", "--environment", "sandbox"),
    )
    assert (done.code, done.out) == (0, "Stored apns: the provider took it\n")
    assert server.applications.requests == [
        applications_pb2.SetCredentialRequest(
            app_id="shop",
            apns=applications_pb2.ApnsCredential(
                key=applications_pb2.ApnsKey(
                    key_id="ABCDE12345", team_id="TEAM123456", p8="-----BEGIN PRIVATE KEY-----\n"
                ),
                topics=["com.example.app"],
                environments=[device_pb2.APNS_ENVIRONMENT_SANDBOX],
            ),
        )
    ]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_credential_as_the_simulator_prints_it(run: Run, server: ScriptedServer, wrapped: bool) -> None:
    body = {"credentialId": "sim", "apns": {"key": {"keyId": "K", "teamId": "T", "p8": "P"}, "topics": ["a.b"]}}
    Path("body.json").write_text(json.dumps({"credentials": {"apns": body}} if wrapped else body))

    assert run("app", "credential", "set", "--json-file", "body.json", "--validate-only").code == 0
    [request] = server.applications.requests
    assert request == ParseDict(
        {"appId": "shop", "validateOnly": True, **body}, applications_pb2.SetCredentialRequest()
    )


@pytest.mark.parametrize("text", ["", "[]", "null", '{"apns": {"key": {"p8": 17}}}', '{"credentials": {}}'])
def test_a_broken_credential_file_is_refused_without_showing_it(run: Run, server: ScriptedServer, text: str) -> None:
    Path("body.json").write_text(text)

    done = run("app", "credential", "set", "--json-file", "body.json")
    assert done.err == "bellhop: --json-file is not a body of SetCredential.\n"
    assert server.applications.requests == []


def test_the_admin_token_comes_from_the_environment_or_the_file_of_this_folder(
    run: Run, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("app", "list")
    monkeypatch.delenv("BELLHOP_ADMIN_TOKEN")
    Path("bellhop.admin-token").write_text("from-file\n")
    run("app", "list")

    assert [each["authorization"] for each in server.applications.metadata] == ["Bearer root", "Bearer from-file"]

    Path("bellhop.admin-token").unlink()
    done = run("app", "list")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "BELLHOP_ADMIN_TOKEN is not set" in done.err


@pytest.mark.parametrize("variable", ["BELLHOP_APP_ID", "BELLHOP_APP_SECRET"])
def test_a_missing_credential_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv(variable)

    assert run("device", "list").err == f"bellhop: {variable} is not set.\n"


def test_a_malformed_secret_or_address_is_told_without_showing_a_secret(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "the port is missing" in run("device", "list", "--server", "push.example.com").err

    monkeypatch.setenv("BELLHOP_APP_SECRET", "geheim\u00df")
    done = run("device", "list")
    assert done.code == 2
    assert "app-secret" in done.err
    assert "geheim" not in done.err


def test_ctrl_c_ends_the_watching_and_says_how_to_go_on(run: Run, server: ScriptedServer) -> None:
    server.notifier.stall_after = 2
    command = (sys.executable, "-c", INTERRUPTIBLE, "send", "--user", "anna", "--title", "Dinner")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "Message m1 accepted\n"
        assert process.stdout.readline() == "2 finished\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

    assert process.returncode == 130
    assert err.split("\n")[0] == "The message goes on; so does: bellhop watch m1 --after c1"
    assert "Traceback" not in err


def test_version_and_help(run: Run) -> None:
    version = run("--version")
    assert version.code == 0
    assert version.out.startswith("bellhop 0.")
    shown = run("--help")
    assert shown.code == 0
    for command in ("app", "demo", "device", "migrate", "send", "serve", "simulate", "watch"):
        assert f"\n  {command} " in shown.out
