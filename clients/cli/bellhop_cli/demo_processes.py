"""The processes of the demo: a simulated APNs and a real server, on free ports in a folder of their own."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STOPPING_SECONDS = 15.0
_LINE_LIMIT = 1 << 20


class DemoFailed(Exception):
    """Something did not happen as told; the text says what."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo plays on. `simulation` is what `bellhop simulate` printed."""

    address: str
    admin_token: str
    simulation: Mapping[str, Any]
    journal: Path

    def taken(self, title: str) -> list[str]:
        """The device tokens that APNs took a notification with that title for, sorted, as often as it did."""
        entries = [json.loads(line) for line in self.journal.read_text("utf-8").splitlines()]
        return sorted(each["token"] for each in entries if each["accepted"] and _title(each["body"]) == title)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Both processes, for as long as the context lasts. Raises DemoFailed when one of them does not start."""
    journal = folder / "journal.jsonl"
    async with _running(folder, "apns_url", "simulate", "--journal", str(journal)) as simulation:
        settings = {
            "BELLHOP_LISTEN": "127.0.0.1:0",
            "BELLHOP_APNS_URL": simulation["apns_url"],
            "BELLHOP_APNS_SANDBOX_URL": simulation["apns_sandbox_url"],
            "BELLHOP_PROVIDER_CA": simulation["ca_file"],
        }
        async with _running(folder, "address", "serve", **settings) as listening:
            admin_token = (folder / "bellhop.admin-token").read_text("utf-8").strip()
            yield Stage(listening["address"], admin_token, simulation, journal)


@asynccontextmanager
async def _running(folder: Path, key: str, *arguments: str, **settings: str) -> AsyncIterator[Mapping[str, Any]]:
    """A `bellhop` process with its output in a file, from its first line with that key (yielded) on."""
    # Nothing of the caller's own Bellhop leaks in. A session of its own: Ctrl-C is the demo's, which stops it in order.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BELLHOP_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bellhop_cli.main", *arguments),
        cwd=folder,
        env=environment | settings,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,
        limit=_LINE_LIMIT,
    )
    assert process.stdout
    listening: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
    copying = asyncio.create_task(_copy(process.stdout, folder / f"{arguments[0]}.log", key, listening))
    try:
        yield await listening
    finally:
        # Not one that has ended by itself: signalling it would take its exit code away from asyncio.
        if process.returncode is None and not copying.done():
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOPPING_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        await copying


async def _copy(
    lines: asyncio.StreamReader, log: Path, key: str, listening: "asyncio.Future[Mapping[str, Any]]"
) -> None:
    said = b""
    with log.open("wb") as file:
        async for line in lines:
            file.write(line)
            if not listening.done():
                said = line
                fields = _fields(line)
                if key in fields:
                    listening.set_result(fields)
    if not listening.done():
        listening.set_exception(DemoFailed(f"bellhop {log.stem} ended before it listened: {said.decode().strip()}"))


def _fields(line: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _title(body: Any) -> str | None:
    alert = body.get("aps", {}).get("alert") if isinstance(body, dict) else None
    title = alert.get("title") if isinstance(alert, dict) else alert
    return title if isinstance(title, str) else None
