"""Batches: up to 125 items of a message, the unit that a worker claims, hands over and reports on."""

from dataclasses import dataclass, field

from bellhop_server.domain import Micros
from bellhop_server.domain.message import Result

# Small enough that a lane can have several begun at once and yet leave no more than DOUBT devices in doubt when it is
# killed, large enough that what each costs is shared by many.
BATCH_SIZE = 125
DOUBT = 500


@dataclass(slots=True)
class Item:
    """One device of a message as it was planned.

    `by_user`: found by its user, in a message that is not for users alone.
    `target_digest`: the first 16 hexadecimal digits of the digest of its target.
    `user_id` empty: anonymous. `attempts` counts hand-overs, `doubts` those of unknown end, `unsent` the tries that
    came to none; `obstacle` and `obstacle_status` are the last word of what kept it from being final.
    """

    device_id: str
    user_id: str
    binding_epoch: int
    target_digest: str
    platform: int
    attempts: int = 0
    doubts: int = 0
    unsent: int = 0
    obstacle: str = ""
    obstacle_status: int = 0
    by_user: bool = False


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to be written. `turn`: its place in its lane, a time; for a `retry`, the time when it is due."""

    items: list[Item]
    turn: Micros
    priority: int
    retry: bool = False


@dataclass(frozen=True, slots=True)
class ClaimedBatch:
    """A batch under a lease.

    `lease` is the token that every later write of the holder must match. `interruptions`: how many before us had begun
    to hand it over and did not end it, so that an item without a result may have left as often.
    """

    batch_id: int
    message_ref: int
    app_id: str
    lease: str
    interruptions: int
    priority: int
    items: list[Item]

    @property
    def in_doubt(self) -> bool:
        """Whether an item without a result may have left."""
        return self.interruptions > 0


@dataclass(slots=True)
class BatchReport:
    """What a worker has to say of a batch it holds: final results so far and, at the end, what is to be tried again.

    `done` deletes the batch and writes `again` in the same transaction.
    """

    batch_id: int
    message_ref: int
    lease: str
    results: list[Result] = field(default_factory=list)
    done: bool = False
    again: list[NewBatch] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a report: `first_seq` is the cursor number of its first result.

    `lost`: the lease was no longer ours, nothing was written. `completed`: the message has all its results now.
    """

    message_ref: int
    first_seq: int
    results: list[Result]
    completed: bool
    lost: bool = False
