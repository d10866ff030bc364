"""The call that is being served: who calls, and how far its stream has come."""

from contextvars import ContextVar
from dataclasses import dataclass, field

from bellhop_server.app.authenticating import Caller
from bellhop_server.domain import Micros


@dataclass(slots=True)
class Call:
    """What a servicer may know of a call besides its request. `received`: when it came in, before all else.

    Failed credentials are counted for `client`, the address that the call comes from, and `attempt_at`: an application,
    or empty for the admin token.

    A stream notes in `message_id` and `cursor` what it has sent, so that however it ends the caller is told where to
    go on.
    """

    method: str
    peer: str
    received: Micros
    caller: Caller = field(default_factory=Caller)
    client: str = ""
    attempt_at: str = ""
    message_id: str = ""
    cursor: str = ""


CURRENT: ContextVar[Call] = ContextVar("call")


def received() -> Micros:
    """When the call that is being served came in."""
    return CURRENT.get().received


def caller() -> Caller:
    """Who makes the call that is being served."""
    return CURRENT.get().caller
