"""What a profile of the server's event loop says about the stages of a send."""

import pstats
from collections import Counter
from pathlib import Path

_Function = tuple[str, int, str]

# The first that fits the end of a file's path, and the function if one is named. What belongs to none of them is told
# by its package.
_STAGES = (
    ("answers", "providers/http2.py", "data_received"),
    ("answers", "providers/channel.py", "data_received"),
    ("answers", "providers/engine_ngh2.py", "feed"),
    ("answers", "providers/engine_ngh2.py", "events"),
    ("answers", "providers/engine_ngh2.py", "_collect"),
    ("answers", "providers/streams.py", "reply"),
    ("answers", "providers/streams.py", "take_events"),
    ("answers", "providers/apns/outcomes.py", ""),
    ("answers", "app/handover.py", "_report"),
    ("answers", "domain/retry.py", ""),
    ("answers", "app/hygiene.py", ""),
    ("planning", "app/planning.py", ""),
    ("planning", "domain/planning.py", ""),
    ("planning", "store/audience.py", ""),
    ("claiming", "app/delivering.py", ""),
    ("claiming", "domain/lanes.py", ""),
    ("claiming", "store/batches.py", ""),
    ("claiming", "store/batch_rows.py", ""),
    ("fence and its read", "app/fencing.py", ""),
    ("fence and its read", "domain/fence.py", ""),
    ("fence and its read", "store/device_rows.py", ""),
    ("fence and its read", "store/registry.py", ""),
    ("rendering and submitting", "app/handover.py", ""),
    ("rendering and submitting", "domain/routing.py", ""),
    ("recording", "app/recording.py", ""),
    ("recording", "store/results.py", ""),
    ("streaming", "app/watching.py", ""),
    ("rendering and submitting", "/providers/", ""),
    ("streaming", "/bellhop_server/rpc/", ""),
    ("streaming", "/google/protobuf/", ""),
    ("gRPC", "/grpc/", ""),
    ("database drivers", "/sqlalchemy/", ""),
    ("database drivers", "/asyncpg/", ""),
)
_LOOP = "event loop and the rest"
_ROUNDS = 50


def stages(file: Path) -> Counter[str]:
    """CPU seconds by stage. What a library did counts for whoever called it, as far as that is known."""
    # The form that pstats documents no other way to read: function -> (calls, primitive calls, own, all, callers).
    stats = pstats.Stats(str(file)).stats  # type: ignore[attr-defined]
    spent: Counter[str] = Counter()
    left = {function: own for function, (_, _, own, _, _) in stats.items()}
    for _ in range(_ROUNDS):
        handed: Counter[_Function] = Counter()
        for function, seconds in left.items():
            callers = {caller: counts[3] for caller, counts in stats[function][4].items() if caller != function}
            weight = sum(callers.values())
            if (stage := _stage(function)) is not None:
                spent[stage] += seconds
            elif weight <= 0:
                spent[_LOOP] += seconds
            else:
                for caller, part in callers.items():
                    handed[caller] += seconds * part / weight
        left = dict(handed)
    spent[_LOOP] += sum(left.values())
    return spent


def _stage(function: _Function) -> str | None:
    path, _, name = function
    for stage, place, only in _STAGES:
        if (path.endswith(place) or (place.endswith("/") and place in path)) and only in ("", name):
            return stage
    _, inside, rest = path.partition("/bellhop_server/")
    return rest.partition("/")[0] if inside else None
