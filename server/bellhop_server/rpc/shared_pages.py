"""Events as they go over the wire, made once for all the readers of a message that are at the same place."""

from typing import TypeVar

from bellhop.v1.notifier_pb2 import SendResponse, WatchMessageResponse
from bellhop_server.domain.event import Event, ResultsEvent
from bellhop_server.domain.message import Message, ResultFilter
from bellhop_server.rpc import mapping_message
from bellhop_server.rpc.cursors import cursor_of

R = TypeVar("R", SendResponse, WatchMessageResponse)

_Key = tuple[type[SendResponse | WatchMessageResponse], int, int, int, ResultFilter]

# Pages of up to 200 results; readers that keep up with a message share its latest ones.
KEPT = 16


class SharedPages:
    """Maps events, and keeps the latest pages of results: mapping one costs twenty times as much as serializing it."""

    def __init__(self) -> None:
        self._kept: dict[_Key, SendResponse | WatchMessageResponse] = {}

    def response(self, kind: type[R], message: Message, result_filter: ResultFilter, event: Event) -> R:
        """The event as a response, which others may be given too: it is not to be changed."""
        if not isinstance(event, ResultsEvent):
            return _response(kind, message, event)
        # So many results that pass the filter, up to that number: never others, whoever reads them.
        key = (kind, message.ref, event.seq, len(event.results), result_filter)
        kept = self._kept.get(key)
        if isinstance(kept, kind):
            return kept
        if len(self._kept) == KEPT:
            del self._kept[next(iter(self._kept))]
        made = self._kept[key] = _response(kind, message, event)
        return made


def _response(kind: type[R], message: Message, event: Event) -> R:
    cursor = cursor_of(message.app_id, message.message_id, event.seq)
    return kind(event=mapping_message.send_event(event, cursor))
