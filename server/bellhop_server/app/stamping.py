"""Stamping notifications for the person who is logged in on a device."""

import logging

from bellhop_server.domain.device import Found
from bellhop_server.domain.message import Message
from bellhop_server.domain.stamp import stamp_of
from bellhop_server.ports import Sealer

_log = logging.getLogger(__name__)


class Stamper:
    """Opens binding keys."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def stamp(self, message: Message, device: Found) -> str:
        """The stamp of a message for a device as it is bound now; empty: it wants none, or its key cannot be opened."""
        sealed = device.sealed_binding_key
        if sealed is None or device.user_id is None:
            return ""
        key = self._sealer.open(bytes.fromhex(sealed), message.app_id, device.device_id)
        if key is None:
            where = {"app_id": message.app_id, "device_id": device.device_id}
            _log.error("a binding key cannot be opened: its device is sent no stamp", extra=where)
            return ""
        return stamp_of(key, message.app_id, device.device_id, message.message_id)
