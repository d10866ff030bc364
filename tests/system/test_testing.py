"""What users of Bellhop test with: a whole server in their own process, whose networks only remember."""

import pytest

from bellhop.v1.event_pb2 import SendEvent
from bellhop.v1.message_pb2 import OUTCOME_ACCEPTED, OUTCOME_TOKEN_INVALID
from bellhop_client import (
    ApnsTarget,
    ConflictError,
    CredentialsError,
    FcmTarget,
    Notification,
    WebPushTarget,
    to_everyone,
    to_users,
)
from bellhop_client.sync import SyncClient
from bellhop_testing import FakeBellhop

pytest_plugins = ["bellhop_testing.fixtures"]

HELLO = Notification(title="Hello", data={"order": "17"})
P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"


def outcomes(client: SyncClient, user_id: str, request_id: str = "") -> dict[str, int]:
    with client.send(audience=to_users(user_id), notification=HELLO, request_id=request_id) as stream:
        events: list[SendEvent] = list(stream)
    return {result.device_id: result.outcome for event in events for result in event.results.results}


def test_what_reached_a_person_is_remembered(bellhop: FakeBellhop, bellhop_client: SyncClient) -> None:
    targets = {
        "phone": {"apns": ApnsTarget(token="ab" * 32)},
        "pixel": {"fcm": FcmTarget(token="pixel-token")},
        "firefox": {"web_push": WebPushTarget(endpoint="https://push.example/1", p256dh=P256DH, auth=AUTH)},
    }
    for device_id, target in targets.items():
        bellhop_client.register_device(device_id=device_id, user_id="anna", **target)
    assert outcomes(bellhop_client, "anna") == dict.fromkeys(targets, OUTCOME_ACCEPTED)
    assert {each.device_id for each in bellhop.sent("anna")} == set(targets)
    assert all(each.notification == HELLO for each in bellhop.sent())
    assert bellhop.sent("ben") == []


def test_a_dead_token_is_forgotten_as_in_truth(bellhop: FakeBellhop, bellhop_client: SyncClient) -> None:
    bellhop_client.register_device(device_id="phone", user_id="anna", fcm=FcmTarget(token="old"))
    bellhop.lose("old")
    assert outcomes(bellhop_client, "anna") == {"phone": OUTCOME_TOKEN_INVALID}
    assert bellhop.sent() == []


def test_what_a_network_could_not_take_is_tried_again(bellhop: FakeBellhop, bellhop_client: SyncClient) -> None:
    bellhop_client.register_device(device_id="phone", user_id="anna", apns=ApnsTarget(token="ab" * 32))
    bellhop.networks_go_down()
    with bellhop_client.send(audience=to_users("anna"), notification=HELLO) as stream:
        assert next(iter(stream)).HasField("accepted")
        bellhop.networks_come_back()
        assert [each.outcome for each in stream.results()] == [OUTCOME_ACCEPTED]


def test_the_server_refuses_what_it_refuses(bellhop: FakeBellhop, bellhop_client: SyncClient) -> None:
    bellhop_client.register_device(device_id="phone", user_id="anna", apns=ApnsTarget(token="ab" * 32))
    outcomes(bellhop_client, "anna", request_id="r1")
    with (
        pytest.raises(ConflictError),
        bellhop_client.send(audience=to_everyone(), notification=HELLO, request_id="r1") as stream,
    ):
        list(stream)
    with (
        SyncClient(bellhop.address, app_id="test", app_secret="wrong") as stranger,
        pytest.raises(CredentialsError),
    ):
        stranger.get_device(device_id="phone")


async def test_tests_with_an_event_loop_use_it_too(bellhop: FakeBellhop) -> None:
    async with bellhop.client() as client:
        await client.register_device(device_id="phone", user_id="anna", apns=ApnsTarget(token="ab" * 32))
        await client.send(audience=to_everyone(), notification=HELLO).results()
    assert [(each.device_id, each.user_id) for each in bellhop.sent()] == [("phone", "anna")]


def test_each_has_a_server_of_its_own() -> None:
    with FakeBellhop() as one, FakeBellhop() as other, one.sync_client() as client:
        client.register_device(device_id="phone", user_id="anna", apns=ApnsTarget(token="ab" * 32))
        outcomes(client, "anna")
        assert (len(one.sent()), other.sent()) == (1, [])
