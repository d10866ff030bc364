"""What README tells to paste works as it stands: its grpcurl session, and the Python that follows it."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rules.sources import ROOT

BIN = Path(sys.executable).parent

# grpcurl by another name: buf speaks the same gRPC, asks the same reflection, and comes with the development tools.
GRPCURL = f"""#!{sys.executable}
import os, sys

arguments = sys.argv[1:]
assert arguments.pop(0) == "-plaintext"
command = ["{BIN}/buf", "curl", "--protocol", "grpc", "--http2-prior-knowledge"]
while arguments[0].startswith("-"):
    option, value = arguments[:2]
    assert option in ("-H", "-d"), option
    command += [option, "@-" if value == "@" else value]
    del arguments[:2]
address, verb, *rest = arguments
url = f"http://{{address}}"
if verb == "list":
    command += ["--list-services", url]
elif verb == "describe":
    command += ["--list-methods", url]
else:
    command.append(f"{{url}}/{{verb}}")
os.execv(command[0], command)
"""


def block(language: str, address: str) -> str:
    """The one fenced block of README in that language, with another address in place of the default one."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("127.0.0.1:50051", address)
    (found,) = re.findall(rf"^```{language}\n(.+?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def address() -> str:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which there is a grpcurl."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "grpcurl").write_text(GRPCURL)
    (folder / "grpcurl").chmod(0o755)
    return os.pathsep.join((str(folder), str(BIN), os.environ["PATH"]))


def test_the_session_goes_as_told(tmp_path: Path, address: str, path: str) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (tmp_path / "again.py").write_text(block("python", address))
    script = f"{block('sh', address)}\npython {tmp_path}/again.py\nkill %1 %2\nwait\n"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BELLHOP_")}
    session = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env={**environment, "PATH": path, "BELLHOP_LISTEN": address, "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = session.communicate(timeout=60)
    finally:
        # Whatever the script left behind belongs to its process group; after `wait` there is nothing.
        if session.poll() is None:
            os.killpg(session.pid, signal.SIGKILL)
            session.wait()
    # Once when it was sent, once when it was watched.
    assert (said.count('"accepted":'), said.count('"summary":')) == (2, 2), said
    assert said.count('"providerStatus": 200') == 2, said
    assert "unauthenticated" in said.lower(), said
    assert "anns-phone OUTCOME_ACCEPTED" in said, said
    assert session.returncode == 0
