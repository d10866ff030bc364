"""A fault, what is played for it on each network, and what whoever sends is to be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from bellhop_server.domain.delivery import ANSWER
from tests.faults.networks import Network


class Share(StrEnum):
    """In place of a number: how many were on their way when a connection ended differs from run to run."""

    SOME = "some"
    REST = "the rest"


class Strike(NamedTuple):
    """What a simulator does, to which requests and how often at most: a fault of docs/simulators.md."""

    then: Mapping[str, Any]
    when: Mapping[str, Any]
    times: int | None


def strike(then: Mapping[str, Any], when: Mapping[str, Any] | None = None, times: int | None = 1) -> tuple[Strike, ...]:
    """One of them. `times` None: at every request that fits."""
    return (Strike(then, when or {}, times),)


@dataclass(frozen=True, slots=True)
class Case:
    """A fault on one network.

    `told`: outcomes with their reasons, and to how many devices. `known`: each device has had a push accepted before.
    `skew`: seconds that our clock is ahead, from then on; `later`: seconds that pass before the message is sent.
    `retired`: those told TOKEN_INVALID or TOKEN_MISMATCH are DEAD afterwards, else nobody is. `returns`: a device that
    is refused registers anew before it is told. `not_before`: seconds for which the provider is not asked again for a
    device that it refused. `ttl`: seconds. `strangers`: so many of the browsers are at a host that has a private
    address. `streams`, `answer`: of `networks.venue`. `requests`: pushes that the provider sees, if that is certain.
    `engines`: None: all that the network has.
    """

    told: Mapping[str, int | Share]
    strikes: tuple[Strike, ...] = ()
    devices: int = 40
    known: bool = True
    skew: float = 0.0
    later: float = 0.0
    retired: bool = False
    returns: bool = False
    not_before: float = 0.0
    ttl: int = 86_400
    persona: str = "mozilla"
    body: str = "Your table is free."
    strangers: int = 0
    streams: int | None = None
    answer: float = ANSWER
    requests: int | None = None
    engines: tuple[str, ...] | None = None

    @property
    def text(self) -> str:
        """For people."""
        told = ", ".join(f"{what} {many}" for what, many in self.told.items())
        if not any(what.startswith("TOKEN_") for what in self.told):
            return told
        return f"{told}; {'retired' if self.retired else 'nobody is retired'}"

    def fits(self, told: Mapping[str, int]) -> bool:
        """Whether that is what was to be told."""
        if not told.keys() <= self.told.keys():
            return False
        for what, many in self.told.items():
            there = told.get(what, 0)
            if (isinstance(many, int) and there != many) or (many is Share.SOME and not there):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Fault:
    """A row."""

    name: str
    cases: Mapping[Network, Case] = field(default_factory=dict)

    def engines(self, network: Network) -> tuple[str, ...]:
        """By which it is played on a network; none where it cannot happen."""
        case = self.cases.get(network)
        if case is None:
            return ()
        return network.engines if case.engines is None else case.engines
