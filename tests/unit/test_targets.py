"""What devices may say of where they are found, and how often the credentials are read for that."""

from dataclasses import replace

import pytest

from bellhop_server.app.targets import Targets
from bellhop_server.domain import SECOND
from bellhop_server.domain.application import Credential, VapidKey, WebPushCredential
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.errors import InvalidRequest, Violation
from tests.unit.app_fakes import CREDENTIAL, FakeClock


class FakeCredentials:
    """Counts how often it is asked."""

    def __init__(self, *topics: str) -> None:
        self.asked = 0
        self.serve(*topics)

    def serve(self, *topics: str) -> None:
        self.credentials = [replace(CREDENTIAL, secret=replace(CREDENTIAL.secret, topics=topics))] if topics else []

    async def list_credentials(self, app_id: str) -> list[Credential]:
        self.asked += 1
        return self.credentials


def target(topic: str) -> Target:
    return Target(Platform.APNS, "ab", topic)


async def test_a_topic_that_is_served_is_looked_for_once_in_a_while() -> None:
    store, clock = FakeCredentials("a.b", "c.d"), FakeClock()
    targets = Targets(store, clock, {})
    for topic in ("a.b", "a.b", "c.d"):
        await targets.settle("shop", target(topic))
    assert store.asked == 1
    clock.micros += SECOND
    await targets.settle("shop", target("a.b"))
    assert store.asked == 2
    await targets.settle("other", target("a.b"))
    assert store.asked == 3


async def test_a_topic_that_was_not_served_is_taken_as_soon_as_it_is() -> None:
    store = FakeCredentials("a.b")
    targets = Targets(store, FakeClock(), {})
    await targets.settle("shop", target("a.b"))
    with pytest.raises(InvalidRequest):
        await targets.settle("shop", target("c.d"))
    store.serve("a.b", "c.d")
    await targets.settle("shop", target("c.d"))


async def test_a_topic_is_refused_before_long_once_its_credential_is_gone() -> None:
    store, clock = FakeCredentials("a.b"), FakeClock()
    targets = Targets(store, clock, {})
    await targets.settle("shop", target("a.b"))
    store.serve("c.d")
    clock.micros += SECOND
    with pytest.raises(InvalidRequest):
        await targets.settle("shop", target("a.b"))


async def test_any_topic_will_do_while_there_is_no_credential() -> None:
    store = FakeCredentials()
    targets = Targets(store, FakeClock(), {})
    await targets.settle("shop", target("a.b"))
    store.serve("c.d")
    with pytest.raises(InvalidRequest):
        await targets.settle("shop", target("a.b"))


async def test_who_names_no_topic_is_not_looked_at() -> None:
    store = FakeCredentials("a.b")
    assert await Targets(store, FakeClock(), {}).settle("shop", None) is None
    await Targets(store, FakeClock(), {}).settle("shop", target(""))
    assert store.asked == 0


def keys(*names: str) -> list[Credential]:
    secret = WebPushCredential(tuple(VapidKey(name, "pem") for name in names), "mailto:push@example.com")
    return [Credential("shop", "web-push", Platform.WEB_PUSH, 1, 0, secret)]


def browser(key: str = "") -> Target:
    return Target(Platform.WEB_PUSH, "https://push.example.net/1", supplement="p.a", vapid_public_key=key)


async def test_a_subscription_remembers_the_key_that_was_current() -> None:
    store = FakeCredentials()
    targets = Targets(store, FakeClock(), {})
    # There is none yet, so whichever it was will do.
    assert await targets.settle("shop", browser()) == browser()
    assert await targets.settle("shop", browser("any")) == browser("any")
    store.credentials = keys("first")
    assert await targets.settle("shop", browser()) == browser("first")
    store.credentials = keys("second", "first")
    assert await targets.settle("shop", browser()) == browser("second")
    assert await targets.settle("shop", browser("first")) == browser("first")


async def test_a_key_that_the_application_does_not_have_is_refused() -> None:
    store = FakeCredentials()
    store.credentials = keys("mine")
    with pytest.raises(InvalidRequest) as refused:
        await Targets(store, FakeClock(), {}).settle("shop", browser("theirs"))
    assert [each.field for each in refused.value.violations] == ["web_push.vapid_public_key"]


class Strict:
    """Finds fault with every target."""

    async def check_target(self, target: Target) -> list[Violation]:
        return [Violation("web_push.endpoint", "is not at a push service that this server may call")]


async def test_what_the_network_says_of_a_target_comes_first() -> None:
    store = FakeCredentials()
    targets = Targets(store, FakeClock(), {Platform.WEB_PUSH: Strict()})
    with pytest.raises(InvalidRequest):
        await targets.settle("shop", browser())
    assert store.asked == 0
