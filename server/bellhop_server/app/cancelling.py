"""Cancelling: what has not been handed over when it returns never is."""

from bellhop_server.app.fencing import Fence
from bellhop_server.domain.message import Message
from bellhop_server.ports import Clock, Queue, Store, Work


class Cancelling:
    """Takes messages back."""

    def __init__(self, store: Store, queue: Queue, clock: Clock, fence: Fence) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock
        self._fence = fence

    async def cancel(self, app_id: str, message_id: str) -> Message:
        """Commits the cancellation, then waits for the hand-overs that may not know of it; returns the message then.

        A repeat waits like the first call: that one may have lost its caller. Raises MessageNotFound;
        ServiceUnavailable also when a hand-over does not end: the message is cancelled all the same.
        """
        recorded = await self._store.cancel(app_id, message_id, self._clock.now())
        if recorded.completed:
            self._queue.announce_results(recorded)
        else:
            # What waited for another attempt is to be told its end.
            self._queue.announce_work(Work.DELIVER)
        await self._fence.wait_for_message(app_id, recorded.message_ref)
        return await self._store.get_message_by_ref(recorded.message_ref)
