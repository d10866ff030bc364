"""The connections of a simulator: how many, how fast, and what each fixed for its requests."""

from dataclasses import dataclass, field

from bellhop_simulators.apns.provider_tokens import Session
from bellhop_simulators.http2.server_connection import ServerConnection


@dataclass(eq=False, slots=True)
class ConnectionRecord:
    """One connection; times in seconds since the epoch by the simulator's clock, `closed` None while it is open."""

    number: int
    environment: str
    opened: float
    wire: ServerConnection
    closed: float | None = None
    requests: int = 0
    session: Session = field(default_factory=Session)
    rejected: bool = False
    """Whether the latest of its answers with 200, 400 or 403 was a rejection."""
    limit_hold: object | None = None
    """Of the fault that holds the limit, if one does: each time it is played another."""


class Connections:
    """All connections of a run, in the order in which they came."""

    def __init__(self) -> None:
        self.records: list[ConnectionRecord] = []

    def __len__(self) -> int:
        return len(self.records)

    def add(self, environment: str, opened: float, wire: ServerConnection) -> ConnectionRecord:
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
