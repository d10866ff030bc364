"""Which credential of an application serves a target, and what the credential fills in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bellhop_server.domain.application import Credential
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.domain.device import ApnsEnvironment, Target


@dataclass(frozen=True, slots=True)
class Route:
    """A credential and the target as it is handed over: topic and environment resolved."""

    credential: Credential
    target: Target


def route(credentials: Sequence[Credential], target: Target) -> Route | Answer:
    """The route to a target, or the answer when there is none.

    An empty topic is the first topic of the credential; an unspecified environment is the only one that the credential
    serves, otherwise production.
    """
    of_platform = [credential for credential in credentials if credential.platform is target.platform]
    if not of_platform:
        return Answer(Verdict.NOT_CONFIGURED, reason="NoCredential")
    of_topic = [
        credential
        for credential in of_platform
        if not target.apns_topic or target.apns_topic in credential.secret.topics
    ]
    if not of_topic:
        return Answer(Verdict.CONFIG_ERROR, reason="TopicNotServed")
    for credential in of_topic:
        environment = target.apns_environment or _only(credential.secret.environments) or ApnsEnvironment.PRODUCTION
        if credential.secret.serves(environment):
            topic = target.apns_topic or credential.secret.topics[0]
            return Route(credential, replace(target, apns_topic=topic, apns_environment=environment))
    return Answer(Verdict.CONFIG_ERROR, reason="EnvironmentNotServed")


def _only(environments: tuple[ApnsEnvironment, ...]) -> ApnsEnvironment | None:
    return environments[0] if len(set(environments)) == 1 else None
