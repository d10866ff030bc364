"""Targets as devices present them: a stranger's word, held against what the application can use."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bellhop_server.domain.application import ApnsCredential, Credential, WebPushCredential
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.errors import InvalidRequest, Violation
from bellhop_server.ports import ApplicationStore, Clock, Provider

# A busy application's credentials are not read for each of its registrations. That one more is taken after its
# credential went does no harm: a hand-over looks again.
_REMEMBERED_SECONDS = 0.1


class Targets:
    """Settles what devices say of themselves. What is served is remembered for a moment, what is not never is."""

    def __init__(self, store: ApplicationStore, clock: Clock, providers: Mapping[Platform, Provider]) -> None:
        self._store = store
        self._clock = clock
        self._providers = providers
        self._served: dict[tuple[str, Platform], tuple[float, frozenset[str]]] = {}

    async def settle(self, app_id: str, target: Target | None) -> Target | None:
        """The target as it is to be stored.

        Where the application's credentials name APNs topics, a topic must be one of them; where it has a Web Push
        credential, the key that a browser subscribed with must be one of its keys. A subscription that does not say
        is one with the current key, and remembers that one when there is another. Raises InvalidRequest.
        """
        if target is None:
            return None
        provider = self._providers.get(target.platform)
        violations = await provider.check_target(target) if provider else []
        if violations:
            raise InvalidRequest(violations)
        match target.platform:
            case Platform.APNS if target.apns_topic:
                if not await self._serves(app_id, target.platform, target.apns_topic):
                    text = "is none that the application's APNs credentials serve"
                    raise InvalidRequest([Violation("apns.topic", text)])
            case Platform.WEB_PUSH if target.vapid_public_key:
                if not await self._serves(app_id, target.platform, target.vapid_public_key):
                    text = "is none that the application's Web Push credentials have"
                    raise InvalidRequest([Violation("web_push.vapid_public_key", text)])
            case Platform.WEB_PUSH:
                # As it is at this moment: a device that remembered the key before would not be reached.
                return replace(target, vapid_public_key=_current_key(await self._store.list_credentials(app_id)))
        return target

    async def _serves(self, app_id: str, platform: Platform, name: str) -> bool:
        """Whether a credential serves that topic, or has that key; all will do where there is no credential."""
        now = self._clock.monotonic()
        until, served = self._served.get((app_id, platform), (now, frozenset()))
        if now < until and name in served:
            return True
        served = _served(await self._store.list_credentials(app_id), platform)
        if served and name not in served:
            return False
        self._served[app_id, platform] = (now + _REMEMBERED_SECONDS, served)
        return True


def _served(credentials: Sequence[Credential], platform: Platform) -> frozenset[str]:
    names: set[str] = set()
    for secret in (each.secret for each in credentials if each.platform is platform):
        match secret:
            case ApnsCredential():
                names.update(secret.topics)
            case WebPushCredential():
                names.update(key.public_key for key in secret.keys)
    return frozenset(names)


def _current_key(credentials: Sequence[Credential]) -> str:
    """The one that `domain.routing` chooses for a subscription that names none; empty: there is none yet."""
    secrets = [each.secret for each in credentials if isinstance(each.secret, WebPushCredential)]
    return secrets[0].keys[0].public_key if secrets else ""
