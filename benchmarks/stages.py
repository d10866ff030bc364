"""What the samples of the server's event loop say about the stages of a send."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

Samples = Iterable[tuple[float, list[tuple[str, str]]]]
"""CPU seconds, and the stack from the inside out: file and function."""

# The first that fits the file and, if one is named, the function. What fits none of them is told by its package.
_STAGES = (
    ("planning", "app/planning.py", ""),
    ("planning", "domain/planning.py", ""),
    ("planning", "store/audience.py", ""),
    ("claiming", "app/delivering.py", ""),
    ("claiming", "domain/lanes.py", ""),
    ("claiming", "store/batches.py", ""),
    ("claiming", "store/batch_rows.py", ""),
    ("fence and its read", "app/fencing.py", ""),
    ("fence and its read", "domain/fence.py", ""),
    ("fence and its read", "app/sorting.py", ""),
    ("fence and its read", "app/brief.py", ""),
    ("fence and its read", "store/presence.py", ""),
    ("fence and its read", "store/device_rows.py", ""),
    ("answers: outcome", "app/sheet.py", ""),
    ("answers: outcome", "app/doubt.py", ""),
    ("answers: outcome", "domain/guard.py", ""),
    ("answers: outcome", "app/hygiene.py", ""),
    ("answers: outcome", "domain/retry.py", ""),
    ("answers: outcome", "providers/apns/outcomes.py", ""),
    ("answers: outcome", "providers/flight.py", "done"),
    ("answers: outcome", "providers/flight.py", "_finish"),
    ("answers: outcome", "errand.py", "accepted"),
    ("answers: outcome", "providers/outage.py", ""),
    ("answers: HTTP/2", "providers/engine_ngh2.py", "feed"),
    ("answers: HTTP/2", "providers/engine_ngh2.py", "_collect"),
    ("answers: HTTP/2", "providers/http2.py", "_handle"),
    ("answers: HTTP/2", "providers/streams.py", "reply"),
    ("answers: HTTP/2", "providers/streams.py", "_status"),
    ("TLS and sockets", "providers/channel.py", ""),
    ("rendering", "app/handover.py", ""),
    ("rendering", "domain/routing.py", ""),
    ("rendering", "providers/apns/", ""),
    ("rendering", "providers/fcm/", ""),
    ("rendering", "providers/webpush/", ""),
    ("rendering", "providers/flight.py", "request"),
    ("submitting: HTTP/2", "bellhop_server/providers/", ""),
    ("recording", "app/recording.py", ""),
    ("recording", "store/results.py", ""),
    ("streaming", "app/watching.py", ""),
    ("streaming", "domain/event.py", ""),
    ("streaming", "bellhop_server/rpc/", ""),
    ("gRPC", "/grpc/", ""),
    ("database drivers", "/sqlalchemy/", ""),
    ("database drivers", "/asyncpg/", ""),
)
_SHELL = ("main.py", "profiled.py")
_REST = "uvloop and what it calls"


def stages(samples: Samples) -> Counter[str]:
    """CPU seconds by stage. What a library did counts for whoever of us called it."""
    spent: Counter[str] = Counter()
    for seconds, stack in samples:
        spent[next(filter(None, (_stage(*call) for call in stack)), _REST)] += seconds
    return spent


def functions(samples: Samples) -> Counter[str]:
    """CPU seconds by innermost function, C called from it included."""
    spent: Counter[str] = Counter()
    for seconds, stack in samples:
        path, name = stack[0] if stack else ("", "")
        spent["/".join((*Path(path).parts[-2:], name))] += seconds
    return spent


def _stage(path: str, name: str) -> str | None:
    for stage, place, only in _STAGES:
        if place in path and only in ("", name):
            return stage
    _, ours, rest = path.partition("/bellhop_server/")
    return None if not ours or rest in _SHELL else rest
