"""What people see of a message: progress while it streams, a table and the failures at the end."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bellhop.v1.device_pb2 import Platform
from bellhop.v1.event_pb2 import SendEvent, Summary
from bellhop.v1.message_pb2 import (
    MESSAGE_STATE_CANCELLED,
    OUTCOME_ACCEPTED,
    OUTCOME_NOT_REGISTERED,
    MessageCounts,
    Outcome,
    Result,
)
from bellhop_cli.output import console, json_line, label, moment, table
from bellhop_client import BellhopError, SendStream

SHOWN_FAILURES = 20
_LINE_EVERY = 1.0
"""Seconds between two lines of progress where there is no terminal."""


async def follow(stream: SendStream, *, as_json: bool, start: Timestamp | None = None) -> int:
    """Shows a stream to its end. Returns 0, or 1 when a provider did not take some of it. Raises BellhopError.

    `start`: when the message is sent, if not at once.
    """
    try:
        if as_json:
            async for event in stream:
                json_line(event)
        else:
            await _Report(console(), start).follow(stream)
    except (BellhopError, asyncio.CancelledError):
        if stream.accepted:
            after = f" --after {stream.cursor}" if stream.cursor else ""
            click.echo(f"The message goes on; so does: bellhop watch {stream.message_id}{after}", err=True)
        raise
    return 0 if stream.summary is None or _all_accepted(stream.summary) else 1


def _all_accepted(summary: Summary) -> bool:
    counts = summary.counts
    if summary.state == MESSAGE_STATE_CANCELLED:
        return False
    return not counts.not_registered_count and all(each.outcome == OUTCOME_ACCEPTED for each in counts.outcomes)


class _Report:
    def __init__(self, out: Console, start: Timestamp | None) -> None:
        self._out = out
        self._start = start
        self._finished = 0
        self._failures: list[Result] = []
        self._failure_count = 0

    async def follow(self, stream: SendStream) -> None:
        with _progress(self._out) as show:
            async for event in stream:
                self._note(event)
                if event.HasField("accepted"):
                    again = " (known already: nothing was sent anew)" if event.accepted.replayed else ""
                    start = f", to be sent at {moment(self._start)}" if self._start else ""
                    self._out.print(f"Message {event.accepted.message_id} accepted{start}{again}")
                elif event.HasField("results") or event.HasField("progress"):
                    show(self._finished, event.progress.counts)
        if stream.validated:
            self._out.print(f"Valid; it would go to {stream.validated.counts.device_count} devices now.")
        elif stream.summary:
            if stream.summary.state == MESSAGE_STATE_CANCELLED:
                self._out.print("The message was cancelled.")
            self._out.print(outcomes(stream.summary.counts))
            self._print_failures()

    def _note(self, event: SendEvent) -> None:
        failures = [each for each in event.results.results if each.outcome != OUTCOME_ACCEPTED]
        self._failure_count += len(failures)
        self._failures += failures[: SHOWN_FAILURES - len(self._failures)]
        self._finished += len(event.results.results)
        self._finished = max(self._finished, event.progress.counts.finished_count)

    def _print_failures(self) -> None:
        if not self._failures:
            return
        more = f", the first {SHOWN_FAILURES}" if self._failure_count > SHOWN_FAILURES else ""
        self._out.print(f"\nNot accepted: {self._failure_count}{more}")
        rows = [
            (
                each.device_id or "-",
                each.user_id or "-",
                label(Outcome.Name, each.outcome, "OUTCOME_"),
                each.reason,
                str(each.provider_status or "-"),
                str(each.attempts),
            )
            for each in self._failures
        ]
        self._out.print(table(("DEVICE", "USER", "OUTCOME", "REASON", "STATUS", "ATTEMPTS"), rows))


Show = Callable[[int, MessageCounts], None]


@contextmanager
def _progress(out: Console) -> Iterator[Show]:
    """What to call with the number of results so far, and the message's own numbers when they came too."""
    if not out.is_terminal:
        yield _Lines(out).show
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("Sending", total=None)

        def show(finished: int, counts: MessageCounts) -> None:
            bar.update(task, completed=finished)
            if counts.planned:
                bar.update(task, total=counts.device_count)

        yield show


class _Lines:
    def __init__(self, out: Console) -> None:
        self._out = out
        self._said_at = -_LINE_EVERY

    def show(self, finished: int, counts: MessageCounts) -> None:
        now = time.monotonic()
        if now - self._said_at >= _LINE_EVERY:
            self._said_at = now
            total = f" of {counts.device_count}" if counts.planned else ""
            waiting = f", {counts.retrying_count} to be tried again" if counts.retrying_count else ""
            self._out.print(f"{finished}{total} finished{waiting}")


def outcomes(counts: MessageCounts) -> Table:
    """How many devices by platform and outcome."""
    rows = [
        (
            label(Platform.Name, each.platform, "PLATFORM_"),
            label(Outcome.Name, each.outcome, "OUTCOME_"),
            str(each.count),
        )
        for each in sorted(counts.outcomes, key=lambda each: (each.outcome != OUTCOME_ACCEPTED, -each.count))
    ]
    if counts.not_registered_count:
        rows.append(("-", label(Outcome.Name, OUTCOME_NOT_REGISTERED, "OUTCOME_"), str(counts.not_registered_count)))
    return table(("PLATFORM", "OUTCOME", "COUNT"), rows or [("-", "no device", "0")])
