"""The life of one batch: from the claim to its last result."""

import asyncio
import logging
import random
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b

from bellhop_server.app.hygiene import Hygiene
from bellhop_server.app.recording import Recorder
from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.application import Credential
from bellhop_server.domain.batch import ClaimedBatch, Item, NewBatch
from bellhop_server.domain.delivery import HANDOVER, LEASE, Answer, Chunk, Delivery, Verdict
from bellhop_server.domain.device import Device, DeviceState, Platform, Target
from bellhop_server.domain.errors import BellhopError, Unavailable
from bellhop_server.domain.message import AudienceKind, Message, Outcome, Result
from bellhop_server.domain.retry import decide, expiry, last_call, may_resend, now_or_never
from bellhop_server.domain.routing import Route, route
from bellhop_server.ports import Clock, Provider, Store

JITTER = 0.2
CACHED_MESSAGES = 64
# Seconds until a batch is tried again whose devices could not be read.
STORE_AWAY = 1.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Sheet:
    """What has become of a batch so far, but for the results that the recorder has."""

    batch: ClaimedBatch
    message: Message
    excluded: frozenset[str]
    again: dict[float, list[Item]] = field(default_factory=lambda: defaultdict(list))
    refused: list[tuple[Device, Answer]] = field(default_factory=list)
    refusals: list[Result] = field(default_factory=list)
    taken: list[tuple[str, bytes]] = field(default_factory=list)


_Entry = tuple[Item, Device]


@dataclass(frozen=True, slots=True)
class _Lot:
    """What goes to one provider under one credential. `entries` are None once answered."""

    credential: Credential
    deliveries: list[Delivery]
    entries: list[_Entry | None]


class Handover:
    """Carries out batches."""

    def __init__(
        self, store: Store, clock: Clock, recorder: Recorder, hygiene: Hygiene, providers: Mapping[Platform, Provider]
    ) -> None:
        self._store = store
        self._clock = clock
        self._recorder = recorder
        self._hygiene = hygiene
        self._providers = providers
        self._messages: OrderedDict[int, Message] = OrderedDict()
        self._excluded: dict[int, frozenset[str]] = {}

    async def carry_out(self, batch: ClaimedBatch) -> None:
        """Brings every item of a claimed batch to a final result or into a batch of its own for later.

        Raises what the store raises before the batch was started: then it is claimed again when its lease ends.
        """
        message = await self._message(batch.message_ref)
        sheet = _Sheet(batch, message, self._excluded[batch.message_ref])
        items = await self._left(sheet) if batch.in_doubt else batch.items
        if self._clock.now() >= last_call(message):
            for item in items:
                self._withhold(sheet, item, Outcome.EXPIRED, item.obstacle or "Expired", item.obstacle_status)
        elif items:
            # Both clocks are read before the start is committed, so neither limit is later than the lease allows.
            deadline, now = self._clock.monotonic() + HANDOVER, self._clock.now()
            if not await self._store.start(batch.batch_id, batch.lease, now, now + int(LEASE * SECOND)):
                return
            await self._hand_over(sheet, items, deadline)
        await self._finish(sheet)

    async def _message(self, ref: int) -> Message:
        message = self._messages.get(ref)
        if message is None:
            message = self._messages[ref] = await self._store.get_message_by_ref(ref)
            self._excluded[ref] = frozenset(message.audience.exclude_user_ids)
            if len(self._messages) > CACHED_MESSAGES:
                forgotten, _ = self._messages.popitem(last=False)
                del self._excluded[forgotten]
        return message

    async def _left(self, sheet: _Sheet) -> list[Item]:
        """What an interrupted worker left without a result, less what must not go again."""
        reported = await self._store.reported(sheet.batch)
        left = []
        for item in sheet.batch.items:
            if (item.device_id, item.user_id) in reported:
                continue
            item.attempts += 1
            item.doubts += 1
            if may_resend(sheet.message, item.doubts):
                left.append(item)
            else:
                self._withhold(sheet, item, Outcome.UNKNOWN, "Interrupted", 0)
        return left

    async def _hand_over(self, sheet: _Sheet, items: Sequence[Item], deadline: float) -> None:
        app_id = sheet.message.app_id
        try:
            devices, credentials = await asyncio.gather(
                self._store.read_devices(app_id, [item.device_id for item in items]),
                self._store.list_credentials(app_id),
            )
        except Unavailable:
            sheet.again[STORE_AWAY].extend(items)
            return
        lots = self._lots(sheet, items, devices, credentials)
        await asyncio.gather(*(self._send(sheet, lot, deadline) for lot in lots))

    def _lots(
        self, sheet: _Sheet, items: Sequence[Item], devices: Mapping[str, Device], credentials: Sequence[Credential]
    ) -> list[_Lot]:
        """What is still to be handed over, by credential. The rest gets its result here."""
        routing = _Routing(credentials)
        lots: dict[str, _Lot] = {}
        identity = _identity(sheet.message)
        for item in items:
            device = devices.get(item.device_id)
            obstacle = _obstacle(sheet, item, device)
            if device is None or obstacle is not None:
                self._withhold(sheet, item, Outcome.SUPERSEDED, obstacle or "DeviceGone", 0)
                continue
            way = routing.of(device)
            if isinstance(way, Answer):
                outcome = Outcome.NOT_CONFIGURED if way.verdict is Verdict.NOT_CONFIGURED else Outcome.CONFIG_ERROR
                self._withhold(sheet, item, outcome, way.reason, 0)
                continue
            lot = lots.get(way.credential.credential_id)
            if lot is None:
                lot = lots[way.credential.credential_id] = _Lot(way.credential, [], [])
            lot.deliveries.append(Delivery(way.target, _provider_message_id(identity, item)))
            lot.entries.append((item, device))
        return list(lots.values())

    async def _send(self, sheet: _Sheet, lot: _Lot, deadline: float) -> None:
        message = sheet.message
        provider = self._providers[lot.credential.platform]
        chunk = Chunk(
            app_id=message.app_id,
            credential_id=lot.credential.credential_id,
            credential_version=lot.credential.version,
            credential=lot.credential.secret,
            notification=message.notification,
            priority=message.options.priority,
            expire_time=expiry(message),
            now_or_never=now_or_never(message),
            deliveries=lot.deliveries,
            deadline=deadline,
        )
        report = partial(self._report, sheet, lot.entries)
        try:
            await provider.send(chunk, report)
        except Exception:
            _log.exception("a provider failed")
        for index, entry in enumerate(lot.entries):
            if entry is not None:
                report(index, Answer(Verdict.UNKNOWN, reason="ProviderFailed"))

    def _report(self, sheet: _Sheet, entries: list[_Entry | None], index: int, answer: Answer) -> None:
        entry = entries[index]
        if entry is None:
            return
        entries[index] = None
        item, device = entry
        now = self._clock.now()
        decided = decide(item, answer, sheet.message, now)
        if isinstance(decided, float):
            sheet.again[decided].append(item)
            return
        result = Result(
            item.device_id,
            item.user_id,
            device.target.platform,
            decided,
            answer.reason,
            answer.status,
            answer.provider_message_id,
            item.attempts,
            now,
            answer.invalid_since,
        )
        if decided is Outcome.ACCEPTED:
            self._hygiene.note_accepted(device)
            if not device.target_accepted:
                sheet.taken.append((device.device_id, device.target.digest))
        elif decided is Outcome.TOKEN_INVALID or decided is Outcome.TOKEN_MISMATCH:
            # Told only once the device has been retired.
            sheet.refused.append((device, answer))
            sheet.refusals.append(result)
            return
        self._recorder.add(sheet.batch, result)

    def _withhold(self, sheet: _Sheet, item: Item, outcome: Outcome, reason: str, status: int) -> None:
        """A result without a hand-over."""
        now = self._clock.now()
        result = Result(item.device_id, item.user_id, item.platform, outcome, reason, status, "", item.attempts, now, 0)
        self._recorder.add(sheet.batch, result)

    async def _finish(self, sheet: _Sheet) -> None:
        await self._hygiene.note_dead(sheet.message.app_id, sheet.refused)
        for result in sheet.refusals:
            self._recorder.add(sheet.batch, result)
        now = self._clock.now()
        priority = sheet.message.options.priority
        again = [NewBatch(items, now + _jittered(delay), priority, retry=True) for delay, items in sheet.again.items()]
        if await self._recorder.finish(sheet.batch, again) and sheet.taken:
            try:
                await self._store.mark_accepted(sheet.message.app_id, sheet.taken)
            except BellhopError:
                _log.warning("accepted targets could not be noted", extra={"app_id": sheet.message.app_id})


