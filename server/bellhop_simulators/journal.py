"""What a simulator saw: one entry for each request, in memory and, if asked for, as JSON lines in a file.

A line is written before the answer to its request leaves, in one unbuffered write for each batch of requests, so that
what was answered is on record even after SIGKILL of the simulator. Nothing is left out: provider tokens and device
tokens stand in clear, because this is a tool for tests.

Keys of a line:

- `number`: from 1, over all connections and providers; `time`: seconds since the epoch by the simulator's clock
- `provider`: `apns`, `fcm` or `web_push`; `environment`: of APNs, `production` or `sandbox`; `project`: of FCM;
  `persona`: of Web Push
- `http`: `HTTP/2` or `HTTP/1.1`; `connection`: from 1, over all ports of the provider; `stream`: HTTP/2 stream id, or
  the number of the request on its HTTP/1.1 connection
- `method`, `path`, `headers` (object; of a repeated header the values are joined with `, `)
- `body`: the decoded JSON; `body_text` instead, if it is not JSON, `body_base64`, if it is no text; null if it was not
  read
- `token`: of the device, of APNs in lower case; `topic`: `apns-topic`, topic of FCM or of Web Push; `message_id`: as
  answered; `apns_id`: the same of APNs
- `decrypted`: of Web Push, the text that the browser reads in an accepted message; `undecryptable`: why it reads none
- `accepted`: whether the notification was taken. True with no status means: taken, but the sender was not told
- `status`: as answered, null if nothing was; `reason`: the provider's, or without status one of `REFUSED_STREAM`,
  `GOAWAY`, `MALFORMED` (the stream was not taken), `NO_ANSWER`, `RST_STREAM`, `CONNECTION_RESET`, `CONNECTION_CLOSED`
  (a fault)
- `fault`: name of the fault that was played, or empty
"""

import asyncio
import base64
import json
import os
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bellhop_simulators.http.connection import HttpVersion
from bellhop_simulators.http.request import Header


@dataclass(eq=False, slots=True)
class Entry:
    """One request; the fields are the keys of a line (see the module)."""

    number: int
    time: float
    provider: str
    environment: str | None
    project: str | None
    persona: str | None
    http: HttpVersion
    connection: int
    stream: int
    header_list: list[Header]
    raw_body: bytes | None
    token: str | None
    topic: str | None
    message_id: str
    decrypted: str | None
    undecryptable: str | None
    accepted: bool
    status: int | None
    reason: str
    fault: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers without the pseudo-headers; values of a repeated one joined with `, `."""
        joined: dict[str, str] = {}
        for name, value in self.header_list:
            if not name.startswith(":"):
                joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return joined

    @property
    def body(self) -> Any:
        """The body decoded from JSON; its text if it is not JSON; octets if it is no text; None if it was not read."""
        return self._decoded[1]

    @property
    def apns_id(self) -> str:
        """`message_id` of APNs."""
        return self.message_id if self.provider == "apns" else ""

    @property
    def _decoded(self) -> tuple[str, Any]:
        if self.raw_body is None:
            return "body", None
        try:
            return "body", decode_json(self.raw_body)
        except ValueError:
            pass
        try:
            return "body_text", self.raw_body.decode()
        except UnicodeDecodeError:
            return "body_base64", self.raw_body

    @property
    def method(self) -> str:
        """`:method`."""
        return self._pseudo(":method")

    @property
    def path(self) -> str:
        """`:path`."""
        return self._pseudo(":path")

    def _pseudo(self, name: str) -> str:
        return next((value for candidate, value in self.header_list if candidate == name), "")

    def line(self) -> bytes:
        """The entry as one line of JSON."""
        key, body = self._decoded
        fields: dict[str, Any] = {
            "number": self.number,
            "time": round(self.time, 6),
            "provider": self.provider,
            "environment": self.environment,
            "project": self.project,
            "persona": self.persona,
            "http": self.http,
            "connection": self.connection,
            "stream": self.stream,
            "method": self.method,
            "path": self.path,
            "headers": self.headers,
            key: base64.b64encode(body).decode() if isinstance(body, bytes) else body,
            "token": self.token,
            "topic": self.topic,
            "message_id": self.message_id,
            "apns_id": self.apns_id,
            "decrypted": self.decrypted,
            "undecryptable": self.undecryptable,
            "accepted": self.accepted,
            "status": self.status,
            "reason": self.reason,
            "fault": self.fault,
        }
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def decode_json(raw: bytes) -> Any:
    """Decode JSON in UTF-8, as RFC 8259 has it: no NaN, no Infinity.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(raw.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


@dataclass(eq=False)
class _Waiter:
    missing: int
    fields: dict[str, object]
    future: asyncio.Future[None]


class Journal:
    """Entries of one run.

    `entries` holds the latest `keep` of them; the counters count all: `total`, `accepted`, `by_status` (answers by
    status, None for no answer), `by_reason`.
    """

    def __init__(self, path: Path | None = None, keep: int = 100_000) -> None:
        """Append lines to the file `path`, if given."""
        self.entries: deque[Entry] = deque(maxlen=keep)
        self.total = 0
        self.accepted = 0
        self.by_status: Counter[int | None] = Counter()
        self.by_reason: Counter[str] = Counter()
        self._pending: list[Entry] = []
        self._waiters: list[_Waiter] = []
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Write what is pending and close the file."""
        self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def add(self, entry: Entry) -> None:
        """Take an entry; its line is written by the next `flush`."""
        self.total += 1
        self.accepted += entry.accepted
        self.by_status[entry.status] += 1
        if entry.reason:
            self.by_reason[entry.reason] += 1
        self.entries.append(entry)
        if self._file is not None:
            self._pending.append(entry)
        for waiter in self._waiters:
            if _has(entry, waiter.fields):
                waiter.missing -= 1
                if waiter.missing <= 0 and not waiter.future.done():
                    waiter.future.set_result(None)

    def flush(self) -> None:
        """Write the lines of new entries."""
        if self._pending and self._file is not None:
            data = memoryview(b"".join([entry.line() for entry in self._pending]))
            self._pending.clear()
            while data:
                data = data[os.write(self._file, data) :]

    def find(self, **fields: object) -> list[Entry]:
        """The kept entries whose attributes equal `fields`: `find(token=..., status=410)`."""
        return _matching(self.entries, fields)

    async def wait_for(self, count: int = 1, *, timeout: float = 10.0, **fields: object) -> list[Entry]:
        """Wait until `count` entries with these attributes are there, earlier ones included, and return them.

        Raises:
            TimeoutError: not within `timeout` seconds; says how many there are.
        """
        found = _matching(self.entries, fields)
        if len(found) < count:
            waiter = _Waiter(count - len(found), fields, asyncio.get_running_loop().create_future())
            self._waiters.append(waiter)
            try:
                await asyncio.wait_for(waiter.future, timeout)
            except TimeoutError:
                there = len(_matching(self.entries, fields))
                raise TimeoutError(f"{there} of {count} requests like {fields} after {timeout} s") from None
            finally:
                self._waiters.remove(waiter)
            found = _matching(self.entries, fields)
        return found


def _matching(entries: Iterable[Entry], fields: dict[str, object]) -> list[Entry]:
    return [entry for entry in entries if _has(entry, fields)]


def _has(entry: Entry, fields: dict[str, object]) -> bool:
    return all(getattr(entry, name) == value for name, value in fields.items())
