"""Apple's rules for provider tokens, by a clock that the tests move."""

import base64
import json
from collections.abc import AsyncIterator

import jwt
import pytest

from bellhop_simulators import ApnsSimulator, ManualClock
from tests.unit.apns_wire import WireClient


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest.fixture
async def apns(clock: ManualClock) -> AsyncIterator[ApnsSimulator]:
    async with ApnsSimulator(clock=clock) as simulator:
        yield simulator


@pytest.fixture
async def client(apns: ApnsSimulator) -> AsyncIterator[WireClient]:
    async with await WireClient.connect(apns) as connected:
        yield connected


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (0, ""),
        (3599, ""),
        (3600, "ExpiredProviderToken"),
        (7200, "ExpiredProviderToken"),
        (-60, "InvalidProviderToken"),
    ],
)
async def test_a_token_is_good_for_an_hour(client: WireClient, age: float, reason: str) -> None:
    assert (await client.push(jwt=client.apns.key.provider_token(age=age))).reason == reason


async def test_a_token_expires_in_use(client: WireClient, clock: ManualClock) -> None:
    token = client.apns.key.provider_token()
    assert (await client.push(jwt=token)).status == 200
    clock.advance(3599)
    assert (await client.push(jwt=token)).status == 200
    clock.advance(1)
    assert (await client.push(jwt=token)).reason == "ExpiredProviderToken"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "OTHERTEAM1"},
        {"iss": None},
        {"iat": "now"},
        {"iat": None},
        {"iat": True},
        {"iat": 1e300},
        {"iat": -(10**300)},
        {"iat": float("nan")},
    ],
)
async def test_wrong_claims_are_refused(client: WireClient, claims: dict[str, object]) -> None:
    assert (await client.push(jwt=client.apns.key.provider_token(**claims))).reason == "InvalidProviderToken"
    assert (await client.push()).status == 200


async def test_a_wrong_signature_algorithm_or_key_id_is_refused(client: WireClient, clock: ManualClock) -> None:
    key, stranger = client.apns.key, ApnsSimulator(clock=clock).key
    claims = {"iss": key.team_id, "iat": int(clock.now())}
    unsigned = ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode()
        for part in (json.dumps({"alg": "none", "kid": key.key_id}).encode(), json.dumps(claims).encode(), b"")
    )
    for token in (
        jwt.encode(claims, stranger.private_key, algorithm="ES256", headers={"kid": key.key_id}),
        jwt.encode(claims, key.private_key, algorithm="ES256"),
        jwt.encode(claims, key.private_key, algorithm="ES256", headers={"kid": stranger.key_id}),
        jwt.encode(claims, "s" * 32, algorithm="HS256", headers={"kid": key.key_id}),
        unsigned,
    ):
        assert (await client.push(jwt=token)).reason == "InvalidProviderToken"
    assert (
        await client.push(jwt=jwt.encode(claims, key.private_key, "ES256", headers={"kid": key.key_id}))
    ).status == 200


async def test_a_second_token_within_twenty_minutes_is_one_too_many(client: WireClient, clock: ManualClock) -> None:
    key = client.apns.key
    first, second = key.provider_token(age=10), key.provider_token(age=5)
    assert (await client.push(jwt=first)).status == 200
    clock.advance(1199)
    refused = await client.push(jwt=second)
    assert (refused.status, refused.reason) == (429, "TooManyProviderTokenUpdates")
    assert (await client.push(jwt=first)).status == 200, "the older one still serves"

    clock.advance(1)
    assert (await client.push(jwt=second)).status == 200
    assert (await client.push(jwt=first)).status == 200, "seen before: no update"
    assert (await client.push(jwt=key.provider_token())).reason == "TooManyProviderTokenUpdates"


async def test_another_connection_has_its_own_twenty_minutes(client: WireClient) -> None:
    await client.push(jwt=client.apns.key.provider_token(age=5))
    async with await WireClient.connect(client.apns) as other:
        assert (await other.push(jwt=client.apns.key.provider_token())).status == 200


async def test_a_connection_belongs_to_the_team_of_its_first_push(client: WireClient, clock: ManualClock) -> None:
    stranger = client.apns.keys.add(["com.example.app"])
    assert (await client.push()).status == 200
    clock.advance(1300)

    assert (await client.push(jwt=stranger.provider_token())).reason == "InvalidProviderToken"
    async with await WireClient.connect(client.apns) as other:
        assert (await other.push(jwt=stranger.provider_token())).status == 200


async def test_another_key_of_the_team_must_be_related(client: WireClient, clock: ManualClock) -> None:
    keys, first = client.apns.keys, client.apns.key
    unrelated = keys.add(first.topics, team_id=first.team_id)
    related = keys.add(first.topics, team_id=first.team_id, related_to=first.key_id)
    assert (await client.push()).status == 200
    clock.advance(1300)

    refused = await client.push(jwt=unrelated.provider_token())
    assert (refused.status, refused.reason) == (403, "UnrelatedKeyIdInToken")
    assert (await client.push(jwt=related.provider_token())).status == 200


async def test_a_key_serves_its_environments(client: WireClient) -> None:
    key = client.apns.keys.add(["com.example.app"], environments=["sandbox"])

    refused = await client.push(jwt=key.provider_token())
    assert (refused.status, refused.reason) == (403, "BadEnvironmentKeyIdInToken")
    async with await WireClient.connect(client.apns, sandbox=True) as other:
        assert (await other.push(jwt=key.provider_token())).status == 200


async def test_a_revoked_key_is_refused_at_once(client: WireClient) -> None:
    assert (await client.push()).status == 200
    client.apns.key.revoked = True
    assert (await client.push()).reason == "InvalidProviderToken"


async def test_a_topic_added_later_needs_a_new_connection(client: WireClient) -> None:
    assert (await client.push()).status == 200
    client.apns.key.topics.append("com.example.second")

    assert (await client.push(apns_topic="com.example.second")).reason == "InvalidProviderToken"
    async with await WireClient.connect(client.apns) as other:
        assert (await other.push(apns_topic="com.example.second")).status == 200
