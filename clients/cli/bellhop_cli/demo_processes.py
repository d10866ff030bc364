"""The processes of the demo: simulated push providers and a real server, on free ports in a folder of their own."""

import asyncio
import json
import os
import ssl
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

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
        """Whom the providers took a notification with that title for, as they call them, sorted, as often as they did:
        device tokens, and ids of subscriptions.
        """
        entries = [json.loads(line) for line in self.journal.read_text("utf-8").splitlines()]
        return sorted(each["token"] for each in entries if each["accepted"] and _title(each) == title)

    async def subscribe(self, application_server_key: str) -> Mapping[str, Any]:
        """What a browser gets that subscribes at the simulated push service: its endpoint, its keys and an id."""
        url, ca_file = self.simulation["web_push_url"], self.simulation["ca_file"]
        body = json.dumps({"persona": "mozilla", "application_server_key": application_server_key}).encode()

        def post() -> Mapping[str, Any]:
            # The address is that of the simulator which this demo has started, as it told it, and so https.
            request = Request(f"{url}/subscriptions", body, {"content-type": "application/json"})  # noqa: S310 - ours
            with urlopen(request, context=ssl.create_default_context(cafile=ca_file)) as answer:  # noqa: S310 - ours
                subscription: Mapping[str, Any] = json.load(answer)
                return subscription

        return await asyncio.to_thread(post)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Both processes, for as long as the context lasts. Raises DemoFailed when one of them does not start."""
    journal = folder / "journal.jsonl"
    async with _running(folder, "apns_url", "simulate", "--journal", str(journal)) as simulation:
        settings = {
            "BELLHOP_LISTEN": "127.0.0.1:0",
            "BELLHOP_APNS_URL": simulation["apns_url"],
            "BELLHOP_APNS_SANDBOX_URL": simulation["apns_sandbox_url"],
            "BELLHOP_FCM_URL": simulation["fcm_url"],
            "BELLHOP_FCM_TOKEN_URL": simulation["fcm_token_url"],
            "BELLHOP_WEB_PUSH_HOSTS": simulation["web_push_url"].removeprefix("https://"),
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


def _title(entry: Mapping[str, Any]) -> str | None:
    """Of the notification in an entry of the journal, whoever took it."""
    match entry["provider"], entry.get("body"):
        case "apns", {"aps": {"alert": {"title": str(title)}}}:
            return title
        case "fcm", {"message": {"notification": {"title": str(title)}}}:
            return title
        case "web_push", _ if entry["decrypted"]:
            decrypted: str | None = json.loads(entry["decrypted"]).get("title")
            return decrypted
    return None
