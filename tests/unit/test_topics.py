"""The topics that devices may name, and how often the credentials are read for that."""

from dataclasses import replace

import pytest

from bellhop_server.app.topics import Topics
from bellhop_server.domain import SECOND
from bellhop_server.domain.application import Credential
from bellhop_server.domain.device import Platform, Target
from bellhop_server.domain.errors import InvalidRequest
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
    topics = Topics(store, clock)
    for topic in ("a.b", "a.b", "c.d"):
        await topics.check("shop", target(topic))
    assert store.asked == 1
    clock.micros += SECOND
    await topics.check("shop", target("a.b"))
    assert store.asked == 2
    await topics.check("other", target("a.b"))
    assert store.asked == 3


async def test_a_topic_that_was_not_served_is_taken_as_soon_as_it_is() -> None:
    store = FakeCredentials("a.b")
    topics = Topics(store, FakeClock())
    await topics.check("shop", target("a.b"))
    with pytest.raises(InvalidRequest):
        await topics.check("shop", target("c.d"))
    store.serve("a.b", "c.d")
    await topics.check("shop", target("c.d"))


async def test_a_topic_is_refused_before_long_once_its_credential_is_gone() -> None:
    store, clock = FakeCredentials("a.b"), FakeClock()
    topics = Topics(store, clock)
    await topics.check("shop", target("a.b"))
    store.serve("c.d")
    clock.micros += SECOND
    with pytest.raises(InvalidRequest):
        await topics.check("shop", target("a.b"))


async def test_any_topic_will_do_while_there_is_no_credential() -> None:
    store = FakeCredentials()
    topics = Topics(store, FakeClock())
    await topics.check("shop", target("a.b"))
    store.serve("c.d")
    with pytest.raises(InvalidRequest):
        await topics.check("shop", target("a.b"))


async def test_who_names_no_topic_is_not_looked_at() -> None:
    store = FakeCredentials("a.b")
    await Topics(store, FakeClock()).check("shop", None)
    await Topics(store, FakeClock()).check("shop", target(""))
    assert store.asked == 0
