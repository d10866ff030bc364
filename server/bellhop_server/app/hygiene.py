"""Token hygiene: dead targets go, live ones stay."""

import logging
from collections import defaultdict
from collections.abc import Sequence

from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.domain.device import DeadTarget, Found, Platform
from bellhop_server.domain.guard import WINDOW, DeletionGuard
from bellhop_server.ports import Clock, Store

_log = logging.getLogger(__name__)


class Hygiene:
    """Judges what providers say of targets, for each application and network."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._guards: dict[tuple[str, Platform], DeletionGuard[DeadTarget]] = defaultdict(DeletionGuard)

    def note_accepted(self, app_id: str, platform: Platform, count: int) -> None:
        """A provider took pushes for so many targets that had worked before."""
        guard = self._guards[app_id, platform]
        for _ in range(min(count, WINDOW)):
            guard.note(bad=False)

    async def note_dead(self, app_id: str, refusals: Sequence[tuple[Found, Answer]]) -> None:
        """A provider called these targets dead; retires those of which that is certain enough by now.

        A 410 says since when: a target that was presented later than that is a new one and stays. It is compared as
        it was when it was handed over, so an answer that comes late never retires what was registered meanwhile.
        """
        retired: list[DeadTarget] = []
        doubted: list[DeadTarget] = []
        for device, answer in refusals:
            dead = DeadTarget(device.device_id, bytes.fromhex(device.target_digest), device.target_time)
            if answer.verdict is Verdict.TOKEN_DOUBTED:
                doubted.append(dead)
                continue
            if answer.verdict is Verdict.TOKEN_GONE_SINCE:
                if not answer.invalid_since or device.target_time < answer.invalid_since:
                    retired.append(dead)
                continue
            guard = self._guards[app_id, Platform(device.platform)]
            if device.target_accepted:
                guard.note(bad=True)
            guard.hold(dead)
        for platform in Platform:
            if (app_id, platform) not in self._guards:
                continue
            guard = self._guards[app_id, platform]
            if guard.ready and guard.tripped:
                _log.warning("so many targets are refused that none is retired", extra=_where(app_id, platform))
            retired += guard.release()
        await self._note(app_id, retired, doubted)

    async def _note(self, app_id: str, retired: list[DeadTarget], doubted: list[DeadTarget]) -> None:
        try:
            if retired:
                await self._store.retire_targets(app_id, retired)
            if doubted:
                await self._store.note_refusals(app_id, doubted, self._clock.now())
        except Exception:
            # The results say what the provider said all the same; the next send meets the same answer.
            _log.warning("dead targets could not be retired", extra={"app_id": app_id}, exc_info=True)


def _where(app_id: str, platform: Platform) -> dict[str, str]:
    return {"app_id": app_id, "platform": platform.name}
