"""A whole server in this process, with one application and networks that only remember."""

import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from bellhop.v1.applications_pb2 import (
    ApnsCredential,
    ApnsKey,
    FcmCredential,
    GenerateVapidKey,
    WebPushCredential,
)
from bellhop.v1.message_pb2 import OUTCOME_ACCEPTED, Notification
from bellhop.v1.notifier_pb2 import MESSAGE_VIEW_FULL
from bellhop_client import AdminClient, Client
from bellhop_client.loop_thread import LoopThread
from bellhop_client.sync import SyncClient
from bellhop_server.domain.device import Platform
from bellhop_server.main import running_server
from bellhop_server.settings import Address, Settings
from bellhop_testing.providers import FakeProvider, World

APP_ID = "test"
# Where files are in memory, if there is such a place.
_MEMORY = next((path for path in ("/dev/shm",) if Path(path).is_dir()), None)  # noqa: S108 - with a folder of its own


@dataclass(frozen=True, slots=True)
class Sent:
    """A notification that a network took for a device; `user_id` empty: nobody was logged in on it."""

    message_id: str
    device_id: str
    user_id: str
    notification: Notification


class FakeBellhop:
    """The server of this version on a port of its own, with the application `test`, until the context ends.

    It runs in a thread of its own: tests with an event loop use it like those without. Everything is real but the
    networks, which take each push and remember it.
    """

    def __init__(self) -> None:
        self.app_id = APP_ID
        self.admin_token = secrets.token_urlsafe()
        self.address = ""
        self.app_secret = ""
        self.client_secret = ""
        self._world = World()
        self._stack = AsyncExitStack()

    def __enter__(self) -> Self:
        self._thread = LoopThread()
        try:
            self._thread.run(self._start())
        except BaseException:
            self._thread.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.run(self._stack.aclose())
        self._thread.close()

    def client(self) -> Client:
        """A client that may do everything in the application; to be made where an event loop runs, and closed."""
        return Client(self.address, app_id=APP_ID, app_secret=self.app_secret, client_secret=self.client_secret)

    def sync_client(self) -> SyncClient:
        """The same for programs without an event loop."""
        return SyncClient(self.address, app_id=APP_ID, app_secret=self.app_secret, client_secret=self.client_secret)

    def sent(self, user_id: str | None = None) -> list[Sent]:
        """What the networks took so far, in the order of its acceptance; with `user_id`: for that person alone."""
        found = self._thread.run(self._sent())
        return found if user_id is None else [each for each in found if each.user_id == user_id]

    def lose(self, address: str) -> None:
        """An APNs or FCM token or a Web Push endpoint is dead from now on, as after the app was deleted."""
        self._world.gone.add(address)

    def networks_go_down(self) -> None:
        """Nothing reaches a network; what is sent is tried again until its `ttl` is over."""
        self._world.away = True

    def networks_come_back(self) -> None:
        """The reverse."""
        self._world.away = False

    async def _start(self) -> None:
        folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="bellhop-", dir=_MEMORY)))
        settings = Settings(
            listen=Address("127.0.0.1", 0),
            database_url=f"sqlite:///{folder / 'bellhop.db'}",
            admin_token=self.admin_token,
            log_level="error",
        )
        providers = {platform: FakeProvider(platform, self._world) for platform in Platform}
        server = await self._stack.enter_async_context(running_server(settings, providers=providers))
        self.address = server.address
        async with AdminClient(self.address, admin_token=self.admin_token) as admin:
            made = await admin.create_application(app_id=APP_ID, display_name="Test")
            key = ApnsKey(key_id="TESTTESTTE", team_id="TESTTESTTE", p8="test")
            await admin.set_credential(app_id=APP_ID, apns=ApnsCredential(key=key, topics=["com.example.test"]))
            await admin.set_credential(app_id=APP_ID, fcm=FcmCredential(service_account_json="{}"))
            subject = "mailto:test@test.example"
            web_push = WebPushCredential(generate=GenerateVapidKey(), subject=subject)
            await admin.set_credential(app_id=APP_ID, web_push=web_push)
        self.app_secret, self.client_secret = made.app_secret, made.client_secret
        self._client = await self._stack.enter_async_context(self.client())

    async def _sent(self) -> list[Sent]:
        found = []
        messages = [message async for message in self._client.messages()]
        for message_id in reversed([message.message_id for message in messages]):
            full = await self._client.get_message(message_id=message_id, view=MESSAGE_VIEW_FULL)
            taken = self._client.results(message_id=message_id, outcomes=[OUTCOME_ACCEPTED])
            found += [
                Sent(message_id, result.device_id, result.user_id, full.message.notification) async for result in taken
            ]
        return found
