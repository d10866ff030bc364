"""Numbers that waiting does not lower, each checked where one more would be made."""

from bellhop_server.domain.device import Device, DeviceState
from bellhop_server.domain.errors import QuotaExceeded
from bellhop_server.domain.picture import Picture
from bellhop_server.domain.registration import Register

DEVICES_OF_A_USER = 1000
UNVERIFIED_DEVICES = 10_000
ATTRIBUTES = 50


def check_devices_of_user(command: Register, evicted: Device | None, picture: Picture) -> None:
    """One more is about to be bound to the user; it may take the place of another one of theirs.

    Raises QuotaExceeded.
    """
    if command.user_id is None:
        return
    leaving = evicted is not None and evicted.user_id == command.user_id
    if picture.user_count((command.app_id, command.user_id)) - leaving >= DEVICES_OF_A_USER:
        raise QuotaExceeded("devices_of_user", DEVICES_OF_A_USER)


def check_unverified_devices(app_id: str, state: DeviceState, before: Device | None, picture: Picture) -> None:
    """The device, as `before` until now, is about to have this state. Raises QuotaExceeded."""
    if state is not DeviceState.UNVERIFIED or (before is not None and before.state is DeviceState.UNVERIFIED):
        return
    if picture.unverified_count(app_id) >= UNVERIFIED_DEVICES:
        raise QuotaExceeded("unverified_devices", UNVERIFIED_DEVICES)
