"""Trying a credential at APNs, with both engines, without reaching a device."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bellhop_server.domain import SECOND
from bellhop_server.domain.application import ProbeResult
from bellhop_server.domain.delivery import Verdict
from bellhop_server.domain.device import ApnsEnvironment
from tests.apns_desk import TOPIC, Desk, apns_desk, verdicts

PRODUCTION, SANDBOX = ApnsEnvironment.PRODUCTION, ApnsEnvironment.SANDBOX


@pytest.fixture(params=["ngh2", "h2"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with apns_desk(request.param) as desk:
        yield desk


async def probe(desk: Desk, **changes: Any) -> tuple[bool, bool, str]:
    result = await desk.provider.probe(desk.credential(**changes))
    assert isinstance(result, ProbeResult)
    assert abs(result.probe_time - desk.clock.now()) < 10 * SECOND
    return result.ok, result.reached, result.reason


async def test_a_good_key_is_taken_in_both_environments(desk: Desk) -> None:
    assert await probe(desk) == (True, True, "")

    entries = list(desk.apns.journal.entries)
    assert sorted(entry.environment for entry in entries) == ["production", "sandbox"]
    assert {entry.token for entry in entries} == {"0" * 64}
    assert {entry.topic for entry in entries} == {TOPIC}
    assert {entry.headers["apns-push-type"] for entry in entries} == {"background"}
    assert not desk.apns.connections.open


async def test_only_the_named_environments_are_asked(desk: Desk) -> None:
    assert await probe(desk, environments=(SANDBOX, SANDBOX)) == (True, True, "")
    assert [entry.environment for entry in desk.apns.journal.entries] == ["sandbox"]


@pytest.mark.parametrize(
    "then",
    [
        {"status": 400, "reason": "BadDeviceToken"},
        {"status": 400, "reason": "DeviceTokenNotForTopic"},
        {"status": 410, "reason": "Unregistered"},
    ],
)
async def test_what_is_said_against_the_device_speaks_for_the_key(desk: Desk, then: dict[str, Any]) -> None:
    desk.apns.faults.add(then)
    assert await probe(desk) == (True, True, "")


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "TopicDisallowed"), (400, "BadTopic"), (403, "InvalidProviderToken"), (403, "Forbidden"), (403, "New")],
)
async def test_a_refusal_is_told_in_the_words_of_apple(desk: Desk, status: int, reason: str) -> None:
    desk.apns.faults.add({"status": status, "reason": reason}, {"environment": "sandbox"})
    assert await probe(desk) == (False, True, reason)


async def test_a_revoked_key_is_refused(desk: Desk) -> None:
    desk.apns.key.revoked = True
    assert await probe(desk) == (False, True, "InvalidProviderToken")


async def test_a_key_for_one_environment_is_good_if_no_other_was_named(desk: Desk) -> None:
    desk.apns.key.environments = {"production"}
    reason = "BadEnvironmentKeyIdInToken"

    assert await probe(desk) == (True, True, f"sandbox: {reason}")
    assert await probe(desk, environments=(PRODUCTION,)) == (True, True, "")
    assert await probe(desk, environments=(PRODUCTION, SANDBOX)) == (False, True, reason)
    assert await probe(desk, environments=(SANDBOX,)) == (False, True, reason)


async def test_a_key_for_no_environment_is_refused(desk: Desk) -> None:
    desk.apns.faults.add({"status": 403, "reason": "BadEnvironmentKeyInToken"})
    assert await probe(desk) == (False, True, "BadEnvironmentKeyInToken")


@pytest.mark.parametrize("then", [{"status": 503}, {"status": 429}, {"connection": "reset"}, {"status": 404}])
async def test_an_apns_that_is_not_itself_says_nothing_about_the_key(desk: Desk, then: dict[str, Any]) -> None:
    desk.apns.faults.add(then)
    ok, reached, reason = await probe(desk)
    assert (ok, reached) == (False, False)
    assert reason


async def test_an_environment_that_cannot_be_asked_is_named(desk: Desk) -> None:
    desk.apns.faults.add({"status": 503}, {"environment": "sandbox"})
    assert await probe(desk) == (True, True, "sandbox: ServiceUnavailable")


@pytest.mark.parametrize("engine", ["ngh2", "h2"])
async def test_nobody_there(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellhop_server.providers.apns.probing.SECONDS", 0.2)
    async with apns_desk(engine) as desk:
        await desk.apns.__aexit__(None, None, None)
        ok, reached, reason = await probe(desk)
        assert (ok, reached) == (False, False)
        assert set(reason.split("; ")) == {"production: ConnectionRefused", "sandbox: ConnectionRefused"}


async def test_a_key_that_cannot_be_read_asks_nobody(desk: Desk) -> None:
    ok, reached, reason = await probe(desk, p8="sesame")
    assert (ok, reached) == (False, True)
    assert "sesame" not in reason
    assert len(desk.apns.connections) == 0


async def test_probing_and_sending_show_the_same_token(desk: Desk) -> None:
    await probe(desk)
    await desk.send(desk.chunk(5))
    await probe(desk)

    production = [entry for entry in desk.apns.journal.entries if entry.environment == "production"]
    assert len({entry.headers["authorization"] for entry in production}) == 1


async def test_a_topic_that_is_new_to_the_key_is_known_to_the_probe(desk: Desk) -> None:
    await desk.send(desk.chunk())
    desk.apns.key.topics.append("com.example.other")

    assert await probe(desk, topics=("com.example.other",)) == (True, True, "")


async def test_a_probe_does_not_open_a_breaker(desk: Desk) -> None:
    desk.apns.faults.add({"status": 403, "reason": "InvalidProviderToken"}, times=2)
    assert await probe(desk) == (False, True, "InvalidProviderToken")
    assert desk.provider.breakers("shop") == []
    assert verdicts(await desk.send(desk.chunk(3, credential=replace(desk.secret)))) == {Verdict.ACCEPTED: 3}
