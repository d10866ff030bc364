"""Keys, topics, breakers and what is closed when, with both engines, against the rules of a simulated APNs."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bellhop_server.domain import SECOND
from bellhop_server.domain.application import ApnsCredential
from bellhop_server.domain.delivery import Verdict
from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.domain.notification import ApnsOverride, ApnsPushType, Notification
from tests.apns_desk import TOPIC, Desk, apns_desk, verdicts

ACCEPTED = Verdict.ACCEPTED
REFUSED = Verdict.CREDENTIALS_INVALID
MINUTES = 60.0


@pytest.fixture(params=["ngh2", "h2"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with apns_desk(request.param) as desk:
        yield desk


async def test_a_revoked_key_stops_everything_and_is_asked_for_now_and_then(desk: Desk) -> None:
    await desk.send(desk.chunk())
    desk.apns.key.revoked = True

    assert verdicts(await desk.send(desk.chunk(500))) == {REFUSED: 500}
    (breaker,) = desk.provider.breakers("shop")
    assert (breaker.credential_id, breaker.reason) == ("apns", "InvalidProviderToken")
    assert breaker.retry_time == pytest.approx(desk.clock.now() + 300 * SECOND, abs=5 * SECOND)
    assert desk.provider.breakers("bakery") == []
    seen, connections = desk.apns.journal.total, len(desk.apns.connections)

    answers = await desk.send(desk.chunk(100))
    assert {(answer.verdict, answer.status, answer.reason) for answer in answers} == {
        (REFUSED, 0, "InvalidProviderToken")
    }
    assert (desk.apns.journal.total, len(desk.apns.connections)) == (seen, connections)

    desk.clock.advance(5 * MINUTES)
    assert verdicts(await desk.send(desk.chunk(50))) == {REFUSED: 50}
    assert desk.apns.journal.total == seen + 1

    desk.clock.advance(5 * MINUTES)
    desk.apns.key.revoked = False
    desk.apns.faults.add({"delay": 0.1}, times=1)
    probing = asyncio.create_task(desk.send(desk.chunk(50)))
    await desk.apns.journal.wait_for(seen + 2)
    assert verdicts(await desk.send(desk.chunk(50))) == {REFUSED: 50}  # One at a time may probe.
    assert not probing.done()
    assert verdicts(await probing) == {ACCEPTED: 50}
    assert desk.provider.breakers("shop") == []


async def test_a_probe_that_teaches_nothing_leaves_the_breaker_open(desk: Desk) -> None:
    desk.apns.key.revoked = True
    await desk.send(desk.chunk())
    desk.clock.advance(5 * MINUTES)
    desk.apns.key.revoked = False
    desk.apns.faults.add({"status": 503}, times=1)

    answers = await desk.send(desk.chunk(5))

    assert [answer.verdict for answer in answers] == [Verdict.PROVIDER_UNAVAILABLE] + [Verdict.NOT_SENT] * 4
    assert len(desk.provider.breakers("shop")) == 1
    assert verdicts(await desk.send(desk.chunk(5))) == {ACCEPTED: 5}


async def test_a_refused_topic_stops_that_topic_alone(desk: Desk) -> None:
    desk.apns.faults.add({"status": 400, "reason": "TopicDisallowed"}, {"push_type": "voip"})
    call = Notification(title="Anna", apns=ApnsOverride(push_type=ApnsPushType.VOIP))

    assert verdicts(await desk.send(desk.chunk(50, notification=call))) == {Verdict.CONFIG_ERROR: 50}
    seen = desk.apns.journal.total
    assert verdicts(await desk.send(desk.chunk(50, notification=call))) == {Verdict.CONFIG_ERROR: 50}
    assert desk.apns.journal.total == seen
    assert verdicts(await desk.send(desk.chunk(50))) == {ACCEPTED: 50}
    assert [breaker.reason for breaker in desk.provider.breakers("shop")] == ["TopicDisallowed"]


async def test_a_refused_topic_leaves_what_goes_beside_it(desk: Desk) -> None:
    desk.apns.faults.add({"status": 400, "reason": "TopicDisallowed"}, {"push_type": "voip"})
    call = Notification(title="Anna", apns=ApnsOverride(push_type=ApnsPushType.VOIP))

    calls, others = await asyncio.gather(desk.send(desk.chunk(50, notification=call)), desk.send(desk.chunk(50)))

    assert (verdicts(calls), verdicts(others)) == ({Verdict.CONFIG_ERROR: 50}, {ACCEPTED: 50})


async def test_what_waits_for_a_refused_topic_waits_for_no_other_connection(desk: Desk) -> None:
    desk.apns.faults.add({"status": 400, "reason": "TopicDisallowed", "goaway": {}})

    assert verdicts(await desk.send(desk.chunk(50))) == {Verdict.CONFIG_ERROR: 50}
    await desk.open_connections(0)
    assert len(desk.apns.connections) == 1


async def test_a_key_of_one_environment_stops_the_other_alone(desk: Desk) -> None:
    desk.apns.key.environments = {"production"}

    answers, others = await asyncio.gather(
        desk.send(desk.chunk(20, environment=ApnsEnvironment.SANDBOX)), desk.send(desk.chunk(20))
    )

    assert verdicts(answers) == {REFUSED: 20}
    assert {answer.reason for answer in answers} == {"BadEnvironmentKeyIdInToken"}
    assert verdicts(others) == {ACCEPTED: 20}


async def test_forgetting_a_credential_closes_its_breaker_and_its_connections(desk: Desk) -> None:
    await desk.send(desk.chunk())
    desk.apns.key.revoked = True
    await desk.send(desk.chunk())
    desk.apns.key.revoked = False

    desk.provider.forget("shop", "apns")

    assert desk.provider.breakers("shop") == []
    assert verdicts(await desk.send(desk.chunk(5, credential_version=2))) == {ACCEPTED: 5}
    assert len(desk.provider_tokens()) == 1


async def test_forgetting_closes_connections_and_gives_back_what_waits(desk: Desk) -> None:
    desk.apns.faults.add({"delay": 0.1}, times=1)
    sending = asyncio.create_task(desk.send(desk.chunk(20)))
    await desk.apns.journal.wait_for(1)

    desk.provider.forget("shop", "apns")

    assert [answer.verdict for answer in await sending] == [ACCEPTED] + [Verdict.NOT_SENT] * 19
    await desk.open_connections(0)


async def test_forgetting_replaces_connections_that_another_application_uses(desk: Desk) -> None:
    await desk.send(desk.chunk())
    await desk.send(desk.chunk(app_id="bakery"))
    assert len(desk.apns.connections) == 1

    desk.provider.forget("shop", "apns")

    assert verdicts(await desk.send(desk.chunk(5, app_id="bakery"))) == {ACCEPTED: 5}
    await desk.open_connections(1)
    assert len(desk.apns.connections) == 2


async def test_a_newer_version_is_news_although_nobody_told(desk: Desk) -> None:
    other = desk.apns.keys.add([TOPIC])
    newer = replace(desk.secret, key_id=other.key_id, team_id=other.team_id, p8=other.p8)
    desk.apns.key.revoked = True
    await desk.send(desk.chunk())

    assert verdicts(await desk.send(desk.chunk(5, credential=newer, credential_version=2))) == {ACCEPTED: 5}
    assert verdicts(await desk.send(desk.chunk(5))) == {Verdict.NOT_SENT: 5}  # Read before it was replaced.
    assert desk.provider.breakers("shop") == []
    await desk.open_connections(1)


async def test_a_new_bundle_id_gets_connections_that_know_it(desk: Desk) -> None:
    await desk.send(desk.chunk())
    desk.apns.key.topics.append("com.example.other")
    wider = replace(desk.secret, topics=(TOPIC, "com.example.other"))
    # Another application with the same key, which has not been replaced.
    chunk = desk.chunk(5, app_id="bakery", topic="com.example.other", credential=wider)

    assert verdicts(await desk.send(chunk)) == {ACCEPTED: 5}
    assert verdicts(await desk.send(desk.chunk(5))) == {ACCEPTED: 5}
    assert desk.reasons() == set()
    assert len(desk.apns.connections) == 2


@pytest.mark.parametrize("engine", ["ngh2", "h2"])
async def test_a_new_bundle_id_ends_no_connection_that_is_yet_to_be_used(engine: str) -> None:
    # A connection that ends before it was any use is followed by another only after a long pause.
    async with apns_desk(engine, limits={"backoff_first": 60.0, "backoff_most": 60.0}) as desk:
        other = replace(desk.secret, topics=("com.example.other",))

        both = await asyncio.gather(
            desk.send(desk.chunk(5, seconds=2.0)),
            desk.send(desk.chunk(5, seconds=2.0, app_id="bakery", credential=other)),
        )

        assert [verdicts(answers) for answers in both] == [{ACCEPTED: 5}] * 2


async def test_a_wrong_key_text_under_the_same_id_can_be_mended(desk: Desk) -> None:
    other = desk.apns.keys.add([TOPIC])
    wrong = replace(desk.secret, p8=other.p8)

    assert verdicts(await desk.send(desk.chunk(3, credential=wrong))) == {REFUSED: 3}
    assert verdicts(await desk.send(desk.chunk(3, credential_version=2))) == {ACCEPTED: 3}


async def test_a_key_that_cannot_be_read_is_refused_without_a_question(desk: Desk) -> None:
    broken = replace(desk.secret, p8="-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")

    assert verdicts(await desk.send(desk.chunk(3, credential=broken))) == {REFUSED: 3}
    assert len(desk.apns.connections) == 0


async def test_what_nobody_waits_for_any_more_is_not_sent_later(desk: Desk) -> None:
    desk.apns.faults.add({"delay": 0.2}, {"request": 1})
    told: list[Any] = []
    chunk = desk.chunk(100)
    sending = asyncio.create_task(desk.provider.send(chunk, lambda *answer: told.append(answer), told.append))
    await desk.apns.journal.wait_for(1)

    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await desk.send(desk.chunk(1))

    assert desk.apns.journal.total == 2
    assert told == []


async def test_closing_waits_for_answers_and_sends_nothing_more(desk: Desk) -> None:
    desk.apns.faults.add({"delay": 0.1}, {"request": 1})
    sending = asyncio.create_task(desk.send(desk.chunk(20)))
    await desk.apns.journal.wait_for(1)

    await desk.provider.aclose()

    assert verdicts(await sending) == {ACCEPTED: 1, Verdict.NOT_SENT: 19}
    assert verdicts(await desk.send(desk.chunk(5))) == {Verdict.NOT_SENT: 5}


async def test_no_secret_is_logged_or_told(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    (token,) = desk.tokens(1)
    jwt = desk.apns.key.provider_token()
    for status in (400, 403, 500):
        desk.apns.faults.add({"status": status, "reason": f"no {token} by {jwt}\n"}, times=2)

    answers = [await desk.send(desk.chunk(tokens=[token])) for _ in range(3)]

    said = caplog.text + repr(answers) + "".join(repr(vars(record)) for record in caplog.records)
    assert "no … by …" in said
    shown = desk.provider_tokens()[0].removeprefix("bearer ")
    for secret in (token, jwt, shown, shown.rpartition(".")[2], desk.secret.p8.splitlines()[1]):
        assert secret not in said


def test_a_credential_hides_its_key() -> None:
    assert "sesame" not in repr(ApnsCredential("KEY1234567", "TEAM123456", "sesame", (TOPIC,)))
