"""Token hygiene: dead targets go, live ones stay."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Awaitable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.domain.device import DeadTarget, Found, Platform
from bellhop_server.domain.guard import DeletionGuard
from bellhop_server.ports import Clock, Store

# Of one application. Of more than that some are met again by the next message.
MOST_SUSPECTS = 10_000
# In one statement.
RETIRED_AT_ONCE = 500
# Seconds between two looks at whether a round is over.
LOOK = 0.5

_log = logging.getLogger(__name__)


class _Suspect(NamedTuple):
    """A target that a provider called bad without a proof, and that is to be judged. `doubted`: once does not do."""

    platform: Platform
    target: DeadTarget
    doubted: bool


class Hygiene:
    """Judges what providers say of targets, for each application and network."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._guards: dict[tuple[str, Platform], DeletionGuard] = defaultdict(DeletionGuard)
        self._suspects: dict[str, dict[str, _Suspect]] = defaultdict(dict)
        self._suspecting = asyncio.Event()

    async def run(self) -> None:
        """Retires what is judged, until cancelled."""
        while True:
            await self._suspecting.wait()
            await self._clock.sleep(LOOK)
            await self.judge()

    def suspects(self, app_id: str) -> Collection[str]:
        """The devices whose targets wait to be judged, now and later: who reads it has to say which are `cleared`."""
        return self._suspects[app_id].keys()

    async def note(
        self,
        app_id: str,
        accepted: Mapping[int, int],
        refused: Sequence[tuple[Found, Answer]],
        cleared: Sequence[str],
    ) -> None:
        """What a batch has heard. `accepted`: by network, how many targets took a push that had taken one before;
        `refused`: those that a provider called dead; `cleared`: devices that were suspected and have taken a push.

        Retires those of which it is certain. A 410 says since when: a target that was presented later than that is a
        new one and stays. It is compared as it was when it was handed over, so an answer that comes late never retires
        what was registered meanwhile.
        """
        retired: list[DeadTarget] = []
        suspected: list[tuple[str, _Suspect]] = []
        bad: Counter[int] = Counter()
        for device, answer in refused:
            dead = DeadTarget(device.device_id, bytes.fromhex(device.target_digest), device.target_time)
            if answer.verdict is Verdict.TOKEN_GONE_SINCE:
                if not answer.invalid_since or device.target_time < answer.invalid_since:
                    retired.append(dead)
                continue
            doubted = answer.verdict is Verdict.TOKEN_DOUBTED
            suspected.append((device.device_id, _Suspect(Platform(device.platform), dead, doubted)))
            bad[device.platform] += device.target_accepted
        for platform in accepted.keys() | bad.keys():
            self._count(app_id, Platform(platform), accepted.get(platform, 0), bad[platform])
        suspects = self._suspects[app_id]
        for device_id in cleared:
            suspects.pop(device_id, None)
        if suspected:
            suspects.update(suspected[: max(0, MOST_SUSPECTS - len(suspects))])
            self._suspecting.set()
        await self._retire(app_id, retired)

    async def judge(self) -> None:
        """Retires the suspects of rounds that are over, or lets them live. Of those that are doubted one more refusal
        is noted, which may be their last.
        """
        now = self._clock.monotonic()
        for (app_id, platform), guard in list(self._guards.items()):
            if not guard.over(now):
                continue
            trusted = guard.trusted
            guard.start_over()
            found = self._dismiss(app_id, platform)
            if trusted:
                await self._retire(app_id, [each.target for each in found if not each.doubted])
                await self._doubt(app_id, [each.target for each in found if each.doubted])
            elif found:
                where = {"app_id": app_id, "platform": platform.name}
                _log.warning("so many targets are refused that none is retired", extra=where)
        if not any(self._suspects.values()):
            self._suspecting.clear()

    def _count(self, app_id: str, platform: Platform, good: int, bad: int) -> None:
        guard, now = self._guards[app_id, platform], self._clock.monotonic()
        if guard.over(now) and not any(each.platform is platform for each in self._suspects[app_id].values()):
            guard.start_over()
        guard.note(good, bad, now)

    def _dismiss(self, app_id: str, platform: Platform) -> list[_Suspect]:
        """Nobody of that network is suspected any more; returns who was."""
        suspects = self._suspects[app_id]
        names = [name for name, suspect in suspects.items() if suspect.platform is platform]
        return [suspects.pop(name) for name in names]

    async def _retire(self, app_id: str, dead: Sequence[DeadTarget]) -> None:
        for some in _pieces(dead):
            await _tried(app_id, self._store.retire_targets(app_id, some))

    async def _doubt(self, app_id: str, doubted: Sequence[DeadTarget]) -> None:
        for some in _pieces(doubted):
            await _tried(app_id, self._store.note_refusals(app_id, some, self._clock.now()))


def _pieces(targets: Sequence[DeadTarget]) -> Iterator[Sequence[DeadTarget]]:
    for first in range(0, len(targets), RETIRED_AT_ONCE):
        yield targets[first : first + RETIRED_AT_ONCE]


async def _tried(app_id: str, write: Awaitable[object]) -> None:
    try:
        await write
    except Exception:
        # The results say what the provider said all the same; the next send meets the same answer.
        _log.warning("dead targets could not be retired", extra={"app_id": app_id}, exc_info=True)
