"""A logout that has returned holds, on a whole server with a provider that is slow (P3)."""

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import applications_pb2_grpc, notifier_pb2_grpc, push_registry_pb2_grpc
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.app.fencing import Fence
from bellhop_server.main import running_server
from bellhop_simulators import ApnsSimulator
from bellhop_simulators.apns.concurrency import ConcurrencyPolicy
from bellhop_simulators.journal import Entry, Journal
from tests.system.live_server import Shop, as_admin, settings_in

pytestmark = pytest.mark.promise("P3")

USERS = [f"user {number}" for number in range(4)]
PHONES = 10
WRITERS = 24
SECONDS = 5.0

# Answers after up to two seconds, now and then none; requests that are refused and tried again, or wait for a window.
SLOW = {
    "faults": [
        {"when": {"every": 61}, "then": {"no_answer": True}},
        {"when": {"every": 13}, "then": {"reset_stream": "REFUSED_STREAM"}},
        {"when": {"every": 47}, "then": {"initial_window": 100, "delay": 0.5}},
        {"when": {"every": 11}, "then": {"delay": 1.5}},
        {"when": {"every": 3}, "then": {"delay": 1.0}},
        {"when": {"every": 2}, "then": {"delay": 0.3}},
    ]
}


@dataclass
class Closure:
    """From the one number of requests to the other none was to arrive; `upto` None: to the end."""

    why: str
    since: int
    upto: int | None = None


@dataclass
class Book:
    """What must not arrive, by token and user, counted in requests that the simulated provider has seen."""

    journal: Journal
    closures: dict[tuple[str, str], list[Closure]] = field(default_factory=lambda: defaultdict(list))
    attempts: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    logging_in: set[tuple[str, str]] = field(default_factory=set)
    timeouts: int = 0

    def login(self, token: str, user: str) -> None:
        """Somebody asks for it: from now on pushes may come."""
        key = (token, user)
        self.attempts[key] += 1
        self.logging_in.add(key)
        if self.closures[key] and self.closures[key][-1].upto is None:
            self.closures[key][-1].upto = self.journal.total

    def close(self, token: str, user: str, why: str) -> None:
        """A call has returned that ends it."""
        closures = self.closures[token, user]
        if not closures or closures[-1].upto is not None:
            closures.append(Closure(why, self.journal.total))

    def violations(self) -> list[str]:
        """What arrived that must not have."""
        found = []
        for entry in self.journal.entries:
            # The others are probes of the credential.
            user = (entry.body or {}).get("user", "")
            for closure in self.closures[entry.token, user]:
                if closure.since < entry.number and (closure.upto is None or entry.number <= closure.upto):
                    found.append(f"request {entry.number} for {user} on {entry.token[-6:]}, closed by {closure}")
        return found


class Phone:
    """A telephone and whoever uses it: one token, one installation of the app after the other, one user or none."""

    def __init__(self, number: int, town: "Town") -> None:
        self._town = town
        self._random = random.Random(f"{town.seed} {number}")
        self._number = number
        self._installations = 0
        self._tokens = 0
        self._generation = 0
        self._stub = town.registry
        self.token = self._new_token()
        self.device = self._new_device()
        self._perhaps = {self.device}
        """Installations that may be registered with the token."""

    async def live(self, until: float) -> None:
        while time.monotonic() < until:
            what = self._random.choice(
                ["login", "login", "login", "takeover", "takeover", "logout", "anonymous", "token"]
            )
            await getattr(self, f"_{what}")()
            # It is used for a while, or until there is a push on its way.
            with suppress(TimeoutError):
                await self._town.book.journal.wait_for(len(self._seen()) + 1, token=self.token, timeout=0.1)

    def _seen(self) -> list[Entry]:
        return self._town.book.journal.find(token=self.token)

    async def _login(self) -> None:
        user = self._random.choice(USERS)
        self._generation += 1
        request = reg.RegisterDeviceRequest(
            device_id=self.device, user_id=user, apns={"token": self.token}, binding_generation=self._generation
        )
        self._town.book.login(self.token, user)
        try:
            done = await self._insist(self._stub.RegisterDevice, request)
        finally:
            self._town.book.logging_in.discard((self.token, user))
        if done:
            self._perhaps = {self.device}
            self._others_out(f"login of {user}", but=user)
        else:
            await self._logout()

    async def _takeover(self) -> None:
        self.device = self._new_device()
        self._perhaps.add(self.device)
        await self._login()

    async def _logout(self) -> None:
        self._generation += 1
        for device in sorted(self._perhaps):
            request = reg.UnregisterDeviceRequest(device_id=device, binding_generation=self._generation)
            while not await self._insist(self._stub.UnregisterDevice, request):
                pass
        self._perhaps = {self.device}
        self._others_out("logout")

    async def _anonymous(self) -> None:
        self._generation += 1
        request = reg.RegisterAnonymousDeviceRequest(
            device_id=self.device, apns={"token": self.token}, binding_generation=self._generation
        )
        while not await self._insist(self._stub.RegisterAnonymousDevice, request):
            pass
        self._perhaps = {self.device}
        self._others_out("anonymous registration")

    async def _token(self) -> None:
        before, self.token = self.token, self._new_token()
        request = reg.UpdateDeviceRequest(device_id=self.device, apns={"token": self.token})
        try:
            while not await self._insist(self._stub.UpdateDevice, request):
                pass
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            self.token = before
        else:
            for user in USERS:
                self._town.book.close(before, user, "another token")

    async def _insist(self, call: Callable[..., Awaitable[Any]], request: Any) -> bool:
        """Repeats a call that takes too long; False: gives it up instead, or it came too late."""
        for _ in range(4):
            try:
                await call(request, metadata=self._town.shop.client, timeout=self._random.choice([0.05, 0.2, 0.7, 12]))
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.ABORTED:
                    return False
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise
                self._town.book.timeouts += 1
                if self._random.random() < 0.2:
                    return False
            else:
                return True
        return False

    def _others_out(self, why: str, but: str = "") -> None:
        for user in USERS:
            if user != but:
                self._town.book.close(self.token, user, why)

    def _new_token(self) -> str:
        self._tokens += 1
        return f"{self._number:032x}{self._tokens:032x}"

    def _new_device(self) -> str:
        self._installations += 1
        return f"phone {self._number} {self._installations}"


