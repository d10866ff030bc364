"""Registering devices: makes the secrets and the times, and leaves the rules to the registry."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from uuid import uuid4

from bellhop_server.app.fencing import Fence, Names
from bellhop_server.app.proving import Proving
from bellhop_server.app.targets import Targets
from bellhop_server.domain import Micros
from bellhop_server.domain.application import digest_of
from bellhop_server.domain.device import Device, DeviceFacts, Target
from bellhop_server.domain.grant import Grant
from bellhop_server.domain.query import DeviceQuery
from bellhop_server.domain.registration import (
    Proof,
    Register,
    RegistryAnswer,
    RegistryCommand,
    Unregister,
    UnregisterUser,
    Update,
)
from bellhop_server.ports import Clock, Sealer, Store

_NONCE_BYTES = 24

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered device, and its fresh secret in clear; empty: it keeps, or brought, its own."""

    device: Device
    device_secret: str = field(repr=False)
    created: bool


class Registering:
    """What apps and back ends ask of the registry."""

    def __init__(
        self, store: Store, clock: Clock, fence: Fence, targets: Targets, proving: Proving, sealer: Sealer
    ) -> None:
        self._store = store
        self._clock = clock
        self._fence = fence
        self._targets = targets
        self._proving = proving
        self._sealer = sealer
        self._finishing: set[asyncio.Task[int]] = set()

    async def register(
        self,
        app_id: str,
        device_id: str,
        user_id: str | None,
        target: Target | None,
        facts: DeviceFacts,
        proof: Proof,
        received: Micros,
        *,
        session_id: str = "",
        binding_ttl: Micros | None = None,
        binding_generation: int | None = None,
        target_nonce: str = "",
        grant: Grant | None = None,
        binding_key: bytes = b"",
    ) -> Registered:
        """Binds a device to a user, or to none. `received`: when the call came in; `target_nonce`: what the caller says
        was pushed to its target, empty for nothing; `grant`: the bind grant that came, whose session is the login's
        unless that has a name; `binding_key`: what to stamp its notifications with, empty for no stamps; the others as
        in `Register`.

        Raises what the rules of the registry raise, and InvalidRequest.
        """
        target = await self._targets.settle(app_id, target)
        secret, nonce = f"bhd_{secrets.token_urlsafe(32)}", _fresh_nonce(proof, target)
        device_id = device_id or uuid4().hex
        if grant is not None:
            session_id = session_id or grant.session_id
        answer = await self._execute(
            Register(
                app_id=app_id,
                device_id=device_id,
                user_id=user_id,
                target=target,
                facts=facts,
                proof=proof,
                fresh_secret=digest_of(secret),
                now=self._clock.now(),
                received=received,
                session_id=session_id,
                binding_ttl=binding_ttl,
                binding_generation=binding_generation,
                target_nonce=_digest(target_nonce),
                fresh_nonce=digest_of(nonce) if nonce else b"",
                grant=grant,
                sealed_binding_key=self._sealer.seal(binding_key, app_id, device_id) if binding_key else None,
            ),
            nonce,
        )
        assert answer.device is not None
        return Registered(answer.device, secret if answer.secret_issued else "", answer.created)

    async def update(
        self,
        app_id: str,
        device_id: str,
        target: Target | None,
        locale: str | None,
        time_zone: str | None,
        app_version: str | None,
        set_attributes: Mapping[str, str],
        remove_attributes: tuple[str, ...],
        proof: Proof,
        target_nonce: str = "",
    ) -> Device:
        """Changes what is not None; `target_nonce` as for `register`.

        Raises what the rules of the registry raise, and InvalidRequest.
        """
        target = await self._targets.settle(app_id, target)
        nonce = _fresh_nonce(proof, target)
        answer = await self._execute(
            Update(
                app_id=app_id,
                device_id=device_id,
                target=target,
                locale=locale,
                time_zone=time_zone,
                app_version=app_version,
                set_attributes=set_attributes,
                remove_attributes=remove_attributes,
                proof=proof,
                now=self._clock.now(),
                target_nonce=_digest(target_nonce),
                fresh_nonce=digest_of(nonce) if nonce else b"",
            ),
            nonce,
        )
        assert answer.device is not None
        return answer.device

    async def unregister(
        self,
        app_id: str,
        device_id: str,
        proof: Proof,
        *,
        expected_user_id: str | None = None,
        binding_generation: int | None = None,
    ) -> bool:
        """Takes a device out; False: there was none, or it is not the expected user's.

        Raises what the rules of the registry raise.
        """
        now = self._clock.now()
        answer = await self._execute(Unregister(app_id, device_id, proof, now, expected_user_id, binding_generation))
        return answer.removed > 0

    async def unregister_user(self, app_id: str, user_id: str, received: Micros, *, session_id: str = "") -> int:
        """Ends all logins of a user that there were or had been asked for when the call came in, or those of one
        session, and takes their devices out; returns how many.
        """
        return (await self._execute(UnregisterUser(app_id, user_id, received, session_id))).removed

    async def get(self, app_id: str, device_id: str) -> Device:
        """Raises DeviceNotFound."""
        return (await self._store.get_device(app_id, device_id)).as_of(self._clock.now())

    async def list(self, query: DeviceQuery, after: str, limit: int) -> list[Device]:
        """Devices by id, those greater than `after`."""
        return [device.as_of(query.now) for device in await self._store.list_devices(query, after, limit)]

    async def count(self, query: DeviceQuery) -> int:
        """How many there are."""
        return await self._store.count_devices(query)

    async def _execute(self, command: RegistryCommand, nonce: str = "") -> RegistryAnswer:
        """Carries a command out, and returns when nothing is handed over any more to whoever left by it, or by what an
        earlier call of the same kind has done: also where there was nothing left to do. `nonce`: the one of the command
        in clear, which is pushed if it is issued.

        Once its first transaction is committed the others follow, whether or not the caller is there. Raises
        ServiceUnavailable for a hand-over that does not end, too: what was committed stays then.
        """
        ends: set[asyncio.Future[None]] = set()
        rest: asyncio.Task[int] | None = None

        def committed(answer: RegistryAnswer) -> None:
            nonlocal rest
            ends.update(self._ends(command, answer))
            if answer.nonce_issued and answer.device is not None:
                self._proving.push(command.app_id, answer.device.target, nonce)
            if answer.more and rest is None:
                rest = self._finish(command, committed)

        answer = await self._store.execute(command, committed)
        if rest is not None:
            answer = replace(answer, removed=answer.removed + await asyncio.shield(rest), more=False)
        await self._fence.wait(ends)
        return answer

    def _finish(self, command: RegistryCommand, committed: Callable[[RegistryAnswer], None]) -> asyncio.Task[int]:
        """Repeats a command until nothing is left to do; returns how many devices that took out."""

        async def repeat() -> int:
            removed, more = 0, True
            while more:
                answer = await self._store.execute(command, committed)
                removed, more = removed + answer.removed, answer.more
            return removed

        task = asyncio.create_task(repeat())
        self._finishing.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[int]) -> None:
        self._finishing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("devices of a user who left are still bound", exc_info=error)

    def _ends(self, command: RegistryCommand, answer: RegistryAnswer) -> "set[asyncio.Future[None]]":
        """What a command that has just been committed has to wait for. A caller who is there no longer does not wait,
        but the next one to speak of the device or the user will.
        """
        if isinstance(command, UnregisterUser):
            groups = [Names([device.device_id], [device.target]) for device in answer.departed]
            return self._fence.ends(command.app_id, groups, command.user_id)
        devices = {device.device_id for device in answer.departed}
        targets = {device.target for device in answer.departed}
        if isinstance(command, Register | Unregister):
            devices.add(command.device_id)
        presented = (command.target or command.target_nonce) if isinstance(command, Register | Update) else None
        if presented is not None and answer.device is not None:
            devices.add(answer.device.device_id)
            targets.add(answer.device.target)
        return self._fence.ends(command.app_id, [Names(devices, targets)])


def _digest(nonce: str) -> bytes | None:
    return digest_of(nonce) if nonce else None


def _fresh_nonce(proof: Proof, target: Target | None) -> str:
    """What may have to be pushed; empty: that cannot be. Whatever authority presents is its own."""
    return "" if proof.authority or target is None else secrets.token_urlsafe(_NONCE_BYTES)
