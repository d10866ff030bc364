"""What is committed, seen past the store: rows of the database, read after every transaction."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from bellhop_server.domain import Micros
from bellhop_server.domain.device import DeviceState
from bellhop_server.domain.message import MessageState, Outcome
from bellhop_server.store.batch_rows import unpack

Rows = Callable[[str], Awaitable[list[tuple[Any, ...]]]]

# Written into each message, so that its row says which send it was.
LABEL = re.compile(r"send-\d+")

_DEVICES = """SELECT app_id, device_id, user_id, session_id, binding_epoch, address, state, binding_expire_time
    FROM devices"""
_MESSAGES = """SELECT ref, app_id, message_id, request_id, state, accept_time, fire_time, complete_time, cancel_time,
    planned, device_count, finished_count, not_registered_count, result_seq FROM messages"""


class DeviceRow(NamedTuple):
    """A device as it is stored."""

    user_id: str | None
    session_id: str
    epoch: int
    address: str
    state: DeviceState
    expire_time: Micros | None


class MessageRow(NamedTuple):
    """A message as it is stored."""

    ref: int
    app_id: str
    message_id: str
    request_id: str
    state: MessageState
    accept_time: Micros
    fire_time: Micros
    complete_time: Micros | None
    cancel_time: Micros | None
    planned: bool
    device_count: int
    finished_count: int
    not_registered_count: int
    result_seq: int

    @property
    def over(self) -> bool:
        return self.state in (MessageState.COMPLETED, MessageState.CANCELLED)


class ResultRow(NamedTuple):
    """A result as it is stored."""

    seq: int
    device_id: str
    user_id: str
    platform: int
    outcome: Outcome
    attempts: int
    result_time: Micros


class Planned(NamedTuple):
    """A device of a message, as it was planned."""

    device_id: str
    user_id: str
    epoch: int


class Picture:
    """Everything that is committed by now. What cannot have changed is not read again."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.devices: dict[tuple[str, str], DeviceRow] = {}
        self.messages: dict[int, MessageRow] = {}
        self.results: dict[int, list[ResultRow]] = {}
        self.planned: dict[int, dict[tuple[str, str], Planned]] = {}
        self.labels: dict[int, str] = {}

    async def look(self) -> None:
        """Reads what has changed."""
        devices = await self._rows(_DEVICES)
        self.devices = {
            (app_id, device_id): DeviceRow(user_id, session_id, epoch, address, DeviceState(state), expire_time)
            for app_id, device_id, user_id, session_id, epoch, address, state, expire_time in devices
        }
        before = self.messages
        self.messages = {
            row[0]: MessageRow(*row[:4], MessageState(row[4]), *row[5:9], bool(row[9]), *row[10:])
            for row in await self._rows(_MESSAGES)
        }
        for ref, message in self.messages.items():
            known = before.get(ref)
            if known is None:
                [(body,)] = await self._rows(f"SELECT body FROM payloads WHERE message_ref = {ref}")
                found = LABEL.search(body)
                assert found is not None
                self.labels[ref] = found.group()
            if message.device_count != (0 if known is None else known.device_count):
                await self._look_at_plan(ref)
            seq = 0 if known is None else known.result_seq
            if message.result_seq != seq:
                await self._look_at_results(ref, seq)

    async def _look_at_plan(self, ref: int) -> None:
        plan = self.planned.setdefault(ref, {})
        for (items,) in await self._rows(f"SELECT items FROM batches WHERE message_ref = {ref}"):
            for item in unpack(items):
                one = Planned(item.device_id, item.user_id, item.binding_epoch)
                plan.setdefault((item.device_id, item.user_id), one)

    async def _look_at_results(self, ref: int, after: int) -> None:
        found = await self._rows(
            f"""SELECT seq, device_id, user_id, platform, outcome, attempts, result_time FROM results
                WHERE message_ref = {ref} AND seq > {after} ORDER BY seq"""
        )
        self.results.setdefault(ref, []).extend(
            ResultRow(seq, device_id, user_id, platform, Outcome(outcome), attempts, result_time)
            for seq, device_id, user_id, platform, outcome, attempts, result_time in found
        )

    async def counted(self) -> dict[int, dict[Outcome, int]]:
        """The numbers that the server keeps of each message's results."""
        found: dict[int, dict[Outcome, int]] = {}
        for ref, outcome, count in await self._rows(
            "SELECT message_ref, outcome, SUM(count) FROM outcome_counts GROUP BY message_ref, outcome"
        ):
            found.setdefault(ref, {})[Outcome(outcome)] = int(count)
        return found

    async def left_to_do(self) -> dict[int, list[tuple[str, str]]]:
        """(device, user) of each message that are still in batches."""
        found: dict[int, list[tuple[str, str]]] = {}
        for ref, items in await self._rows("SELECT message_ref, items FROM batches"):
            found.setdefault(ref, []).extend((item.device_id, item.user_id) for item in unpack(items))
        return found


def sent_by(send: Any) -> str:
    """The label that is written into a send."""
    found = LABEL.search(json.dumps(send.notification.title))
    assert found is not None
    return found.group()
