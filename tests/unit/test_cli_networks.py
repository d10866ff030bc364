"""Commands for FCM and Web Push, and `send --explain`: what they ask for, print and end with."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2, message_pb2, notifier_pb2
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_cli.main import main
from tests.unit.scripted_server import Refusal, ScriptedServer, error_info, scripted_server

SUBSCRIPTION = {
    "endpoint": "https://push.example.org/x?y=%2F",
    "expirationTime": None,
    "keys": {"p256dh": "BA", "auth": "AA"},
}
VAPID = "--subject mailto:ops@example.org"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedServer]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "subscription.json").write_text(json.dumps(SUBSCRIPTION))
    (tmp_path / "account.json").write_text('{"type": "service_account"}')
    (tmp_path / "vapid.pem").write_text("PEM")
    with scripted_server() as scripted:
        monkeypatch.setenv("BELLHOP_SERVER", scripted.address)
        monkeypatch.setenv("BELLHOP_APP_ID", "shop")
        monkeypatch.setenv("BELLHOP_APP_SECRET", "bha_1")
        monkeypatch.setenv("BELLHOP_ADMIN_TOKEN", "root")
        yield scripted


def browser(**fields: str) -> reg.RegisterDeviceRequest:
    target = device_pb2.WebPushTarget(endpoint=SUBSCRIPTION["endpoint"], p256dh="BA", auth="AA", **fields)
    return reg.RegisterDeviceRequest(device_id="d1", user_id="anna", web_push=target)


def pair(**fields: object) -> apps.SetCredentialRequest:
    key = apps.WebPushCredential(subject="mailto:ops@example.org", **fields)
    return apps.SetCredentialRequest(app_id="shop", web_push=key)


@pytest.mark.parametrize(
    ("line", "request_", "printed"),
    [
        (
            "device register d1 --user anna --fcm dK3:APA91b",
            reg.RegisterDeviceRequest(device_id="d1", user_id="anna", fcm={"token": "dK3:APA91b"}),
            "Registered d1 for anna.\n",
        ),
        (
            "device register d1 --user anna --fid cXYZ",
            reg.RegisterDeviceRequest(device_id="d1", user_id="anna", fcm={"fid": "cXYZ"}),
            "Registered d1 for anna.\n",
        ),
        ("device register d1 --user anna --web-push subscription.json", browser(), "Registered d1 for anna.\n"),
        (
            "device register d1 --user anna --web-push subscription.json --vapid-public-key BL7a",
            browser(vapid_public_key="BL7a"),
            "Registered d1 for anna.\n",
        ),
        (
            "app credential set shop --service-account account.json --sender-id 42",
            apps.SetCredentialRequest(
                app_id="shop", fcm={"service_account_json": '{"type": "service_account"}', "sender_id": "42"}
            ),
            "Stored fcm: the provider took it\n",
        ),
        (
            f"app credential set shop --vapid-generate {VAPID}",
            pair(generate=apps.GenerateVapidKey()),
            "Stored web-push: the key is sound; applicationServerKey BL7a\n",
        ),
        (
            f"app credential set shop --vapid-key vapid.pem --allow-key-change {VAPID}",
            pair(vapid_private_key="PEM", allow_key_change=True),
            "Stored web-push: the key is sound; applicationServerKey BL7a\n",
        ),
    ],
)
def test_what_is_given_is_what_is_asked_for(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str], line: str, request_: Message, printed: str
) -> None:
    assert main(line.split()) == 0
    assert server.registry.requests + server.applications.requests == [request_]
    assert capsys.readouterr().out.startswith(printed)


@pytest.mark.parametrize(
    "line",
    [
        "device register d1 --user anna --fcm a --fid b",
        "device register d1 --user anna --apns-token ab --web-push subscription.json",
        "device register d1 --user anna --fcm a --topic com.x",
        "device register d1 --user anna --vapid-public-key BL7a",
        "device register d1 --user anna --web-push account.json",
        "device register d1 --user anna --web-push vapid.pem",
        "app credential set shop",
        "app credential set shop --sender-id 42",
        "app credential set shop --vapid-generate",
        f"app credential set shop {VAPID}",
        f"app credential set shop --vapid-generate --vapid-key vapid.pem {VAPID}",
        f"app credential set shop --service-account account.json --vapid-generate {VAPID}",
        "app credential set shop --json-file account.json --allow-key-change",
        "send --user anna --title Hi --max-devices 3",
        "send --user anna --title Hi --explain --accept-only",
    ],
)
def test_a_wrong_line_asks_for_nothing(server: ScriptedServer, capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert main(line.split()) == 2
    told = capsys.readouterr().err
    assert (told.count("\n"), "PEM" in told, "service_account" in told) == (1, False, False)
    assert server.registry.requests + server.applications.requests + server.notifier.explains == []


SIMULATED = {
    "credentials": {
        "apns": {"apns": {"key": {"keyId": "K"}}},
        "fcm": {"fcm": {"serviceAccountJson": "{}"}},
        "web_push": {"webPush": {"vapidPrivateKey": "PEM", "subject": "s"}},
    }
}


def test_everything_that_is_simulated_is_set(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(SIMULATED).encode())))
    assert main(["app", "credential", "set", "shop", "--json-file", "-"]) == 0
    kinds = [MessageToDict(each).keys() - {"appId"} for each in server.applications.requests]
    assert kinds == [{"apns"}, {"fcm"}, {"webPush"}]
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "Stored apns",
        "Stored fcm",
        "Stored web-push",
    ]


def test_several_credentials_do_not_go_by_one_name(server: ScriptedServer) -> None:
    Path("simulator.json").write_text(json.dumps(SIMULATED))
    assert main(["app", "credential", "set", "shop", "--json-file", "simulator.json", "--id", "mine"]) == 2
    assert server.applications.requests == []


def test_credentials_are_listed_by_what_their_provider_knows(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.applications.credentials = [
        apps.Credential(credential_id="apns", platform=1, apns={"team_id": "T", "key_id": "K", "topics": ["a", "b"]}),
        apps.Credential(credential_id="fcm", platform=2, fcm={"project_id": "p-1", "client_email": "bell@p-1"}),
        apps.Credential(credential_id="web-push", platform=3, web_push={"vapid_public_key": "B", "subject": "s:1"}),
    ]
    assert main(["app", "credential", "list", "shop"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1:] == [
        ["apns", "apns", "T", "K", "a,", "b"],
        ["fcm", "fcm", "bell@p-1", "p-1"],
        ["web-push", "web", "push", "s:1", "B"],
    ]


def explanation(device_id: str) -> notifier_pb2.ExplainSendResponse:
    request = notifier_pb2.ProviderRequest(
        url="POST https://push.example.org/wpush/v2/gAAA…",
        headers={"ttl": "60", "authorization": "vapid t=eyJ…"},
        body='{"title":"Hi\x1b[2J"}\n',
        body_size=120,
        body_limit=4096,
    )
    return notifier_pb2.ExplainSendResponse(device_id=device_id, user_id="anna", platform=3, request=request)


def test_explain_shows_each_request_and_sends_nothing(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.notifier.explanations = [explanation("d1"), explanation("d2")]
    line = "send --user anna --title Hi --platform web-push --priority high --explain --max-devices 2"
    assert main(line.split()) == 0
    block = [
        "anna  web push",
        "POST https://push.example.org/wpush/v2/gAAA…",
        "authorization: vapid t=eyJ…",
        "ttl: 60",
        '{"title":"Hi\\x1b[2J"}',
        "120 of 4096 bytes",
    ]
    assert capsys.readouterr().out.splitlines() == [f"d1  {block[0]}", *block[1:], "", f"d2  {block[0]}", *block[1:]]
    assert server.notifier.sends == []
    assert server.notifier.explains == [
        notifier_pb2.ExplainSendRequest(
            audience={"users": {"user_ids": ["anna"]}, "platforms": [3]},
            notification={"title": "Hi"},
            options={"priority": message_pb2.PRIORITY_HIGH},
            max_devices=2,
        )
    ]


def test_explain_ends_with_1_when_something_is_withheld(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.notifier.explanations = [
        explanation("d1"),
        notifier_pb2.ExplainSendResponse(device_id="d2", platform=2, withheld=message_pb2.OUTCOME_NOT_CONFIGURED),
        notifier_pb2.ExplainSendResponse(user_id="ben", withheld=message_pb2.OUTCOME_NOT_REGISTERED),
    ]
    assert main(["send", "--everyone", "--title", "Hi", "--explain"]) == 1
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "d2  -  fcm  not configured",
        "",
        "-  ben  -  not registered",
    ]
    assert main(["send", "--everyone", "--title", "Hi", "--explain", "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["device_id"] for line in lines] == ["d1", "d2", ""]
    assert (lines[0]["request"]["body_size"], lines[1]["withheld"]) == (120, "OUTCOME_NOT_CONFIGURED")


def test_explain_says_that_there_is_nobody_and_what_was_refused(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["send", "--everyone", "--title", "Hi", "--explain"]) == 0
    assert capsys.readouterr().out == "There is no device to send to.\n"
    server.notifier.cuts = [(0, Refusal(grpc.StatusCode.INVALID_ARGUMENT, "wrong", error_info("INVALID_REQUEST")))]
    assert main(["send", "--everyone", "--explain"]) == 2
    assert capsys.readouterr().err == "bellhop: INVALID_REQUEST: wrong\n"
