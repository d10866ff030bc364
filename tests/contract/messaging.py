"""What the tests of messages, batches and results begin with."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bellhop_server.domain import DAY
from bellhop_server.domain.batch import BatchReport, ClaimedBatch, Item, NewBatch, Recorded
from bellhop_server.domain.device import DeviceState, Platform, user_key
from bellhop_server.domain.lanes import Share
from bellhop_server.domain.message import Audience, AudienceKind, Message, Outcome, Result, Send, SendOptions
from bellhop_server.domain.notification import Notification, Priority
from bellhop_server.domain.planning import AudiencePage
from bellhop_server.domain.query import ResultQuery
from bellhop_server.store.bulk import insert_many
from bellhop_server.store.database import Database
from bellhop_server.store.sql_store import SqlStore
from bellhop_server.store.tables import devices

APP = "shop"
NOW = 1_000 * DAY
LEASE = NOW + DAY

_COLUMNS = (
    "app_id",
    "device_id",
    "user_id",
    "user_key",
    "binding_epoch",
    "platform",
    "address",
    "target_digest",
    "locale",
    "time_zone",
    "app_version",
    "attributes",
    "state",
    "register_time",
    "update_time",
    "target_time",
    "target_accepted",
)


class Known(NamedTuple):
    """A device that shall be there."""

    device_id: str
    user_id: str | None = None
    platform: Platform = Platform.APNS
    state: DeviceState = DeviceState.ACTIVE
    epoch: int = 1
    app_id: str = APP

    @property
    def digest(self) -> bytes:
        """Of its target."""
        return hashlib.sha256(f"{self.app_id} {self.device_id}".encode()).digest()

    @property
    def item(self) -> Item:
        """How it is planned."""
        return Item(self.device_id, self.user_id or "", self.epoch, self.digest.hex()[:16], self.platform)


async def put_devices(database: Database, known: Iterable[Known]) -> None:
    """Writes devices past the registry."""
    rows = [
        (
            device.app_id,
            device.device_id,
            device.user_id,
            None if device.user_id is None else user_key(device.user_id),
            device.epoch,
            int(device.platform),
            device.device_id,
            device.digest,
            "",
            "",
            "",
            "{}",
            int(device.state),
            0,
            0,
            0,
            False,
        )
        for device in known
    ]
    await database.write(lambda connection: insert_many(connection, devices, _COLUMNS, rows))


def send(
    request_id: str = "",
    message_id: str = "",
    *,
    app_id: str = APP,
    title: str = "Hello",
    priority: Priority = Priority.NORMAL,
    audience: Audience | None = None,
    schedule_time: int | None = None,
) -> Send:
    """A send to everyone."""
    return Send(
        app_id=app_id,
        audience=audience or Audience(AudienceKind.EVERYONE),
        notification=Notification(title=title),
        options=SendOptions(priority=priority, schedule_time=schedule_time),
        request_id=request_id,
        message_id=message_id,
    )


async def accepted(
    store: SqlStore,
    message_id: str = "m1",
    *,
    request_id: str = "",
    priority: Priority = Priority.NORMAL,
    now: int = NOW,
) -> Message:
    """A message that is there now."""
    return (await store.accept(send(request_id, priority=priority), "mark", message_id, now)).message


def items(*device_ids: str) -> list[Item]:
    """Anonymous devices as they are planned."""
    return [Known(device_id).item for device_id in device_ids]


async def planned(store: SqlStore, message: Message, *batches: Sequence[str], now: int = NOW) -> Recorded:
    """Plans a message wholly, in batches of these devices."""
    new = [NewBatch(items(*device_ids), now, message.options.priority) for device_ids in batches]
    page = AudiencePage([item for batch in new for item in batch.items], [], None)
    return await store.add_plan(message.ref, "", page, new, now)


async def claimed(
    store: SqlStore, worker: str = "w1", now: int = NOW, limit: int = 100, *, until: int | None = None
) -> list[ClaimedBatch]:
    """Batches under a lease that outlives the test unless told, up to so many of each lane."""
    shares = [Share(lane, 10**6, limit) for lane in (await store.survey(now, ())).lanes]
    return await store.claim(worker, now, now + DAY if until is None else until, shares, ())


def result(device_id: str, outcome: Outcome = Outcome.ACCEPTED, *, user_id: str = "", reason: str = "") -> Result:
    """What became of one device."""
    return Result(device_id, user_id, Platform.APNS, outcome, reason, 200, f"id-{device_id}", 1, NOW, 0)


def missing(device_id: str = "", user_id: str = "", reason: str = "UnknownDevice") -> Result:
    """A named id without a device to send to, as a page of an audience tells it."""
    return Result(device_id, user_id, 0, Outcome.NOT_REGISTERED, reason, 0, "", 0, 0, 0)


async def completed(store: SqlStore, message_id: str, now: int = NOW, *, request_id: str = "") -> Message:
    """A message with two results that completed at `now`."""
    message = await accepted(store, message_id, request_id=request_id, now=now)
    await planned(store, message, ["d1", "d2"], now=now)
    [batch] = await claimed(store, now=now)
    report = BatchReport(batch.batch_id, message.ref, batch.lease, [result("d1"), result("d2")], done=True)
    [recorded] = await store.record([report], now)
    assert recorded.completed
    return message


def report(batch: ClaimedBatch, *results: Result, done: bool = False, again: tuple[NewBatch, ...] = ()) -> BatchReport:
    """What the holder of a batch says of it."""
    return BatchReport(batch.batch_id, batch.message_ref, batch.lease, list(results), done, list(again))


async def results_of(store: SqlStore, message: Message) -> list[tuple[int, Result]]:
    """All results of a message with their numbers."""
    return await store.list_results(ResultQuery(message.ref), 0, 100_000)
