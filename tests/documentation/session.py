"""What a page tells to paste into a shell, pasted."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

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


def free_addresses(count: int) -> list[str]:
    """Where nobody listens, each another."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in taken]


def pasted(script: str, home: Path, **environment: str) -> str:
    """What the script printed, run in an empty folder with the commands of the checkout and a grpcurl on the path.

    It has to end by itself, well, and with nothing of it left.
    """
    tools, folder = home / "bin", home / "empty"
    tools.mkdir()
    folder.mkdir()
    (tools / "grpcurl").write_text(GRPCURL)
    (tools / "grpcurl").chmod(0o755)
    path = os.pathsep.join((str(tools), str(BIN), os.environ["PATH"]))
    others = {name: value for name, value in os.environ.items() if not name.startswith("BELLHOP_")}
    session = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env={**others, **environment, "PATH": path, "HOME": str(home)},
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
    assert session.returncode == 0, said
    return said
