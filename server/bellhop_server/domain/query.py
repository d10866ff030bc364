"""What can be asked of lists. Filters are joined by "and"."""

from dataclasses import dataclass

from bellhop_server.domain import Micros
from bellhop_server.domain.device import DeviceState, Platform
from bellhop_server.domain.message import Outcome, ResultFilter


@dataclass(frozen=True, slots=True)
class DeviceQuery:
    """Filters of a list, joined by "and". `anonymous` None: both. Empty texts and tuples: no filter. `now`: as of which
    time.
    """

    app_id: str
    now: Micros
    user_id: str = ""
    platforms: tuple[Platform, ...] = ()
    states: tuple[DeviceState, ...] = (DeviceState.ACTIVE,)
    anonymous: bool | None = None
    tag_name: str = ""


@dataclass(frozen=True, slots=True)
class ResultQuery:
    """Filters of a message's results, joined by "and". Empty: no filter."""

    ref: int
    result_filter: ResultFilter = ResultFilter.ALL
    outcomes: tuple[Outcome, ...] = ()
    platforms: tuple[Platform, ...] = ()
    device_id: str = ""
    user_id: str = ""