class _Routing:
    """Routes of one batch: the same for all devices that name the same topic and environment."""

    def __init__(self, credentials: Sequence[Credential]) -> None:
        self._credentials = credentials
        self._known: dict[object, Route | Answer] = {}

    def of(self, device: Device) -> Route | Answer:
        target = device.target
        key = (target.platform, target.apns_topic, target.apns_environment)
        way = self._known.get(key)
        if way is None:
            way = self._known[key] = route(self._credentials, target)
        if isinstance(way, Answer):
            return way
        topic, environment = way.target.apns_topic, way.target.apns_environment
        return Route(way.credential, Target(target.platform, target.address, topic, environment))


def _obstacle(sheet: _Sheet, item: Item, device: Device | None) -> str | None:
    """Why the device, as it is now, is no longer one that the message is for; None: it is."""
    if device is None:
        return "DeviceGone"
    audience = sheet.message.audience
    if audience.kind is AudienceKind.USERS and (
        device.user_id != item.user_id or device.binding_epoch != item.binding_epoch
    ):
        return "BindingChanged"
    if device.user_id in sheet.excluded:
        return "UserExcluded"
    if audience.platforms and device.target.platform not in audience.platforms:
        return "PlatformExcluded"
    if device.state is not DeviceState.ACTIVE:
        return f"Device{device.state.name.capitalize()}"
    return None


def _jittered(delay: float) -> Micros:
    return int(delay * (1 + JITTER * random.random()) * SECOND)  # noqa: S311 - no secret hangs on it


def _identity(message: Message) -> "blake2b":
    return blake2b(f"{message.app_id}\0{message.message_id}\0".encode(), digest_size=16)


def _provider_message_id(identity: "blake2b", item: Item) -> str:
    """A UUID that stays the same over retries and restarts, so that a provider may know a resend."""
    digest = identity.copy()
    digest.update(f"{item.device_id}\0{item.user_id}".encode())
    text = digest.hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
