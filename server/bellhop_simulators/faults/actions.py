"""What a fault does: the `then` of a fault script."""

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from bellhop_simulators.faults.keys import FaultScriptError, checked, is_count, is_flag, is_seconds, is_text
from bellhop_simulators.http2.errors import ErrorCode
from bellhop_simulators.http2.frames import MAX_STREAM_ID

_MAX_WINDOW = 2**31 - 1

# RFC 9110 sections 5.1 and 5.5: a token; and text without control characters, nor blanks at its ends.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"([^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?)?")

LastStream = Literal["this", "before", "all"] | int


@dataclass(frozen=True, slots=True)
class Goaway:
    """A GOAWAY to send."""

    last_stream: LastStream = "this"
    code: int = 0
    reason: str = ""
    debug: str = ""
    then: Literal["close", "linger"] = "close"

    def covers(self, stream_id: int) -> bool:
        """Whether the request that it is played at may still be processed."""
        return self.last_stream_id(stream_id) >= stream_id

    def last_stream_id(self, stream_id: int) -> int:
        """The number to send, played at `stream_id`."""
        if isinstance(self.last_stream, int):
            return self.last_stream
        return {"this": stream_id, "before": max(0, stream_id - 2), "all": MAX_STREAM_ID}[self.last_stream]

    def debug_data(self, now: float) -> bytes:
        """As Apple sends it: JSON with the reason and a time in milliseconds; or what the script gives."""
        if self.debug or not self.reason:
            return self.debug.encode()
        return json.dumps({"reason": self.reason, "timestamp": int(now * 1000)}).encode()


@dataclass(frozen=True, slots=True)
class Then:
    """See the module `script`; None or the neutral value: as without the fault."""

    status: int | None = None
    reason: str | None = None
    timestamp: int | None = None
    age: float | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    retry_after: float | str | None = None
    retry_after_date: float | None = None
    body: str | None = None
    body_size: int | None = None
    delay: float = 0.0
    slow_headers: float = 0.0
    fragment: int | None = None
    no_answer: bool = False
    reset_stream: int | None = None
    connection: Literal["reset", "close"] | None = None
    goaway: Goaway | None = None
    max_concurrent_streams: int | None = None
    initial_window: int | None = None
    restore_after: float | None = None
    accepted: bool | None = None
    quota: Literal["project", "device", "topic"] | None = None
    field: str | None = None
    summary: str = ""

    def accepts(self, genuine: bool, stream_id: int) -> bool:
        """Whether the notification counts as taken, if it would have been (`genuine`) without the fault."""
        if self.accepted is not None:
            return self.accepted
        if self.status is not None:
            return 200 <= self.status < 300
        if self.reset_stream == ErrorCode.REFUSED_STREAM or (self.goaway and not self.goaway.covers(stream_id)):
            return False
        return genuine


def _is_name(value: Any) -> bool:
    return is_text(value) and _NAME.fullmatch(value) is not None


def _is_value(value: Any) -> bool:
    return is_text(value) and _VALUE.fullmatch(value) is not None


def _is_code(value: Any) -> bool:
    return (is_count(value) and value < 2**32) or (is_text(value) and value in ErrorCode.__members__)


_CODE = (_is_code, "a number or a name of RFC 9113 section 7")
_SECONDS = (is_seconds, "a number of seconds from 0")
_TEXT = (is_text, "a text")
_KINDS = {
    "status": (lambda value: is_count(value) and 200 <= value <= 599, "a number from 200 to 599"),
    "reason": _TEXT,
    "timestamp": (is_count, "milliseconds since the epoch"),
    "age": (lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number of seconds"),
    "headers": (
        lambda value: isinstance(value, dict) and all(map(_is_name, value)) and all(map(_is_value, value.values())),
        "an object of header names and values",
    ),
    "retry_after": (lambda value: is_seconds(value) or _is_value(value), "seconds or a header value"),
    "retry_after_date": _SECONDS,
    "body": _TEXT,
    "body_size": (is_count, "a number of octets"),
    "delay": _SECONDS,
    "slow_headers": _SECONDS,
    "fragment": (lambda value: is_count(value) and value > 0, "a number of octets from 1"),
    "no_answer": (is_flag, "true or false"),
    "reset_stream": _CODE,
    "connection": (lambda value: value in ("reset", "close"), "reset or close"),
    "goaway": (lambda value: isinstance(value, dict), "an object"),
    "max_concurrent_streams": (lambda value: is_count(value) and value < 2**32, "a number from 0"),
    "initial_window": (lambda value: is_count(value) and value <= _MAX_WINDOW, "a number of octets up to 2^31 - 1"),
    "restore_after": _SECONDS,
    "accepted": (is_flag, "true or false"),
    "quota": (lambda value: value in ("project", "device", "topic"), "project, device or topic"),
    "field": _TEXT,
}
_GOAWAY_KINDS = {
    "last_stream": (
        lambda value: value in ("this", "before", "all") or (is_count(value) and value <= MAX_STREAM_ID),
        "this, before, all or a stream id",
    ),
    "code": _CODE,
    "reason": _TEXT,
    "debug": _TEXT,
    "then": (lambda value: value in ("close", "linger"), "close or linger"),
}


def parse_then(raw: Any, place: str) -> Then:
    """Read a `then`.

    Raises:
        FaultScriptError: nothing in it, an unknown key or a value of the wrong kind.
    """
    values = checked(raw, _KINDS, place)
    if not values:
        raise FaultScriptError(f"{place}: says nothing to do")
    summary = " ".join(f"{key}={value}" for key, value in values.items() if not isinstance(value, dict | str)) or next(
        iter(values)
    )
    if "goaway" in values:
        goaway = checked(values["goaway"], _GOAWAY_KINDS, f"{place}.goaway")
        if "code" in goaway:
            goaway["code"] = _code(goaway["code"])
        values["goaway"] = Goaway(**goaway)
    if "reset_stream" in values:
        values["reset_stream"] = _code(values["reset_stream"])
    return Then(**values, summary=summary)


def _code(value: int | str) -> int:
    return ErrorCode[value].value if isinstance(value, str) else value
