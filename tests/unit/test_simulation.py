"""The simulators as one process: the line at the start, the end by a signal, what is left after SIGKILL."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from google.protobuf.json_format import ParseDict

from bellhop.v1.applications_pb2 import SetCredentialRequest
from bellhop.v1.device_pb2 import APNS_ENVIRONMENT_SANDBOX
from bellhop_simulators import (
    ApnsSimulator,
    FaultScriptError,
    ManualClock,
    Simulation,
    SimulationOptions,
)
from tests.unit.apns_wire import WireClient
from tests.unit.http1_wire import Http1Client

PROGRAM = """
import sys
import time
from pathlib import Path
from bellhop_simulators import SimulationOptions, simulate
journal, faults = (Path(argument) if argument else None for argument in sys.argv[1:])
simulate(SimulationOptions(journal=journal, faults=faults, apns_topics=("com.example.app", "com.example.second")))
"""


def start(journal: str = "", faults: str = "") -> tuple[subprocess.Popen[str], dict[str, Any]]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, journal, faults], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


class Elsewhere:
    """The simulator of another process, as far as a client needs it: where it is, and a provider token."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.url = self.sandbox_url = description["apns_url"]
        self.ca_file = description["ca_file"]
        self.key = self
        self._key = description["credentials"]["apns"]["apns"]["key"]

    def provider_token(self) -> str:
        claims = {"iss": self._key["teamId"], "iat": int(time.time())}
        return jwt.encode(claims, self._key["p8"], algorithm="ES256", headers={"kid": self._key["keyId"]})


async def test_a_process_tells_where_it_is_and_ends_by_a_signal(tmp_path: Path) -> None:
    journal, left = tmp_path / "journal.jsonl", []
    for number in (signal.SIGTERM, signal.SIGINT):
        process, description = start(str(journal))
        with process:
            urls = {"apns_url", "apns_sandbox_url", "fcm_url", "fcm_token_url", "web_push_url"}
            assert set(description) == urls | {"ca_file", "credentials"}
            async with await WireClient.connect(Elsewhere(description)) as client:
                assert (await client.push(apns_topic="com.example.second")).status == 200
                process.send_signal(number)
                assert process.wait(10) == 0
        left.append(Path(description["ca_file"]))
    assert not any(map(Path.exists, left))
    assert len(journal.read_text().splitlines()) == 2


async def test_what_was_answered_is_in_the_journal_after_sigkill(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    process, description = start(str(journal))
    with process:
        async with await WireClient.connect(Elsewhere(description)) as client:
            await client.push()
            await client.round_trip()
            streams = [client.send() for _ in range(300)]
            await client.answer(streams[100])
            process.kill()
            await client.ended()
    answered = {stream for stream in streams if client.replies[stream].status == 200}
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert answered <= {line["stream"] for line in lines}
    assert len(answered) > 100


async def test_a_process_plays_a_script(tmp_path: Path) -> None:
    script = tmp_path / "faults.json"
    script.write_text('{"faults": [{"when": {"request": 2}, "then": {"status": 503}}]}')
    process, description = start(faults=str(script))
    with process:
        async with await WireClient.connect(Elsewhere(description)) as client:
            assert [(await client.push()).status for _ in range(3)] == [200, 503, 200]
        process.terminate()


async def test_the_credential_is_a_body_of_set_credential() -> None:
    async with Simulation(SimulationOptions(apns_topics=("com.example.b", "com.example.a"))) as simulation:
        key = simulation.apns.key
        body = {"appId": "shop", **simulation.description["credentials"]["apns"]}
        request = ParseDict(body, SetCredentialRequest())

    assert (request.app_id, request.credential_id) == ("shop", "apns")
    assert (request.apns.key.key_id, request.apns.key.team_id) == (key.key_id, key.team_id)
    assert request.apns.key.p8 == key.p8
    assert list(request.apns.topics) == ["com.example.b", "com.example.a"]
    sandbox_only = simulation.apns.keys.add(["com.example.a"], environments=["sandbox"])
    parsed = ParseDict(sandbox_only.credential("second"), SetCredentialRequest())
    assert (parsed.credential_id, list(parsed.apns.environments)) == ("second", [APNS_ENVIRONMENT_SANDBOX])


async def test_the_credential_of_fcm_is_one_too() -> None:
    async with Simulation(SimulationOptions(fcm_project_id="shop-1")) as simulation:
        account = simulation.fcm.account
        request = ParseDict({"appId": "shop", **simulation.description["credentials"]["fcm"]}, SetCredentialRequest())

    file = json.loads(request.fcm.service_account_json)
    assert (request.credential_id, request.fcm.sender_id) == ("fcm", account.sender_id)
    assert (file["project_id"], file["token_uri"]) == ("shop-1", simulation.description["fcm_token_url"])


async def test_one_script_and_one_journal_serve_all() -> None:
    async with Simulation() as simulation:
        simulation.faults.add({"status": 503}, {"provider": "fcm"})
        async with (
            await WireClient.connect(simulation.apns) as apns,
            await Http1Client.connect(simulation.fcm.url, simulation.ca_file) as fcm,
        ):
            assert (await apns.push()).status == 200
            assert (await fcm.call("POST", "/v1/projects/example-project/messages:send")).status == 503
        assert [(entry.number, entry.provider) for entry in simulation.journal.entries] == [(1, "apns"), (2, "fcm")]


async def test_a_simulation_has_a_journal_faults_and_a_clock(tmp_path: Path) -> None:
    options = SimulationOptions(journal=tmp_path / "journal.jsonl")
    async with Simulation(options, clock=ManualClock(1_800_000_000.0)) as simulation:
        simulation.apns.faults.add({"status": 410}, {"environment": "sandbox"})
        async with await WireClient.connect(simulation.apns, sandbox=True) as client:
            assert (await client.push()).error["timestamp"] == 1_800_000_000_000
        assert simulation.journal.total == 1
        assert simulation.apns.url != simulation.apns.sandbox_url


async def test_a_wrong_script_or_a_taken_port_stops_the_start(tmp_path: Path) -> None:
    script = tmp_path / "faults.json"
    script.write_text('{"faults": 1}')
    with pytest.raises(FaultScriptError):
        async with Simulation(SimulationOptions(faults=script)):
            pass
    with pytest.raises(FileNotFoundError):
        async with Simulation(SimulationOptions(faults=tmp_path / "missing.json")):
            pass
    async with ApnsSimulator() as apns:
        taken = int(apns.url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="address already in use"):
            async with Simulation(SimulationOptions(apns_sandbox_port=taken)):
                pass


async def test_it_can_listen_on_ipv6() -> None:
    async with ApnsSimulator(host="::1") as apns, await WireClient.connect(apns) as client:
        assert apns.url.startswith("https://[::1]:")
        assert (await client.push()).status == 200


def test_uvloop_serves_as_well() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with ApnsSimulator() as apns:
            async with await WireClient.connect(apns) as client:
                assert (await client.push()).status == 200
                apns.faults.add({"connection": "reset"}, times=1)
                client.send()
                assert await client.ended() == "reset"
            async with await WireClient.connect(apns) as client:
                await client.push()
                apns.goaway()
                assert await client.ended() == "closed"
            left = await WireClient.connect(apns)
        assert await left.ended() in ("closed", "reset")
        left.writer.transport.abort()

    uvloop.run(main())
