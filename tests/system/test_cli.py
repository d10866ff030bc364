"""The command line as processes, against a server process and a simulated APNs process."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from bellhop_cli.demo_processes import Stage, stage
from bellhop_cli.main import main
from bellhop_client import ApnsTarget, Client


@dataclass
class Finished:
    code: int
    out: str
    err: str


@dataclass
class Shell:
    """Runs `bellhop` in a folder with variables of its own."""

    folder: Path
    variables: dict[str, str]

    async def __call__(self, *arguments: str, **variables: str) -> Finished:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bellhop_cli.main", *arguments),
            cwd=self.folder,
            env=environment(self.variables | variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return Finished(process.returncode, out.decode(), err.decode())


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("BELLHOP_")} | dict(variables)


@pytest.fixture
async def ready(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as ready:
        yield ready


@pytest.fixture
async def bellhop(ready: Stage, tmp_path: Path) -> Shell:
    """With an application and its credential, made by the command line."""
    (tmp_path / "simulator.json").write_text(json.dumps(ready.simulation))
    shell = Shell(tmp_path, {"BELLHOP_SERVER": ready.address})
    created = await shell("app", "create", "shop", "--name", "The shop")
    assert created.code == 0, created.err
    for line in created.out.splitlines():
        variable, _, value = line.removeprefix("export ").partition("=")
        shell.variables[variable] = value
    stored = await shell("app", "credential", "set", "--json-file", "simulator.json")
    assert stored.code == 0, stored.err
    told = dict(line.split(": ", 1) for line in stored.out.splitlines())
    assert told["Stored apns"] == told["Stored fcm"] == "the provider took it"
    assert told["Stored web-push"].startswith("the key is sound")
    return shell


async def log_in(bellhop: Shell, device_id: str, user_id: str) -> None:
    variables = bellhop.variables
    async with Client(
        variables["BELLHOP_SERVER"],
        app_id=variables["BELLHOP_APP_ID"],
        client_secret=variables["BELLHOP_CLIENT_SECRET"],
    ) as client:
        target = ApnsTarget(token=secrets.token_hex(32))
        await client.register_device(device_id=device_id, user_id=user_id, apns=target)


async def test_a_day_at_the_command_line(bellhop: Shell, ready: Stage) -> None:
    await log_in(bellhop, "phone", "anna")

    listed = await bellhop("device", "list", "--user", "anna")
    assert [line.split()[:2] for line in listed.out.splitlines()[1:]] == [["phone", "anna"]]

    sent = await bellhop("send", "--user", "anna", "--title", "Dinner", "--request-id", "order-17")
    assert (sent.code, sent.err) == (0, "")
    assert sent.out.splitlines()[-1].split() == ["apns", "accepted", "1"]
    assert len(ready.taken("Dinner")) == 1

    again = await bellhop("send", "--user", "anna", "--title", "Dinner", "--request-id", "order-17", "--json")
    events = [json.loads(line) for line in again.out.splitlines()]
    assert events[0]["accepted"]["replayed"] is True
    assert len(ready.taken("Dinner")) == 1

    watched = await bellhop("watch", events[0]["accepted"]["message_id"], "--after", events[0]["cursor"], "--json")
    assert watched.code == 0
    assert [json.loads(line) for line in watched.out.splitlines()][-1] == events[-1]

    nobody = await bellhop("send", "--user", "nobody", "--title", "Dinner")
    assert nobody.code == 1
    assert "not registered" in nobody.out

    rotated = await bellhop("app", "rotate", "--kind", "app")
    assert rotated.code == 0
    refused = await bellhop("send", "--user", "anna", "--title", "Late")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("bellhop: CREDENTIALS_INVALID: ")
    assert refused.err.count("\n") == 1
    assert ready.taken("Late") == []

    fresh = rotated.out.strip().removeprefix("export BELLHOP_APP_SECRET=")
    wrong = await bellhop("send", "--user", "", "--title", "Late", BELLHOP_APP_SECRET=fresh)
    assert wrong.code == 2
    assert wrong.err.startswith("bellhop: INVALID_REQUEST: audience.users.user_ids[0]: ")

    for name in ("apns", "fcm", "web-push"):
        assert (await bellhop("app", "credential", "delete", "shop", name)).out == "Deleted.\n"
    assert (await bellhop("app", "credential", "list", "--json")).out == ""


async def test_a_server_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    credentials = {"BELLHOP_APP_ID": "shop", "BELLHOP_APP_SECRET": "bha_1", "BELLHOP_SERVER": "127.0.0.1:1"}

    done = await Shell(tmp_path, credentials)("device", "list")
    assert done.code == 2
    assert done.err.startswith("bellhop: UNAVAILABLE: ")
    assert done.err.count("\n") == 1


async def test_serve_says_in_one_line_why_it_does_not_start(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {})
    (tmp_path / "bellhop.toml").write_text('lisen = "127.0.0.1:0"\n')

    unknown = await shell("serve", "--config", "bellhop.toml")
    assert unknown.code == 2
    assert "bellhop.toml: lisen is not a setting. The nearest one is listen." in unknown.err
    assert unknown.err.count("\n") == 1

    open_to_all = await shell("serve", BELLHOP_LISTEN="0.0.0.0:0")
    assert open_to_all.code == 2
    assert open_to_all.err.startswith("bellhop: BELLHOP_LISTEN=0.0.0.0:0 ")


async def test_migrate_makes_a_database_and_may_be_repeated(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {})

    assert (await shell("migrate")).out == "The database is up to date.\n"
    assert (await shell("migrate")).code == 0
    assert (tmp_path / "bellhop.db").exists()

    nowhere = await shell("migrate", BELLHOP_DATABASE_URL="sqlite:///no/such/folder/bellhop.db")
    assert (nowhere.code, nowhere.err.count("\n")) == (2, 1)


def test_quick_commands_load_no_more_than_they_need() -> None:
    script = (
        "import sys\n"
        "from bellhop_cli.main import main\n"
        "main(['--version'])\n"
        "assert 'grpc' not in sys.modules\n"
        "main(['send', '--help'])\n"
        "assert not {'sqlalchemy', 'alembic', 'bellhop_server', 'bellhop_simulators'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_the_demo_ends_with_0_and_tells_what_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["demo"])

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert "Everything happened as told." in out
    assert max(map(len, out.splitlines())) < 400
    for method in ("PushRegistry/RegisterDevice", "Notifier/Send", "Notifier/WatchMessage"):
        [line] = [line for line in out.splitlines() if line.strip().startswith("grpcurl") and method in line]
        assert "app-id: demo" in line
        # The server is gone by now: its address and its secrets would lead nowhere.
        assert " ADDRESS " in line
        assert "-secret: " not in line.replace("client-secret: CLIENT_SECRET", "").replace("app-secret: APP_SECRET", "")
    assert "bellhop demo --stay" in out
    assert "make demo STAY=1" in out


def test_the_demo_fails_when_a_push_went_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Stage.taken
    monkeypatch.setattr(Stage, "taken", lambda self, title: taken(self, title)[1:])

    assert main(["demo"]) == 1
    assert "bellhop: the demo failed: step 3: not so: the providers took it for" in capsys.readouterr().err


async def test_the_demo_stays_until_it_is_interrupted(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-m", "bellhop_cli.main", "demo", "--stay"),
        cwd=tmp_path,
        env=environment({}),
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    address, shown = "", b""
    async for line in process.stdout:
        shown += line
        if line.startswith(b"   Bellhop"):
            address = line.split()[1].decode()
        if line.lstrip().startswith(b"bellhop send"):
            break
    assert shown.count(b"grpcurl -plaintext") == 6
    assert shown.count(address.encode()) == 8
    assert b"app-secret: bha_" in shown
    assert b"client-secret: bhc_" in shown
    async with Client(address, app_id="demo") as client:
        assert (await client.register_anonymous_device(apns=ApnsTarget(token=secrets.token_hex(32)))).created
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0
