"""Which credential of an application serves a target, and what the credential fills in."""

from collections.abc import Sequence
from dataclasses import dataclass

from bellhop_server.domain.application import Credential
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.domain.device import ApnsEnvironment


@dataclass(frozen=True, slots=True)
class Route:
    """A credential, and where a target is handed over under it: topic and environment resolved."""

    credential: Credential
    apns_topic: str
    apns_environment: ApnsEnvironment


def route(
    credentials: Sequence[Credential], platform: int, apns_topic: str, apns_environment: int | None
) -> Route | Answer:
    """The route to targets of that network that name this topic and environment, or the answer when there is none.

    An empty topic is the first topic of the credential; an unspecified environment is the only one that the credential
    serves, otherwise production.
    """
    of_platform = [credential for credential in credentials if credential.platform == platform]
    if not of_platform:
        return Answer(Verdict.NOT_CONFIGURED, reason="NoCredential")
    of_topic = [each for each in of_platform if not apns_topic or apns_topic in each.secret.topics]
    if not of_topic:
        return Answer(Verdict.CONFIG_ERROR, reason="TopicNotServed")
    for credential in of_topic:
        environment = ApnsEnvironment(
            apns_environment or _only(credential.secret.environments) or ApnsEnvironment.PRODUCTION
        )
        if credential.secret.serves(environment):
            return Route(credential, apns_topic or credential.secret.topics[0], environment)
    return Answer(Verdict.CONFIG_ERROR, reason="EnvironmentNotServed")


def _only(environments: tuple[ApnsEnvironment, ...]) -> ApnsEnvironment | None:
    return environments[0] if len(set(environments)) == 1 else None
