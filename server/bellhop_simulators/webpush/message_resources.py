"""The message resources that `Location` names (RFC 8030 section 5): DELETE takes back what still waits."""

import re
from collections import OrderedDict

from bellhop_simulators.webpush.browser import BrowserSubscription

_KEPT = 100_000
_PATH = re.compile(r"/[a-z]+/m/[0-9A-F-]{36}")


class MessageResources:
    """The latest resources, of subscriptions and of strangers (None)."""

    def __init__(self) -> None:
        self._resources: OrderedDict[str, BrowserSubscription | None] = OrderedDict()

    def add(self, persona: str, message_id: str, subscription: BrowserSubscription | None) -> None:
        """Make a resource."""
        self._resources[self.path(persona, message_id)] = subscription
        if len(self._resources) > _KEPT:
            self._resources.popitem(last=False)

    @staticmethod
    def path(persona: str, message_id: str) -> str:
        """The path of a resource."""
        return f"/{persona}/m/{message_id}"

    @staticmethod
    def is_path(path: str) -> bool:
        """Whether `path` is that of a message resource."""
        return _PATH.fullmatch(path) is not None

    def delete(self, path: str) -> bool:
        """Delete the message; False if there is no such resource (any more)."""
        if path not in self._resources:
            return False
        subscription = self._resources.pop(path)
        if subscription is not None:
            subscription.withdraw(path.rpartition("/")[2])
        return True
