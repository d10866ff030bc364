"""What is known of a message while its devices are dealt with, batch by batch."""

from bellhop_server.domain.message import Message
from bellhop_server.domain.terms import Terms, terms


class Brief:
    """A message, whom it is not for, and its terms on each network. `message.audience.ids` may be left out."""

    def __init__(self, message: Message, excluded: frozenset[str]) -> None:
        self.message = message
        self.excluded = excluded
        self._terms: dict[int, Terms] = {}

    def terms(self, platform: int) -> Terms:
        """On what terms the message goes by that network."""
        known = self._terms.get(platform)
        if known is None:
            known = self._terms[platform] = terms(self.message, platform)
        return known
