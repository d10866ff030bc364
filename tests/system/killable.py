"""`bellhop serve` as a process that can be killed at any moment and started again on the same database."""

import asyncio
import base64
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from google.protobuf import json_format

from bellhop.v1.applications_pb2 import ApnsCredential
from bellhop_client import AdminClient, Client, RetryPolicy
from bellhop_simulators import ApnsSimulator

ADMIN_TOKEN = "an-admin-token-for-tests"
MASTER_KEY = bytes(32)


class Killable:
    """A server over one database and one simulated APNs, alive or not."""

    def __init__(self, folder: Path, database_url: str, apns: ApnsSimulator) -> None:
        self.address = ""
        self.client_secret = ""
        self.app_secret = ""
        self._folder = folder
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._said: list[bytes] = []
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("BELLHOP_")} | {
            "BELLHOP_LISTEN": "127.0.0.1:0",
            "BELLHOP_DATABASE_URL": database_url,
            "BELLHOP_MASTER_KEY": base64.b64encode(MASTER_KEY).decode(),
            "BELLHOP_ADMIN_TOKEN": ADMIN_TOKEN,
            "BELLHOP_APNS_URL": apns.url,
            "BELLHOP_PROVIDER_CA": str(apns.ca_file),
        }

    async def start(self) -> None:
        """Returns once it listens."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bellhop_cli.main", "serve"),
            cwd=self._folder,
            env=self._environment,
            stdin=DEVNULL,
            stderr=PIPE,
        )
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._said.append(line)
            if b'"address"' in line:
                self.address = json.loads(line)["address"]
                # Whoever knows its address finds it there again.
                self._environment["BELLHOP_LISTEN"] = self.address
                self._reading = asyncio.create_task(self._read(self._process.stderr))
                return
        raise AssertionError(self.log)

    @property
    def log(self) -> str:
        """What it has written in all its lives."""
        return b"".join(self._said).decode()

    @property
    def pid(self) -> int:
        """Of the process as it is now."""
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        """SIGKILL: no farewell."""
        assert self._process is not None
        self._process.kill()
        await self._gone()

    async def stop(self) -> int:
        """SIGTERM, if it is alive; returns its exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        return await self._gone()

    async def _read(self, stderr: asyncio.StreamReader) -> None:
        async for line in stderr:
            self._said.append(line)

    async def _gone(self) -> int:
        assert self._process is not None
        code = await self._process.wait()
        if self._reading is not None:
            await self._reading
            self._reading = None
        return code

    async def set_up(self, apns: ApnsSimulator) -> None:
        """An application with the credential of the simulated APNs."""
        async with AdminClient(self.address, admin_token=ADMIN_TOKEN) as admin:
            made = await admin.create_application(app_id="shop", display_name="Shop")
            credential = json_format.ParseDict(apns.key.credential()["apns"], ApnsCredential())
            await admin.set_credential(app_id="shop", apns=credential)
        self.client_secret, self.app_secret = made.client_secret, made.app_secret

    def client(self, retry_policy: RetryPolicy | None = None) -> Client:
        """Speaks to the server as it is now; may bind and send."""
        return Client(self.address, app_id="shop", app_secret=self.app_secret, retry_policy=retry_policy)


@asynccontextmanager
async def killable(folder: Path, database_url: str, apns: ApnsSimulator) -> AsyncIterator[Killable]:
    """Started, with an application on it; ended with the context."""
    server = Killable(folder, database_url, apns)
    await server.start()
    try:
        await server.set_up(apns)
        yield server
    finally:
        await server.stop()
