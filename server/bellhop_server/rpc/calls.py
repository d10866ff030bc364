"""The call that is being served: who calls, and how far its stream has come."""

from contextvars import ContextVar
from dataclasses import dataclass, field

from bellhop_server.app.authenticating import Caller


@dataclass(slots=True)
class Call:
    """What a servicer may know of a call besides its request.

    Failed credentials are counted for `attempt_at`: an application, or empty for the admin token.

    A stream notes in `message_id` and `cursor` what it has sent, so that however it ends the caller is told where to
    go on.
    """

    method: str
    peer: str
    caller: Caller = field(default_factory=Caller)
    attempt_at: str = ""
    message_id: str = ""
    cursor: str = ""


CURRENT: ContextVar[Call] = ContextVar("call")


def caller() -> Caller:
    """Who makes the call that is being served."""
    return CURRENT.get().caller
