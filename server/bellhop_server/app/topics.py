"""The topics that an application's credentials serve."""

from bellhop_server.domain.application import ApnsCredential
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.errors import InvalidRequest, Violation
from bellhop_server.ports import ApplicationStore, Clock

# A busy application's credentials are not read for each of its registrations. That one more is taken after its
# credential went does no harm: a hand-over looks again.
_REMEMBERED_SECONDS = 0.1


class Topics:
    """Checks what devices say of themselves. What is served is remembered for a moment, what is not never is."""

    def __init__(self, store: ApplicationStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._served: dict[tuple[str, Platform], tuple[float, set[str]]] = {}

    async def check(self, app_id: str, target: Target | None) -> None:
        """A topic is a stranger's word: where the application's credentials name topics, it must be one of them.

        Raises InvalidRequest.
        """
        if target is None or not target.apns_topic:
            return
        now = self._clock.monotonic()
        until, served = self._served.get((app_id, target.platform), (now, set()))
        if now < until and target.apns_topic in served:
            return
        credentials = await self._store.list_credentials(app_id)
        served = {
            topic
            for secret in (each.secret for each in credentials)
            if isinstance(secret, ApnsCredential)
            for topic in secret.topics
        }
        if served and target.apns_topic not in served:
            raise InvalidRequest([Violation("apns.topic", "is none that the application's APNs credentials serve")])
        self._served[app_id, target.platform] = (now + _REMEMBERED_SECONDS, served)
