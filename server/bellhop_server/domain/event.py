"""The steps in the life of a message as a stream tells them. `seq` is the cursor number to go on from."""

from dataclasses import dataclass

from bellhop_server.domain.message import Message, MessageCounts, Result


@dataclass(frozen=True, slots=True)
class AcceptedEvent:
    """Committed; first on every stream."""

    seq: int
    message: Message
    replayed: bool


@dataclass(frozen=True, slots=True)
class ResultsEvent:
    """Final results, new since the event before; `seq` is that of the last one, shown or not."""

    seq: int
    results: list[Result]


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """Numbers so far."""

    seq: int
    counts: MessageCounts


@dataclass(frozen=True, slots=True)
class SummaryEvent:
    """Every device has its result; last on every stream that ends well."""

    seq: int
    message: Message
    counts: MessageCounts


Event = AcceptedEvent | ResultsEvent | ProgressEvent | SummaryEvent
