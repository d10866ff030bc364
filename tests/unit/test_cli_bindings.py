"""The commands that make and end bindings, against a server that writes down what it is asked."""

from collections.abc import Iterator

import pytest
from google.protobuf.message import Message

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_cli.main import main
from tests.unit.scripted_server import ScriptedServer, scripted_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with scripted_server() as scripted:
        monkeypatch.setenv("BELLHOP_SERVER", scripted.address)
        monkeypatch.setenv("BELLHOP_APP_ID", "shop")
        monkeypatch.setenv("BELLHOP_APP_SECRET", "bha_1")
        monkeypatch.setenv("BELLHOP_ADMIN_TOKEN", "root")
        yield scripted


OFF = apps.ANONYMOUS_POLICY_OFF


@pytest.mark.parametrize(
    ("line", "request_", "printed"),
    [
        (
            "device register phone --user anna --apns-token abcd --topic com.x --environment sandbox"
            " --session web-7 --binding-ttl 12h --generation 3",
            reg.RegisterDeviceRequest(
                device_id="phone",
                user_id="anna",
                apns={"token": "abcd", "topic": "com.x", "environment": device_pb2.APNS_ENVIRONMENT_SANDBOX},
                session_id="web-7",
                binding_ttl={"seconds": 43200},
                binding_generation=3,
            ),
            "Registered phone for anna.\nIts secret: bhd_1\n",
        ),
        (
            "device register phone --user anna",
            reg.RegisterDeviceRequest(device_id="phone", user_id="anna"),
            "Registered phone for anna.\nIts secret: bhd_1\n",
        ),
        ("device unregister phone", reg.UnregisterDeviceRequest(device_id="phone"), "Taken out.\n"),
        (
            "device unregister phone --expected-user anna --generation 4",
            reg.UnregisterDeviceRequest(device_id="phone", expected_user_id="anna", binding_generation=4),
            "There was nothing to take out.\n",
        ),
        (
            "device unregister-user anna --session web-7",
            reg.UnregisterUserRequest(user_id="anna", session_id="web-7"),
            "Taken out: 2.\n",
        ),
        (
            "app update shop --name Laden",
            apps.UpdateApplicationRequest(app_id="shop", display_name="Laden"),
            "Updated shop.\n",
        ),
        (
            "app update shop --default-binding-ttl 30d",
            apps.UpdateApplicationRequest(
                app_id="shop", policy={"anonymous_policy": OFF, "default_binding_ttl": {"seconds": 30 * 86400}}
            ),
            "Updated shop.\n",
        ),
        (
            "app update shop --no-default-binding-ttl",
            apps.UpdateApplicationRequest(app_id="shop", policy={"anonymous_policy": OFF}),
            "Updated shop.\n",
        ),
        (
            "app update shop --binding-policy secret-or-grant --default-binding-ttl 1h",
            apps.UpdateApplicationRequest(
                app_id="shop",
                policy={
                    "anonymous_policy": OFF,
                    "binding_policy": apps.BINDING_POLICY_SECRET_OR_GRANT,
                    "default_binding_ttl": {"seconds": 3600},
                },
            ),
            "Updated shop.\n",
        ),
    ],
)
def test_what_is_given_is_what_is_asked_for(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str], line: str, request_: Message, printed: str
) -> None:
    assert main(line.split()) == 0
    assert (server.registry.requests + server.applications.requests)[-1] == request_
    assert capsys.readouterr().out == printed


def test_a_new_application_says_how_long_bindings_last(server: ScriptedServer) -> None:
    assert main(["app", "create", "shop", "--default-binding-ttl", "90s"]) == 0
    assert main(["app", "create", "shop"]) == 0
    first, second = server.applications.requests
    assert isinstance(first, apps.CreateApplicationRequest)
    assert first.policy == apps.ApplicationPolicy(default_binding_ttl={"seconds": 90})
    assert second == apps.CreateApplicationRequest(app_id="shop", display_name="shop")
    assert main(["app", "create", "shop", "--binding-policy", "grant"]) == 0
    third = server.applications.requests[-1]
    assert isinstance(third, apps.CreateApplicationRequest)
    assert third.policy == apps.ApplicationPolicy(binding_policy=apps.BINDING_POLICY_GRANT)


@pytest.mark.parametrize(
    "line",
    [
        "device register phone",
        "device register phone --user anna --topic com.x",
        "device register phone --user anna --binding-ttl soon",
        "app update shop --default-binding-ttl 1h --no-default-binding-ttl",
        "app update shop --binding-policy whatever",
    ],
)
def test_a_wrong_line_asks_for_nothing(server: ScriptedServer, capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert main(line.split()) == 2
    assert server.registry.requests + server.applications.requests == []
