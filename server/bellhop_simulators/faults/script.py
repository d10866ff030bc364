"""The fault script: when a simulator misbehaves, and how.

A script is a JSON object `{"faults": [FAULT, ...]}`. For each request the first fault whose `when` fits and which is
not used up is played. One script may serve all providers. An unknown key is an error that names its place.

FAULT is `{"name": TEXT, "when": {...}, "times": N, "then": {...}}`; only `then` is required. `times` is how often it
is played at most (default: without end).

`when`, all of which must hold; each takes one value or a list of values:

- `provider` (`apns`, `fcm`, `web_push`), `call` (`send`, `token`, `delete`; without it only `send` fits),
  `connection` (number at its provider, from 1), `token`, `topic`, `host`
- of APNs: `environment` (`production`, `sandbox`), `app` (topic without the suffix of a push type), `push_type`; of
  FCM: `project`; of both: `key_id`; of Web Push: `persona`. A key that a provider does not know fits none of its
  requests

and which of the requests that fit:

- `request`: the n-th of them (number or list); `connection_request`: the n-th request of its connection (number or
  list)
- `after`: all but the first n; `every`: each n-th; `share`: this part of them, 0 to 1, evenly spread

`then`, in any combination that makes sense; without `status` the answer is the genuine one:

- `status`, `reason` (default: the usual one of that status), `timestamp` (milliseconds since the epoch) or `age`
  (seconds before now that the timestamp tells; default 0 with 410), `headers` (object), `retry_after` (seconds or
  text) or `retry_after_date` (seconds from now, sent as an HTTP date)
- `body`: text sent in place of JSON, "" for an empty body; `body_size`: a body of so many octets
- `delay`: seconds before the answer; `slow_headers`: seconds over which the header block trickles; `fragment`: octets
  for each DATA frame
- `no_answer`: true
- `reset_stream`: code of RST_STREAM, number or name (`REFUSED_STREAM`, `INTERNAL_ERROR`, ...)
- over HTTP/1.1 `reset_stream` and a `goaway` that does not cover the request close the connection without an answer;
  other `goaway`, `max_concurrent_streams` and `initial_window` close it behind the answer
- `connection`: `reset` (TCP reset once the request was read), `close` (TLS ends in order, without GOAWAY)
- `goaway`: `{"last_stream": "this" | "before" | "all" | NUMBER, "code": 0, "reason": TEXT, "debug": TEXT, "then":
  "close" | "linger"}`. `this` (default) covers the request and those before it, `before` all but it, `all` is the
  graceful 2^31 - 1. `reason` goes into JSON debug data as at Apple, `debug` is sent as it is. `close` (default)
  closes when what is covered has been answered, after `all` with a second GOAWAY that names the last stream; `linger`
  leaves closing to the client
- `max_concurrent_streams`: announced now; `restore_after`: seconds after which the simulator's own limit comes back;
  `initial_window`: octets of a request's body before the client has to wait, announced now
- of FCM: `quota` (`project`, `device`, `topic`: what a QuotaFailure is about), `field` (that a BadRequest names)
- `accepted`: whether the notification counts as taken. Default: true with a genuine 200 whatever becomes of its
  answer; false with a `status` other than 2xx, with `REFUSED_STREAM` and for a request above the GOAWAY's last stream
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bellhop_simulators.faults.actions import Then, parse_then
from bellhop_simulators.faults.conditions import Facts, When, parse_when
from bellhop_simulators.faults.keys import FaultScriptError, check_keys, is_count, is_text


@dataclass(eq=False)
class Fault:
    """One fault; `played` counts how often it was."""

    name: str
    when: When
    then: Then
    times: int | None = None
    played: int = field(default=0, init=False)


class Faults:
    """The faults of a simulator, in order; they can be changed while it runs."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def __len__(self) -> int:
        return len(self._faults)

    def add(
        self,
        then: Mapping[str, Any],
        when: Mapping[str, Any] | None = None,
        *,
        times: int | None = None,
        name: str = "",
    ) -> Fault:
        """Add a fault behind the others; `then` and `when` are as in a script.

        Raises:
            FaultScriptError: an unknown key or a value of the wrong kind.
        """
        fault = _parse({"then": then, "when": when or {}, "times": times, "name": name}, "fault")
        self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Take a fault out."""
        self._faults.remove(fault)

    def clear(self) -> None:
        """Take all out."""
        self._faults.clear()

    def load(self, path: Path) -> None:
        """Add the faults of a script.

        Raises:
            FaultScriptError: not a script.
            OSError: the file cannot be read.
        """
        try:
            script = json.loads(path.read_bytes())
        except ValueError as error:
            raise FaultScriptError(f"{path}: not JSON: {error}") from error
        check_keys(script, {"faults"}, str(path))
        faults = script.get("faults", [])
        if not isinstance(faults, list):
            raise FaultScriptError(f"{path}: faults: must be a list")
        self._faults += [_parse(fault, f"{path}: faults[{number}]") for number, fault in enumerate(faults)]

    def due(self, facts: Facts) -> Fault | None:
        """The fault to play for a request; counts it."""
        due = None
        for fault in self._faults:
            if fault.when.due(facts) and due is None and (fault.times is None or fault.played < fault.times):
                fault.played += 1
                due = fault
        return due


def _parse(raw: Any, place: str) -> Fault:
    check_keys(raw, {"name", "when", "then", "times"}, place)
    times, name = raw.get("times"), raw.get("name", "")
    if times is not None and (not is_count(times) or times < 1):
        raise FaultScriptError(f"{place}.times: must be a number from 1")
    if not is_text(name):
        raise FaultScriptError(f"{place}.name: must be a text")
    then = parse_then(raw.get("then"), f"{place}.then")
    return Fault(name or then.summary, parse_when(raw.get("when", {}), f"{place}.when"), then, times)
