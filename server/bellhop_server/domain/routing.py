"""Which credential of an application serves a target, and what the credential fills in."""

from collections.abc import Sequence
from typing import NamedTuple

from bellhop_server.domain.application import ApnsCredential, Credential, WebPushCredential
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.domain.device import ApnsEnvironment, Platform


class Place(NamedTuple):
    """What of a target a route hangs on. The fields are those of `Found`."""

    platform: int
    apns_topic: str
    apns_environment: int | None
    vapid_public_key: str


class Route(NamedTuple):
    """A credential, and where a target is handed over under it: with APNs topic and environment, with Web Push the
    public key, resolved.
    """

    credential: Credential
    apns_topic: str = ""
    apns_environment: ApnsEnvironment | None = None
    vapid_public_key: str = ""


def route(credentials: Sequence[Credential], place: Place) -> Route | Answer:
    """The route to targets of that place, or the answer when there is none.

    An empty topic is the first topic of the credential; an unspecified environment is the only one that the credential
    serves, otherwise production; an empty key is the current one. Of several credentials that would do, the first.
    """
    of_platform = [credential for credential in credentials if credential.platform == place.platform]
    if not of_platform:
        return Answer(Verdict.NOT_CONFIGURED, reason="NoCredential")
    match place.platform:
        case Platform.APNS:
            return _apns(of_platform, place)
        case Platform.WEB_PUSH:
            return _web_push(of_platform, place)
        case _:
            return Route(of_platform[0])


def _apns(credentials: Sequence[Credential], place: Place) -> Route | Answer:
    topic = place.apns_topic
    served = False
    for credential in credentials:
        secret = credential.secret
        assert isinstance(secret, ApnsCredential)
        if topic and topic not in secret.topics:
            continue
        served = True
        environment = ApnsEnvironment(
            place.apns_environment or _only(secret.environments) or ApnsEnvironment.PRODUCTION
        )
        if secret.serves(environment):
            return Route(credential, topic or secret.topics[0], environment)
    return Answer(Verdict.CONFIG_ERROR, reason="EnvironmentNotServed" if served else "TopicNotServed")


def _web_push(credentials: Sequence[Credential], place: Place) -> Route | Answer:
    for credential in credentials:
        assert isinstance(credential.secret, WebPushCredential)
        key = credential.secret.key(place.vapid_public_key)
        if key is not None:
            return Route(credential, vapid_public_key=key.public_key)
    return Answer(Verdict.CONFIG_ERROR, reason="VapidKeyUnknown")


def _only(environments: tuple[ApnsEnvironment, ...]) -> ApnsEnvironment | None:
    return environments[0] if len(set(environments)) == 1 else None
