"""How commands say things: JSON lines for programs, tables for people."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import click
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from rich.text import Text

_Value = TypeVar("_Value")

# Wider than any row: only on a terminal is a table squeezed, elsewhere a cut value would be a wrong one.
_ENDLESS = 10_000


def console() -> Console:
    """Standard output, with colours only where a person looks."""
    out = Console(highlight=False, markup=False, emoji=False)
    return out if out.is_terminal else Console(highlight=False, markup=False, emoji=False, width=_ENDLESS)


def json_line(message: Message) -> None:
    """Prints one message in the JSON form of protobuf with the contract's field names, on one line."""
    fields = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    click.echo(json.dumps(fields))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Columns without lines; numbers to the right."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    lines = [[Text(printable(cell), overflow="fold") for cell in row] for row in rows]
    for column, heading in enumerate(headings):
        numbers = bool(lines) and all(line[column].plain.isdigit() for line in lines)
        grid.add_column(heading, justify="right" if numbers else "left", overflow="fold")
    for line in lines:
        grid.add_row(*line)
    return grid


def printable(text: str) -> str:
    """The text with everything escaped that could move the cursor or reverse the line: strangers choose user ids."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def moment(time: Timestamp) -> str:
    """UTC, whole seconds; empty for the epoch, which stands for unset."""
    return time.ToDatetime().strftime("%Y-%m-%d %H:%M:%SZ") if time.seconds else ""


def label(name: Callable[[_Value], str], value: _Value, prefix: str) -> str:
    """An enum value as people say it: OUTCOME_TOKEN_INVALID is `token invalid`; one of a newer server is its number."""
    try:
        return name(value).removeprefix(prefix).replace("_", " ").lower()
    except ValueError:
        return str(value)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class TimeType(click.ParamType[Timestamp]):
    """A point in time as RFC 3339 writes it, with its offset: `2026-12-01T08:00:00Z`, `2026-12-01T09:00:00+01:00`."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Timestamp:
        """Refuses what is not one; how far away it may be is the server's word."""
        if isinstance(value, Timestamp):
            return value
        time = Timestamp()
        try:
            time.FromJsonString(str(value).upper())
        except ValueError:
            self.fail(f"{str(value)!r} is not a time such as 2026-12-01T08:00:00Z.", param, ctx)
        return time


class DurationType(click.ParamType[Duration]):
    """A length of time: `90s`, `15m`, `24h`, `7d`, or a number of seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Duration:
        """Refuses what is not one; how long it may be is the server's word."""
        if isinstance(value, Duration):
            return value
        text = str(value)
        number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
        if not (number.isascii() and number.isdigit() and len(number) <= 9):
            self.fail(f"{text!r} is not a duration such as 90s, 15m, 24h or 7d.", param, ctx)
        return Duration(seconds=int(number) * _UNITS[unit])
