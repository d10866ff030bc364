"""Whom tags reach after any subscriptions, logins and logouts, on both databases, against a model of a few sets."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from bellhop_server.domain.application import Application, Policy
from bellhop_server.domain.errors import DeviceNotFound, TagAlreadyExists
from bellhop_server.domain.message import Audience, AudienceKind
from bellhop_server.domain.query import DeviceQuery
from bellhop_server.domain.registration import Unregister, UnregisterUser
from bellhop_server.domain.tag import Subscriber, SubscriptionOutcome, SubscriptionQuery, Tag
from bellhop_server.store.database import Database, open_database
from bellhop_server.store.seal import MasterKey
from bellhop_server.store.sql_store import SqlStore
from tests.contract.registry_commands import AUTHORITY, register

TAGS = ("news", "sport", "none")
NAMES, PEOPLE, TARGETS = ("d1", "d2", "d3"), ("ann", "ben"), ("t1", "t2", "t3")
WHO = st.sampled_from([*(("", name) for name in PEOPLE), *((name, "") for name in NAMES)])
SOME_TAGS = st.lists(st.sampled_from(TAGS), min_size=1, max_size=3, unique=True)
OUTCOME = SubscriptionOutcome


class World:
    """A database and a loop to use it from, for as many applications as there are examples."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        self.run = runner.run
        self.database: Database = self.run(open_database(url))
        self.store: SqlStore = self.run(self._open())
        self._numbers = itertools.count(1)

    async def _open(self) -> SqlStore:
        return SqlStore(self.database, MasterKey(bytes(32)))

    def new_application(self) -> str:
        app_id = f"app-{next(self._numbers)}"
        self.run(self.store.create_application(Application(app_id, "", Policy(), 1, 1), []))
        return app_id

    def close(self) -> None:
        self.run(self.store.aclose())
        self.run(self.database.aclose())


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    with asyncio.Runner() as runner:
        world = World(database_url, runner)
        yield world
        world.close()


class TagMachine(RuleBasedStateMachine):
    """One application: who is on which device at which target, which tags there are, and who is on them."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world, self._store = world, world.store
        self._app = world.new_application()
        self._now = 1_000
        self._devices: dict[str, tuple[str | None, str]] = {}
        self._tags: set[str] = set()
        self._subscribed: set[tuple[tuple[str, str], str]] = set()

    @initialize()
    def begin(self) -> None:
        for name in TAGS[:2]:
            self.make(name)

    def _take_out(self, gone: list[str]) -> None:
        for name in gone:
            del self._devices[name]
        self._subscribed = {(who, tag) for who, tag in self._subscribed if who[0] not in gone}

    def _tick(self) -> int:
        self._now += 1
        return self._now

    @rule(name=st.sampled_from(NAMES), user=st.sampled_from([None, *PEOPLE]), at=st.sampled_from(TARGETS))
    def login(self, name: str, user: str | None, at: str) -> None:
        self._world.run(self._store.execute(register(name, user, at, app=self._app, now=self._tick())))
        self._take_out([other for other, (_, place) in self._devices.items() if place == at and other != name])
        self._devices[name] = (user, at)

    @rule(name=st.sampled_from(NAMES))
    def logout(self, name: str) -> None:
        self._world.run(self._store.execute(Unregister(self._app, name, AUTHORITY, self._tick())))
        self._take_out([name] if name in self._devices else [])

    @rule(user=st.sampled_from(PEOPLE))
    def logout_everywhere(self, user: str) -> None:
        self._world.run(self._store.execute(UnregisterUser(self._app, user, self._tick())))
        self._take_out([name for name, (owner, _) in self._devices.items() if owner == user])

    @rule(tag=st.sampled_from(TAGS[:2]))
    def make(self, tag: str) -> None:
        made = Tag(self._app, tag, "", self._now, self._now)
        if tag in self._tags:
            with pytest.raises(TagAlreadyExists):
                self._world.run(self._store.create_tag(made))
        else:
            self._world.run(self._store.create_tag(made))
            self._tags.add(tag)

    @rule(tag=st.sampled_from(TAGS[:2]))
    def delete(self, tag: str) -> None:
        assert self._world.run(self._store.delete_tag(self._app, tag, self._tick())) == (tag in self._tags)
        self._tags.discard(tag)
        self._subscribed = {(who, each) for who, each in self._subscribed if each != tag}

    @rule(who=WHO, tags=SOME_TAGS, on=st.booleans())
    def change(self, who: tuple[str, str], tags: list[str], on: bool) -> None:
        subscriber = Subscriber(self._app, *who)
        call = (self._store.subscribe if on else self._store.unsubscribe)(subscriber, tags, self._tick())
        if who[0] and who[0] not in self._devices:
            with pytest.raises(DeviceNotFound):
                self._world.run(call)
            return
        changes = self._world.run(call)
        assert [change.tag_name for change in changes] == tags
        for change in changes:
            key = (who, change.tag_name)
            there = key in self._subscribed
            if change.tag_name not in self._tags:
                expected = OUTCOME.TAG_NOT_FOUND
            elif on:
                expected = OUTCOME.EXISTED if there else OUTCOME.CREATED
                self._subscribed.add(key)
            else:
                expected = OUTCOME.REMOVED if there else OUTCOME.NOT_SUBSCRIBED
                self._subscribed.discard(key)
            assert change.outcome is expected
            assert (change.subscription is None) == (expected in (OUTCOME.TAG_NOT_FOUND, OUTCOME.NOT_SUBSCRIBED))

    def _reached(self, *tags: str) -> dict[str, bool]:
        """Devices, and whether each is found by its user alone."""
        reached = {}
        for name, (user, _) in self._devices.items():
            own = any(((name, ""), tag) in self._subscribed for tag in tags)
            if own or any((("", user), tag) in self._subscribed for tag in tags):
                reached[name] = not own
        return reached

    @invariant()
    def tags_reach_whom_they_should(self) -> None:
        for tags in (TAGS, *((tag,) for tag in TAGS)):
            assert self._world.run(self._planned(tags)) == self._reached(*tags)

    async def _planned(self, tags: tuple[str, ...]) -> dict[str, bool]:
        after: str | None = ""
        found: dict[str, bool] = {}
        while after is not None:
            audience = Audience(AudienceKind.TAGS, tags)
            page = await self._store.read_audience(self._app, audience, after, 2, self._now)
            for item in page.items:
                assert item.device_id not in found
                assert item.user_id == (self._devices[item.device_id][0] or "")
                found[item.device_id] = item.by_user
            after = page.after
        return found

    @invariant()
    def lists_say_the_same(self) -> None:
        for tag in TAGS:
            query = DeviceQuery(self._app, self._now, tag_name=tag)
            listed = self._world.run(self._store.list_devices(query, "", 10))
            assert [device.device_id for device in listed] == sorted(self._reached(tag))
        found = self._world.run(self._store.list_subscriptions(SubscriptionQuery(self._app, self._now), "", 100))
        assert {((each.subscriber.device_id, each.subscriber.user_id), each.tag_name) for each in found} == (
            self._subscribed
        )
        assert len({each.subscription_id for each in found}) == len(found)


def test_tags_reach_whom_they_should(world: World) -> None:
    quickly = settings(max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(lambda: TagMachine(world), settings=quickly)
