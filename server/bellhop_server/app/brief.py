"""What is known of a message while its devices are dealt with, batch by batch."""

from collections import OrderedDict
from dataclasses import replace

from bellhop_server.domain.message import Message
from bellhop_server.domain.terms import Terms, terms
from bellhop_server.ports import MessageStore

# Messages whose briefs are kept: as many as a lane may have in hand.
KEPT = 1000
# Names of an audience that cost less to keep than to leave out.
FEW = 10


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


class Briefs:
    """The briefs of the latest messages; of others the store is asked."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._kept: OrderedDict[int, Brief] = OrderedDict()

    async def of(self, ref: int) -> Brief:
        """The brief of a message. Raises MessageNotFound."""
        known = self._kept.get(ref)
        if known is None:
            return self.keep(await self._store.get_message_by_ref(ref))
        self._kept.move_to_end(ref)
        return known

    def keep(self, message: Message) -> Brief:
        """Of a message that will be asked for."""
        audience = message.audience
        if len(audience.ids) + len(audience.exclude_user_ids) > FEW:
            # Whom it names is in its batches, and may be four megabytes.
            message = replace(message, audience=replace(audience, ids=(), exclude_user_ids=()))
        brief = self._kept[message.ref] = Brief(message, frozenset(audience.exclude_user_ids))
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return brief
