"""Other senders, fetched by their own package managers as they are today, and run against the same sink."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.processes import module

_HERE = Path(__file__).parent
_CACHE = _HERE.parent / "build" / "benchmarks"
_TIMEOUT = 600


@dataclass(frozen=True, slots=True)
class Peer:
    """`command` of a port, a CA file, a .p8 file and a number sends so many and prints what they took."""

    name: str
    command: Callable[[int, Path, Path, int], list[str]]


class _NotToBeHadError(Exception):
    """Why a peer cannot be run here."""


def peers() -> Iterator[Peer | str]:
    """Each peer, or why there is none, in words that begin with `skipped`."""
    for name, fetch in (("aioapns", _aioapns), ("node-apn", _node_apn), ("apns2", _apns2), ("gorush", _gorush)):
        try:
            yield fetch()
        except _NotToBeHadError as reason:
            yield f"skipped: {name}: {reason}."


def _aioapns() -> Peer:
    return Peer(f"aioapns {version('aioapns')}", lambda *arguments: module("peer_aioapns", *arguments))


def _node_apn() -> Peer:
    node, npm = _program("node"), _program("npm")
    folder = _folder("node-apn")
    _run(folder, npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "@parse/node-apn@latest")
    package = json.loads((folder / "node_modules" / "@parse" / "node-apn" / "package.json").read_text())
    program = [node, str(_HERE / "peer_node_apn.cjs"), str(folder)]
    about = f"node-apn {package['version']} on Node {_run(folder, node, '--version')[1:]}"
    return Peer(about, lambda *arguments: [*program, *map(str, arguments)])


def _apns2() -> Peer:
    go = _program("go")
    folder = _folder("apns2")
    (folder / "go.mod").write_text("module peer\n\ngo 1.22\n")
    shutil.copy(_HERE / "peer_apns2.go", folder)
    # Its own requirements name an HTTP/2 of years ago, which whoever uses it replaces.
    _run(folder, go, "get", "github.com/sideshow/apns2@latest", "golang.org/x/net@latest")
    _run(folder, go, "build", "-buildvcs=false", "-o", "peer", ".")
    found = _run(folder, go, "list", "-m", "-f", "{{.Version}}", "github.com/sideshow/apns2")
    about = f"apns2 {found[1:]} on {_run(folder, go, 'env', 'GOVERSION').replace('go', 'Go ')}"
    return Peer(about, lambda *arguments: [str(folder / "peer"), *map(str, arguments)])


def _gorush() -> Peer:
    go = _program("go")
    folder = _folder("gorush")
    _run(folder, "env", f"GOBIN={folder}", go, "install", "github.com/appleboy/gorush@latest")
    program = folder / "gorush"
    about = next(line for line in _run(folder, go, "version", "-m", str(program)).splitlines() if "\tmod\t" in line)
    return Peer(f"gorush {about.split()[2].lstrip('v')}", lambda *arguments: module("peer_gorush", program, *arguments))


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise _NotToBeHadError(f"there is no {name} on the path")
    return found


def _folder(name: str) -> Path:
    folder = _CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(folder: Path, *command: str) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise _NotToBeHadError(f"it took longer than {_TIMEOUT} s to fetch") from None
    if done.returncode:
        said = " ".join(re.sub(r"https?://\S+", "…", done.stderr).split())[-160:] or f"exit status {done.returncode}"
        raise _NotToBeHadError(f"it could not be fetched: {said.rstrip('.')}")
    return done.stdout.strip()
