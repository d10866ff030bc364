"""Access tokens and keys at a simulated Google, with both engines: one request for all, renewed, refused, replaced."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bellhop_server.domain import SECOND
from bellhop_server.domain.application import FcmCredential
from bellhop_server.domain.delivery import Answer, Verdict
from tests.fcm_desk import Desk, fcm_desk, verdicts

ACCEPTED = Verdict.ACCEPTED


@pytest.fixture(params=["ngh2", "h2"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with fcm_desk(request.param) as desk:
        yield desk


@pytest.fixture(params=["ngh2", "h2"])
async def unhurried(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    """Nothing is told to be handed over before its answer, which would leave another try to who was told."""
    async with fcm_desk(request.param, limits={"confirm": 5.0}) as desk:
        yield desk


async def test_a_hundred_chunks_wait_for_one_token(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.send(desk.chunk(5)) for _ in range(100)))

    assert sum(map(verdicts, answers), verdicts([])) == {ACCEPTED: 500}
    assert desk.asked() == 1
    assert len(desk.shown()) == 1


async def test_it_is_renewed_before_its_end(desk: Desk) -> None:
    await desk.send(desk.chunk())
    desk.clock.advance(3599 - 240)
    assert verdicts(await desk.send(desk.chunk())) == {ACCEPTED: 1}
    await desk.fcm.journal.wait_for(2, path="/token")

    desk.clock.advance(300)
    assert verdicts(await desk.send(desk.chunk(20))) == {ACCEPTED: 20}
    assert desk.asked() == 2
    assert not desk.fcm.journal.find(status=401)


async def test_revoked_in_mid_run_it_is_replaced_once_and_nobody_notices(unhurried: Desk) -> None:
    desk = unhurried
    await desk.send(desk.chunk(seconds=15))
    running = [asyncio.create_task(desk.send(desk.chunk(100, seconds=15))) for _ in range(10)]
    await desk.fcm.journal.wait_for(300, status=200)
    desk.fcm.access_tokens.revoke_all()
    answers = await asyncio.gather(*running)

    told = sum(map(verdicts, answers), verdicts([]))
    assert told == {ACCEPTED: 1000}
    assert desk.asked() == 2
    assert desk.fcm.journal.find(status=401)
    assert desk.reasons() == []


async def test_one_that_expired_at_google_sooner_than_told_is_replaced(desk: Desk) -> None:
    desk.fcm.access_tokens.lifetime = 7200.0
    await desk.send(desk.chunk())
    desk.fcm.access_tokens.revoke_all()
    desk.clock.advance(1000)

    assert verdicts(await desk.send(desk.chunk(50))) == {ACCEPTED: 50}
    assert len(desk.shown()) == 2


async def test_when_another_one_is_refused_too_the_credential_is_left_alone(unhurried: Desk) -> None:
    desk = unhurried
    desk.fcm.faults.add({"status": 401})
    answers = await desk.send(desk.chunk(300, seconds=15))

    told = verdicts(answers)
    assert told[Verdict.CREDENTIALS_INVALID] == 300
    assert {answer.reason for answer in answers} == {"UNAUTHENTICATED"}
    assert desk.reasons() == ["UNAUTHENTICATED"]
    assert desk.asked() == 2

    sent = desk.sent()
    assert verdicts(await desk.send(desk.chunk(3, seconds=15))) == {Verdict.CREDENTIALS_INVALID: 3}
    assert desk.sent() == sent

    desk.fcm.faults.clear()
    desk.clock.advance(301)
    assert verdicts(await desk.send(desk.chunk(3, seconds=15))) == {ACCEPTED: 3}
    assert desk.reasons() == []


async def test_a_key_that_google_deleted(desk: Desk) -> None:
    desk.fcm.account.rotate()
    answers = await desk.send(desk.chunk(10))

    assert set(answers) == {
        Answer(Verdict.CREDENTIALS_INVALID, 400, "invalid_grant", retry_after=answers[0].retry_after)
    }
    assert desk.sent() == 0
    assert desk.reasons() == ["invalid_grant"]
    asked = desk.asked()
    assert verdicts(await desk.send(desk.chunk(10))) == {Verdict.CREDENTIALS_INVALID: 10}
    assert desk.asked() == asked, "the breaker is open"


async def test_deleted_in_mid_run_it_serves_until_the_token_ends(desk: Desk) -> None:
    await desk.send(desk.chunk())
    desk.fcm.account.rotate()
    desk.clock.advance(3599 - 200)
    assert verdicts(await desk.send(desk.chunk(10))) == {ACCEPTED: 10}
    await desk.fcm.journal.wait_for(1, path="/token", status=400)
    assert verdicts(await desk.send(desk.chunk(10))) == {ACCEPTED: 10}

    desk.clock.advance(300)
    assert verdicts(await desk.send(desk.chunk(10))) == {Verdict.CREDENTIALS_INVALID: 10}


async def test_a_key_replaced_in_mid_run(desk: Desk) -> None:
    """What goes under the old one stays true; what waits under it goes again under the new one."""
    await desk.send(desk.chunk())
    desk.fcm.faults.add({"delay": 0.2})
    old = asyncio.create_task(desk.send(desk.chunk(1000)))
    await desk.fcm.journal.wait_for(30)
    desk.fcm.account.rotate()
    renewed = desk.accepted(desk.fcm.account)
    desk.provider.forget("shop", "fcm")
    told = verdicts(await old)

    assert told[ACCEPTED] >= 30
    assert told[Verdict.NOT_SENT] > 0
    assert told[ACCEPTED] + told[Verdict.NOT_SENT] == 1000

    desk.fcm.faults.clear()
    chunk = desk.chunk(20, credential=renewed, credential_version=2)
    assert verdicts(await desk.send(chunk)) == {ACCEPTED: 20}
    assert len(desk.shown()) == 2
    # Another process may still have the old version in hand.
    late = await desk.send(desk.chunk(2))
    assert late == [Answer(Verdict.NOT_SENT, reason="CredentialReplaced")] * 2


async def test_a_newer_version_closes_what_was_open_under_the_old_one(desk: Desk) -> None:
    desk.fcm.account.rotate()
    assert verdicts(await desk.send(desk.chunk())) == {Verdict.CREDENTIALS_INVALID: 1}
    renewed = desk.accepted(desk.fcm.account)

    assert verdicts(await desk.send(desk.chunk(credential=renewed, credential_version=2))) == {ACCEPTED: 1}
    assert desk.reasons() == []


async def test_an_endpoint_that_is_away_is_asked_rarely_and_nothing_is_lost(desk: Desk) -> None:
    desk.fcm.faults.add({"status": 503, "retry_after": 40}, {"call": "token"})
    for _ in range(5):
        answers = await desk.send(desk.chunk(10))
        assert {(answer.verdict, answer.reason) for answer in answers} == {(Verdict.NOT_SENT, "AccessToken: HTTP 503")}
        assert answers[0].retry_after == pytest.approx(40, abs=2)
    assert (desk.asked(), desk.sent()) == (1, 0)
    assert desk.reasons() == []

    desk.fcm.faults.clear()
    desk.clock.advance(41)
    assert verdicts(await desk.send(desk.chunk(10))) == {ACCEPTED: 10}


async def test_an_endpoint_that_does_not_answer_holds_up_nobody_beyond_the_deadline(desk: Desk) -> None:
    desk.fcm.faults.add({"no_answer": True}, {"call": "token"})
    begun = desk.clock.monotonic()
    answers = await desk.send(desk.chunk(3, seconds=1.2))

    assert desk.clock.monotonic() - begun < 1.2
    assert set(answers) == {Answer(Verdict.NOT_SENT, reason="AccessToken: AnswerTimeout")}


@pytest.mark.parametrize("skew", [-7200.0, 7200.0])
async def test_a_clock_that_is_off_is_named(desk: Desk, skew: float) -> None:
    desk.clock.skew = skew
    (answer,) = await desk.send(desk.chunk())

    assert (answer.verdict, answer.reason) == (Verdict.CREDENTIALS_INVALID, "ClockSkew")
    assert desk.reasons() == ["ClockSkew"]


async def test_a_clock_that_is_a_little_off_does_no_harm(desk: Desk) -> None:
    desk.clock.skew = 60.0
    assert verdicts(await desk.send(desk.chunk())) == {ACCEPTED: 1}


async def test_a_stored_key_that_is_none(desk: Desk) -> None:
    secret = desk.credential(private_key="nonsense").secret
    (answer,) = await desk.send(desk.chunk(credential=secret))

    assert (answer.verdict, answer.reason) == (Verdict.CREDENTIALS_INVALID, "KeyUnreadable")


async def probe(desk: Desk, **changes: str) -> tuple[bool, bool, str]:
    result = await desk.provider.probe(desk.credential(**changes))
    assert abs(result.probe_time - desk.clock.now()) < 10 * SECOND
    return result.ok, result.reached, result.reason


async def test_a_good_credential_is_tried_on_nobody(desk: Desk) -> None:
    assert await probe(desk) == (True, True, "")

    (entry,) = (each for each in desk.fcm.journal.entries if each.path != "/token")
    assert entry.body["validate_only"] is True
    assert entry.token
    assert desk.fcm.devices.received(entry.token) == []


@pytest.mark.parametrize(
    "then",
    [
        {"status": 400, "reason": "INVALID_ARGUMENT", "field": "message.token"},
        {"status": 404, "reason": "UNREGISTERED"},
        {"status": 403, "reason": "SENDER_ID_MISMATCH"},
    ],
)
async def test_what_is_said_against_the_device_speaks_for_the_credential(desk: Desk, then: dict[str, object]) -> None:
    desk.fcm.faults.add(then)
    assert await probe(desk) == (True, True, "")


@pytest.mark.parametrize(
    ("then", "call", "told"),
    [
        ({"status": 401}, "send", (False, True, "UNAUTHENTICATED")),
        ({"status": 403, "reason": ""}, "send", (False, True, "PERMISSION_DENIED")),
        ({"status": 404, "reason": ""}, "send", (False, True, "NOT_FOUND")),
        ({"status": 429}, "send", (False, False, "QUOTA_EXCEEDED")),
        ({"status": 503}, "send", (False, False, "UNAVAILABLE")),
        ({"reset_stream": "INTERNAL_ERROR"}, "send", (False, False, "StreamReset")),
        ({"status": 400, "reason": "invalid_grant"}, "token", (False, True, "invalid_grant")),
        ({"status": 401}, "token", (False, True, "invalid_client")),
        ({"status": 503}, "token", (False, False, "AccessToken: HTTP 503")),
        ({"connection": "reset"}, "token", (False, False, "AccessToken: ConnectionLost")),
    ],
)
async def test_what_is_said_against_the_credential(
    desk: Desk, then: dict[str, object], call: str, told: tuple[bool, bool, str]
) -> None:
    desk.fcm.faults.add(then, {"call": call})
    assert await probe(desk) == told


async def test_an_account_without_the_right(desk: Desk) -> None:
    desk.fcm.account.permitted = False
    assert await probe(desk) == (False, True, "IAM_PERMISSION_DENIED")


async def test_a_credential_of_another_project(desk: Desk) -> None:
    assert await probe(desk, project_id="no-such-project") == (False, True, "NOT_FOUND")


async def test_nothing_secret_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    desk.fcm.faults.add({"status": 401, "body": '{"error": {"message": "ya29.repeated"}}'}, times=2)
    await desk.send(desk.chunk(3))
    other = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    assert isinstance(desk.secret, FcmCredential)
    wrong = replace(desk.secret, private_key=other.decode())
    (answer,) = await desk.send(desk.chunk(credential=wrong, credential_version=2))
    assert answer.reason == "invalid_grant"

    logged = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "Google gave no access token" in logged
    for secret in ("ya29.", "eyJ", "PRIVATE KEY", "APA91b"):
        assert secret not in logged
