"""Commands to the registry in few words, and what became of them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from bellhop_server.domain.application import Application, Policy, digest_of
from bellhop_server.domain.device import Device, DeviceFacts, DeviceState, Platform, Target
from bellhop_server.domain.query import DeviceQuery
from bellhop_server.domain.registration import Proof, Register, RegistryAnswer, RegistryCommand, Update
from bellhop_server.store.registry import SqlDevices
from bellhop_server.store.sql_store import SqlStore

AUTHORITY = Proof(authority=True)
NOBODY = Proof(authority=False)


async def create_applications(store: SqlStore) -> None:
    """Two of them, `shop` and `bank`."""
    for app_id in ("shop", "bank"):
        await store.create_application(Application(app_id, app_id, Policy(), 1, 1), [])


def target(name: str) -> Target:
    return Target(Platform.APNS, name.encode().hex())


def register(
    device: str,
    user: str | None,
    at: str | None = None,
    *,
    proof: Proof = AUTHORITY,
    app: str = "shop",
    fresh: str = "",
    now: int = 1_000,
    **binding: Any,
) -> Register:
    """`binding`: session_id, binding_ttl, binding_generation, received (default: `now`)."""
    where = None if at is None else target(at)
    secret = digest_of(fresh or f"fresh {device} {now}")
    fields = {"received": now, **binding}
    return Register(app, device, user, where, DeviceFacts(), proof, secret, now, **fields)


def update(device: str, at: str | None = None, *, proof: Proof = AUTHORITY, now: int = 2_000) -> Update:
    where = None if at is None else target(at)
    return Update("shop", device, where, "de", None, None, {}, (), proof, now)


def own(secret: str) -> Proof:
    return Proof(False, digest_of(secret), len(secret) >= 32)


async def together(store: SqlDevices, commands: Sequence[RegistryCommand]) -> list[RegistryAnswer | BaseException]:
    return await asyncio.gather(*map(store.execute, commands), return_exceptions=True)


async def listed(store: SqlDevices, app: str = "shop") -> list[Device]:
    """All devices of an application as they are stored, whatever their state."""
    return await store.list_devices(DeviceQuery(app, 0, states=tuple(DeviceState)), "", 10_000)


async def live_secrets(store: SqlStore, *texts: str) -> dict[str, bool]:
    """Those of the device secrets that are not retired, and whether they are pending."""
    known = {each.digest: each for each in await store.find_secrets([digest_of(text) for text in texts])}
    found = {text: known[digest_of(text)] for text in texts}
    return {text: secret.pending for text, secret in found.items() if secret.retire_time is None}
