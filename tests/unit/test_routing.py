"""Which credential serves a target, and what it fills in."""

import pytest

from bellhop_server.domain.application import ApnsCredential, Credential
from bellhop_server.domain.delivery import Answer, Verdict
from bellhop_server.domain.device import ApnsEnvironment, Platform
from bellhop_server.domain.routing import Place, Route, route

SANDBOX, PRODUCTION = ApnsEnvironment.SANDBOX, ApnsEnvironment.PRODUCTION


def credential(name: str, *topics: str, environments: tuple[ApnsEnvironment, ...] = ()) -> Credential:
    secret = ApnsCredential("KEY1234567", "TEAM123456", "pem", topics, environments)
    return Credential("shop", name, Platform.APNS, 1, 0, secret)


def way(credentials: list[Credential], topic: str = "", environment: ApnsEnvironment | None = None) -> Route | Answer:
    return route(credentials, Place(Platform.APNS, topic, environment, ""))


def test_no_credential_is_not_configured() -> None:
    found = way([])

    assert isinstance(found, Answer)
    assert found.verdict is Verdict.NOT_CONFIGURED


def test_another_network_has_no_use_for_an_apns_key() -> None:
    found = route([credential("apns", "a.b")], Place(Platform.FCM, "", None, ""))

    assert isinstance(found, Answer)
    assert found.verdict is Verdict.NOT_CONFIGURED


@pytest.mark.parametrize(
    ("environments", "asked", "resolved"),
    [
        ((), None, PRODUCTION),
        ((SANDBOX,), None, SANDBOX),
        ((PRODUCTION,), None, PRODUCTION),
        ((SANDBOX, PRODUCTION), None, PRODUCTION),
        ((), SANDBOX, SANDBOX),
        ((SANDBOX,), PRODUCTION, None),
    ],
)
def test_the_environment_is_resolved(
    environments: tuple[ApnsEnvironment, ...], asked: ApnsEnvironment | None, resolved: ApnsEnvironment | None
) -> None:
    found = way([credential("apns", "a.b", environments=environments)], environment=asked)

    if resolved is None:
        assert found == Answer(Verdict.CONFIG_ERROR, reason="EnvironmentNotServed")
    else:
        assert isinstance(found, Route)
        assert (found.apns_topic, found.apns_environment) == ("a.b", resolved)


def test_the_topic_chooses_among_credentials() -> None:
    first, second = credential("one", "a.b"), credential("two", "c.d", "e.f")

    chosen = way([first, second], "e.f")
    default = way([first, second])
    none = way([first, second], "x.y")

    assert isinstance(chosen, Route)
    assert (chosen.credential.credential_id, chosen.apns_topic) == ("two", "e.f")
    assert isinstance(default, Route)
    assert (default.credential.credential_id, default.apns_topic) == ("one", "a.b")
    assert none == Answer(Verdict.CONFIG_ERROR, reason="TopicNotServed")


def test_the_environment_chooses_among_keys_of_one_topic() -> None:
    keys = [
        credential("development", "a.b", environments=(SANDBOX,)),
        credential("store", "a.b", environments=(PRODUCTION,)),
    ]

    found = way(keys, "a.b", PRODUCTION)

    assert isinstance(found, Route)
    assert found.credential.credential_id == "store"
