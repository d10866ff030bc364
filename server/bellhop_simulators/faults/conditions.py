"""For which requests a fault is played: the `when` of a fault script."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import floor
from typing import Any

from bellhop_simulators.faults.keys import checked, is_count, is_seconds, is_text


@dataclass(slots=True)
class Facts:
    """What a condition can look at; None is what the provider does not know of, and fits no condition."""

    provider: str
    call: str = "send"
    environment: str | None = None
    connection: int = 0
    connection_request: int = 0
    token: str | None = None
    topic: str | None = None
    app: str | None = None
    key_id: str | None = None
    push_type: str | None = None
    project: str | None = None
    persona: str | None = None
    host: str | None = None
    decrypted: str | None = None
    """What the device reads in the message; for the journal alone."""
    undecryptable: str | None = None
    """Why it reads nothing; for the journal alone."""


@dataclass(eq=False, slots=True)
class When:
    """A condition; it counts the requests that fit."""

    wanted: Mapping[str, Collection[Any]]
    request: Collection[int] | None = None
    after: int = 0
    every: int = 1
    share: float = 1.0
    seen: int = field(default=0, init=False)

    def due(self, facts: Facts) -> bool:
        """Whether the fault is due at this request, which is counted if it fits."""
        for name, values in self.wanted.items():
            if getattr(facts, name) not in values:
                return False
        self.seen += 1
        number = self.seen - self.after
        if number <= 0 or (self.request is not None and self.seen not in self.request) or number % self.every:
            return False
        turn = number // self.every
        return floor(turn * self.share) > floor((turn - 1) * self.share)


def _one_or_more(test: Any) -> Any:
    return lambda value: all(test(each) for each in value) if isinstance(value, list) else test(value)


_TEXTS = (_one_or_more(is_text), "a text or a list of texts")
_NUMBERS = (_one_or_more(lambda value: is_count(value) and value > 0), "a number from 1 or a list of them")
_KINDS = {
    "provider": (_one_or_more(lambda value: value in ("apns", "fcm", "web_push")), "apns, fcm or web_push"),
    "call": (_one_or_more(lambda value: value in ("send", "token", "delete")), "send, token or delete"),
    "environment": (_one_or_more(lambda value: value in ("production", "sandbox")), "production or sandbox"),
    "connection": _NUMBERS,
    "connection_request": _NUMBERS,
    "token": _TEXTS,
    "topic": _TEXTS,
    "app": _TEXTS,
    "key_id": _TEXTS,
    "push_type": _TEXTS,
    "project": _TEXTS,
    "persona": _TEXTS,
    "host": _TEXTS,
    "request": _NUMBERS,
    "after": (is_count, "a number from 0"),
    "every": (lambda value: is_count(value) and value > 0, "a number from 1"),
    "share": (lambda value: is_seconds(value) and value <= 1, "a number from 0 to 1"),
}


def parse_when(raw: Any, place: str) -> When:
    """Read a `when`.

    Raises:
        FaultScriptError: an unknown key or a value of the wrong kind.
    """
    values = checked(raw, _KINDS, place)
    request = values.pop("request", None)
    counts = {name: values.pop(name) for name in ("after", "every", "share") if name in values}
    wanted = {name: frozenset(value if isinstance(value, list) else [value]) for name, value in values.items()}
    if "token" in wanted:  # Apple's are hex digits of either case.
        wanted["token"] |= {token.lower() for token in wanted["token"]}
    wanted.setdefault("call", frozenset({"send"}))
    if request is not None and not isinstance(request, list):
        request = [request]
    return When(wanted, request, **counts)
