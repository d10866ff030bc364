"""The VAPID keys of an application: none is exchanged silently, since a subscription goes on with the one it has."""

from bellhop_server.domain.application import ProviderSecret, VapidKey, WebPushCredential, WebPushOffer
from bellhop_server.domain.errors import InvalidRequest, KeyChangeRefused, Violation
from bellhop_server.providers.webpush.vapid import KeyRefused, generate, load, subject_problem


def accept(offer: WebPushOffer, present: ProviderSecret | None) -> WebPushCredential:
    """The credential with the key that is offered for the current one, and all others that were there behind it.

    Without a key, the one that is there stays; there is none, and one is made. Raises InvalidRequest, KeyChangeRefused.
    """
    wrong = subject_problem(offer.subject)
    violations = [Violation("web_push.subject", wrong)] if wrong else []
    offered: VapidKey | None = None
    if offer.vapid_private_key:
        try:
            offered = load(offer.vapid_private_key)
        except KeyRefused as error:
            violations.append(Violation("web_push.vapid_private_key", str(error)))
    if violations:
        raise InvalidRequest(violations)
    if not isinstance(present, WebPushCredential):
        return WebPushCredential((offered or generate(),), offer.subject)
    current = present.keys[0]
    if offered is None or offered.public_key == current.public_key:
        return WebPushCredential(present.keys, offer.subject)
    if not offer.allow_key_change:
        raise KeyChangeRefused(current.public_key)
    former = (key for key in present.keys if key.public_key != offered.public_key)
    return WebPushCredential((offered, *former), offer.subject)