class Town:
    """Phones, people who come and go, and a back end that goes on writing to them."""

    def __init__(self, seed: int, journal: Journal, channel: grpc.aio.Channel, shop: Shop) -> None:
        self.seed = seed
        self.book = Book(journal)
        self.shop = shop
        self.registry: Any = push_registry_pb2_grpc.PushRegistryStub(channel)
        self._notifier: Any = notifier_pb2_grpc.NotifierStub(channel)
        self._random = random.Random(seed)

    async def live(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        phones = [Phone(number, self) for number in range(PHONES)]
        async with asyncio.TaskGroup() as group:
            for phone in phones:
                group.create_task(phone.live(until))
            for _ in range(WRITERS):
                group.create_task(self._write(until))
            group.create_task(self._dismiss(until, phones))

    async def _write(self, until: float) -> None:
        while time.monotonic() < until:
            user = self._random.choice(USERS)
            request = notes.SendRequest(
                audience={"users": {"user_ids": [user]}}, notification={"title": "Hello", "data": {"user": user}}
            )
            call = self._notifier.Send(request, metadata=self.shop.sender, timeout=3)
            with suppress(grpc.aio.AioRpcError):
                async for _ in call:
                    pass

    async def _dismiss(self, until: float, phones: list[Phone]) -> None:
        """Logs somebody out everywhere, again and again."""
        book = self.book
        while time.monotonic() < until:
            user = self._random.choice(USERS)
            before = {phone.token: book.attempts[phone.token, user] for phone in phones}
            busy = {token for token, each in book.logging_in if each == user}
            request = reg.UnregisterUserRequest(user_id=user)
            for timeout in (0.1, 0.3, 12):
                try:
                    await self.registry.UnregisterUser(request, metadata=self.shop.sender, timeout=timeout)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                        raise
                    book.timeouts += 1
                    continue
                for token, attempts in before.items():
                    if token not in busy and book.attempts[token, user] == attempts:
                        book.close(token, user, "logout everywhere")
                break


async def life(folder: Path, seed: int, seconds: float) -> Book:
    """A town for a while, on a server and a simulated APNs with few streams; returns what was seen."""
    print(f"seed {seed}")
    async with ApnsSimulator(concurrency=ConcurrencyPolicy(authenticated=3)) as apns:
        script = folder / "faults.json"
        script.write_text(json.dumps(SLOW))
        apns.faults.load(script)
        settings = settings_in(folder, apns_url=apns.url, provider_ca=apns.ca_file)
        async with running_server(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
            admin: Any = applications_pb2_grpc.ApplicationsStub(channel)
            made = await admin.CreateApplication(
                apps.CreateApplicationRequest(app_id="shop", display_name="Shop"), metadata=as_admin()
            )
            credential = json_format.ParseDict({"appId": "shop", **apns.key.credential()}, apps.SetCredentialRequest())
            await admin.SetCredential(credential, metadata=as_admin())
            town = Town(seed, apns.journal, channel, Shop("shop", made.client_secret, made.app_secret))
            await town.live(seconds)
        return town.book


async def test_nothing_arrives_for_whoever_has_left(tmp_path: Path) -> None:
    book = await life(tmp_path, random.randrange(10**6), SECONDS)
    closures = sum(map(len, book.closures.values()))
    print(f"{book.journal.total} requests, {closures} closures, {book.timeouts} calls that timed out")
    assert book.journal.total > 50
    assert closures > 50
    assert book.timeouts > 10
    assert book.violations() == []


async def test_without_the_wait_something_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run above can fail."""

    async def do_not_wait(fence: Fence, ends: object) -> None:
        """Returns at once."""

    monkeypatch.setattr(Fence, "wait", do_not_wait)
    book = await life(tmp_path, random.randrange(10**6), SECONDS / 2)
    assert book.violations()
