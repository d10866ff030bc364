"""Doubles at the ports, for tests of the use cases: a store of one message's worth, a provider that plays a script."""

import asyncio
from collections.abc import Callable, Sequence

from bellhop_server.domain import DAY, SECOND, Micros
from bellhop_server.domain.application import ApnsCredential, Credential, ProbeResult
from bellhop_server.domain.batch import BatchReport, ClaimedBatch, Item, Recorded
from bellhop_server.domain.delivery import Answer, Chunk, Reading, Verdict
from bellhop_server.domain.device import DeadTarget, Device, DeviceFacts, DeviceState, Found, Platform, Target
from bellhop_server.domain.errors import ServiceUnavailable
from bellhop_server.domain.message import Audience, AudienceKind, Message, MessageState, Result, SendOptions
from bellhop_server.domain.notification import Notification, Priority

NOW: Micros = 1_800_000_000 * SECOND

CREDENTIAL = Credential(
    "shop", "apns", Platform.APNS, 1, 0, ApnsCredential("KEY1234567", "TEAM123456", "pem", ("com.example.shop",))
)


class FakeClock:
    """Stands still until it is told to move; sleeping moves it."""

    def __init__(self) -> None:
        self.micros = NOW
        self.slept: list[float] = []

    def now(self) -> Micros:
        return self.micros

    def monotonic(self) -> float:
        return self.micros / SECOND

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.micros += int(seconds * SECOND)
        await asyncio.sleep(0)


def device(device_id: str, user_id: str | None = "anna", *, epoch: int = 1, **changes: object) -> Device:
    return Device(
        **{
            "app_id": "shop",
            "device_id": device_id,
            "user_id": user_id,
            "binding_epoch": epoch,
            "target": Target(Platform.APNS, f"{device_id}ab"),
            "facts": DeviceFacts(),
            "state": DeviceState.ACTIVE,
            "register_time": NOW - DAY,
            "bind_time": NOW - DAY,
            "update_time": NOW - DAY,
            "target_time": NOW - DAY,
            "target_accepted": True,
            **changes,
        }
    )


def message(audience: Audience | None = None, options: SendOptions | None = None, **changes: object) -> Message:
    options = options or SendOptions()
    return Message(
        **{
            "ref": 1,
            "app_id": "shop",
            "message_id": "m1",
            "request_id": "",
            "state": MessageState.SENDING,
            "accept_time": NOW,
            "expire_time": NOW + options.ttl,
            "complete_time": None,
            "audience": audience or Audience(AudienceKind.USERS, ("anna",)),
            "notification": Notification(title="Hello"),
            "options": options,
            **changes,
        }
    )


def found(device: Device) -> Found:
    """The device as a hand-over reads it."""
    return Found(
        device.device_id,
        device.user_id,
        device.binding_epoch,
        device.binding_expire_time,
        device.state,
        device.target.platform,
        device.target.address,
        device.target.digest.hex(),
        device.target.supplement,
        device.target.apns_topic,
        device.target.apns_environment,
        device.target.vapid_public_key,
        device.target_time,
        device.target_accepted,
        device.refused_since,
        None if device.sealed_binding_key is None else device.sealed_binding_key.hex(),
    )


def batch_of(devices: Sequence[Device], **changes: object) -> ClaimedBatch:
    items = [
        Item(each.device_id, each.user_id or "", each.binding_epoch, each.target.digest.hex()[:16], Platform.APNS)
        for each in devices
    ]
    return ClaimedBatch(
        **{
            "batch_id": 1,
            "message_ref": 1,
            "app_id": "shop",
            "lease": "lease",
            "interruptions": 0,
            "priority": Priority.NORMAL,
            "items": items,
            **changes,
        }
    )


class FakeStore:
    """What a batch needs of a store. `log` tells the order in which things were asked."""

    def __init__(self, sent: Message, devices: Sequence[Device] = ()) -> None:
        self.message = sent
        self.devices = {each.device_id: each for each in devices}
        self.credentials = [CREDENTIAL]
        self.already: set[tuple[str, str]] = set()
        self.cancelled = False
        self.leased = True
        self.away = 0
        self.log: list[str] = []
        self.reports: list[BatchReport] = []
        self.retired: list[DeadTarget] = []
        self.accepted: list[tuple[str, bytes]] = []
        self.seq = 0

    @property
    def results(self) -> list[Result]:
        return [result for report in self.reports for result in report.results]

    def _ask(self, what: str) -> None:
        self.log.append(what)
        if self.away:
            self.away -= 1
            raise ServiceUnavailable("store")

    async def get_message_by_ref(self, ref: int) -> Message:
        return self.message

    async def reported(self, batch: ClaimedBatch) -> set[tuple[str, str]]:
        self.log.append("reported")
        return self.already

    async def start(self, batch_id: int, lease: str, now: Micros, lease_until: Micros) -> bool:
        self.log.append("start")
        return self.leased

    async def read_present(self, app_id: str, message_ref: int, device_ids: Sequence[str]) -> Reading:
        self._ask("read")
        devices = {key: found(self.devices[key]) for key in device_ids if key in self.devices}
        return Reading(devices, self.cancelled, self.credentials)

    async def record(self, reports: Sequence[BatchReport], now: Micros) -> list[Recorded]:
        self._ask("record")
        told = []
        for report in reports:
            if self.leased:
                self.reports.append(report)
            told.append(Recorded(report.message_ref, self.seq + 1, report.results, False, lost=not self.leased))
            self.seq += len(report.results)
        return told

    async def retire_targets(self, app_id: str, dead: Sequence[DeadTarget]) -> int:
        self.log.append("retire")
        self.retired += dead
        return len(dead)

    async def mark_accepted(self, app_id: str, taken: Sequence[tuple[str, bytes]]) -> None:
        self.log.append("accepted")
        self.accepted += taken


class FakeProvider:
    """Answers by device token; ACCEPTED where nothing else is said."""

    platform = Platform.APNS

    def __init__(self, store: FakeStore) -> None:
        self._store = store
        self.answers: dict[str, Answer] = {}
        self.chunks: list[Chunk] = []
        self.fault: Exception | None = None

    async def send(
        self, chunk: Chunk, report: Callable[[int, Answer], None], handed_over: Callable[[int], None]
    ) -> None:
        self._store.log.append("send")
        self.chunks.append(chunk)
        for index, delivery in enumerate(chunk.deliveries):
            if self.fault is not None and index == 1:
                raise self.fault
            accepted = Answer(Verdict.ACCEPTED, 200, "", delivery.provider_message_id)
            report(index, self.answers.get(delivery.address, accepted))

    async def probe(self, credential: Credential) -> ProbeResult:
        return ProbeResult(True, "", 0)
