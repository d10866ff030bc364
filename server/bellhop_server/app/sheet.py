"""The sheet of a batch: what becomes of each of its devices."""

from collections import defaultdict
from collections.abc import Collection

from bellhop_server.app.brief import Brief
from bellhop_server.app.recording import Ledger
from bellhop_server.domain import Micros
from bellhop_server.domain.batch import ClaimedBatch, Item
from bellhop_server.domain.delivery import Answer
from bellhop_server.domain.device import Found
from bellhop_server.domain.message import Outcome, Result
from bellhop_server.domain.retry import decide


class Sheet:
    """Takes answers and turns them into results, which the ledger has at once, or into further attempts."""

    __slots__ = ("_suspects", "again", "batch", "brief", "cleared", "ledger", "proven", "refusals", "refused", "taken")

    def __init__(self, batch: ClaimedBatch, brief: Brief, ledger: Ledger, suspects: Collection[str] = ()) -> None:
        """`suspects`: devices whose targets a provider has called bad before."""
        self.batch = batch
        self.brief = brief
        self.ledger = ledger
        self._suspects = suspects
        self.again: dict[float, list[Item]] = defaultdict(list)
        """By the seconds after which they are tried again."""
        self.refused: list[tuple[Found, Answer]] = []
        self.refusals: list[Result] = []
        """Results of dead targets, told only once the device has been retired."""
        self.taken: list[tuple[str, bytes]] = []
        """Devices, with their target's digest, of which a provider has taken a push for the first time, or again after
        it had refused one."""
        self.proven: dict[int, int] = defaultdict(int)
        """By network: how many that had taken one before did so again."""
        self.cleared: list[str] = []
        """Suspects who took one."""

    def withhold(self, item: Item, outcome: Outcome, reason: str, status: int, now: Micros) -> None:
        """A result without a hand-over."""
        if item.doubts:
            # An earlier attempt may have arrived, and nothing that is known now undoes that.
            outcome = Outcome.UNKNOWN
        self.ledger.add(
            Result(item.device_id, item.user_id, item.platform, outcome, reason, status, "", item.attempts, now, 0)
        )

    def answered(self, item: Item, device: Found, answer: Answer, now: Micros) -> None:
        """A hand-over has ended."""
        outcome = decide(item, answer, self.brief.terms(item.platform), now)
        if isinstance(outcome, float):
            self.again[outcome].append(item)
            return
        result = Result(
            item.device_id,
            item.user_id,
            device.platform,
            outcome,
            answer.reason,
            answer.status,
            answer.provider_message_id,
            item.attempts,
            now,
            answer.invalid_since,
        )
        if outcome is Outcome.ACCEPTED:
            if device.device_id in self._suspects:
                self.cleared.append(device.device_id)
            if device.target_accepted and device.refused_since is None:
                self.proven[device.platform] += 1
            else:
                self.taken.append((device.device_id, bytes.fromhex(device.target_digest)))
        elif outcome is Outcome.TOKEN_INVALID or outcome is Outcome.TOKEN_MISMATCH:
            self.refused.append((device, answer))
            self.refusals.append(result)
            return
        self.ledger.add(result)
