"""MAX_CONCURRENT_STREAMS of one connection: what was announced, and what may be held against the client."""

from collections import deque


class StreamLimit:
    """The first value counts from the first octet on, as it does at Apple: a client must read SETTINGS before it sends.

    Any other counts when the client has acknowledged it (RFC 9113 section 6.5.3): before that it cannot be held to a
    lower one, and has used a higher one without having seen it.
    """

    def __init__(self, first: int) -> None:
        self.announced = first
        self.enforced = first
        self._unacknowledged = deque([first])

    def announce(self, value: int) -> None:
        """A SETTINGS frame with `value` leaves."""
        self.announced = value
        self._unacknowledged.append(value)

    def unchanged(self) -> None:
        """A SETTINGS frame about something else leaves; it will be acknowledged too."""
        self._unacknowledged.append(self.announced)

    def acknowledged(self) -> None:
        """The client acknowledged the oldest SETTINGS frame that it had not; a surplus acknowledgement is ignored."""
        if self._unacknowledged:
            self.enforced = self._unacknowledged.popleft()
