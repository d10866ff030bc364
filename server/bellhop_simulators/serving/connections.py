"""The connections of a simulator: how many, how fast, and how they end."""

from dataclasses import dataclass

from bellhop_simulators.faults.actions import Goaway
from bellhop_simulators.faults.playback import send_goaway
from bellhop_simulators.http.connection import Connection
from bellhop_simulators.http2.frames import MAX_STREAM_ID


@dataclass(eq=False, slots=True)
class ConnectionRecord:
    """One connection; times in seconds since the epoch by the simulator's clock, `closed` None while it is open."""

    number: int
    environment: str
    opened: float
    wire: Connection
    closed: float | None = None
    requests: int = 0
    limit_hold: object | None = None
    """Of the fault that holds the limit, if one does: each time it is played another."""


class Connections:
    """All connections of a run, in the order in which they came."""

    def __init__(self) -> None:
        self.records: list[ConnectionRecord] = []

    def __len__(self) -> int:
        return len(self.records)

    def add(self, environment: str, opened: float, wire: Connection) -> ConnectionRecord:
        """Number a new connection."""
        record = ConnectionRecord(len(self.records) + 1, environment, opened, wire)
        self.records.append(record)
        return record

    @property
    def open(self) -> list[ConnectionRecord]:
        """Those that are open."""
        return [record for record in self.records if record.closed is None]

    def busiest(self, seconds: float = 60.0) -> int:
        """The most connections that were opened within `seconds`: Apple takes many for an attack."""
        most = start = 0
        for end, record in enumerate(self.records):
            while record.opened - self.records[start].opened >= seconds:
                start += 1
            most = max(most, end - start + 1)
        return most

    def goaway(self, goaway: Goaway, now: float) -> None:
        """Send it to all that are open."""
        for record in self.open:
            last = MAX_STREAM_ID if goaway.last_stream == "all" else record.wire.highest
            send_goaway(record.wire, goaway, last, goaway.debug_data(now))

    def disconnect(self, *, reset: bool) -> None:
        """End all that are open without GOAWAY, in order or with a TCP reset."""
        for record in self.open:
            if reset:
                record.wire.reset()
            else:
                record.wire.close()
