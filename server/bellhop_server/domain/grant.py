"""Bind grants: leave for one device to bind itself to one user, once.

A grant binds at its first use, in the transaction of the registration. The same device may show it again while that
binding stands, and gets the same answer: a lost answer costs nothing. Whatever else it is shown for is too late. It
binds nobody whose logins, or whose session's logins, were ended after it was issued.
"""

from dataclasses import dataclass
from typing import NamedTuple

from bellhop_server.domain import MINUTE, SECOND, Micros

SHORTEST_GRANT: Micros = 10 * SECOND
LONGEST_GRANT: Micros = 60 * MINUTE
DEFAULT_GRANT: Micros = 5 * MINUTE


@dataclass(frozen=True, slots=True)
class Grant:
    """What was granted. `device_id` empty: to whichever device shows it first; `session_id` empty: the device names its
    login itself. `grant_id` tells it from all others.
    """

    app_id: str
    grant_id: str
    user_id: str
    device_id: str
    session_id: str
    issue_time: Micros
    expire_time: Micros

    def fits(self, user_id: str | None, device_id: str, session_id: str) -> bool:
        """Whether it was granted for that."""
        return self.user_id == user_id and self.device_id in ("", device_id) and self.session_id in ("", session_id)


class GrantUse(NamedTuple):
    """The binding that a grant has made; `expire_time`: of the grant."""

    device_id: str
    binding_epoch: int
    expire_time: Micros
