"""The Python client, a whole server and a simulated APNs."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from bellhop.v1.applications_pb2 import SetCredentialRequest
from bellhop.v1.device_pb2 import DEVICE_STATE_ACTIVE, DEVICE_STATE_DEAD
from bellhop.v1.event_pb2 import RESULT_FILTER_FAILURES, SendEvent
from bellhop.v1.message_pb2 import MESSAGE_STATE_COMPLETED, OUTCOME_ACCEPTED, OUTCOME_TOKEN_INVALID
from bellhop_client import (
    AdminClient,
    ApnsTarget,
    Client,
    ConflictError,
    CredentialsError,
    InvalidRequestError,
    NotFoundError,
    Notification,
    PermissionDeniedError,
    to_users,
)
from bellhop_server.main import running_server
from bellhop_server.settings import Address, Settings
from bellhop_simulators import Simulation
from tests.system.live_server import ADMIN_TOKEN, Shop, settings_in

DINNER = Notification(title="Dinner is ready")


@pytest.fixture
async def simulation() -> AsyncIterator[Simulation]:
    async with Simulation() as simulation:
        yield simulation


@pytest.fixture
def settings(tmp_path: Path, simulation: Simulation) -> Settings:
    return settings_in(tmp_path, apns_url=simulation.apns.url, provider_ca=simulation.ca_file)


@pytest.fixture
async def address(settings: Settings) -> AsyncIterator[str]:
    async with running_server(settings) as server:
        yield server.address


@pytest.fixture
async def shop(address: str, simulation: Simulation) -> Shop:
    return await open_shop(address, simulation)


@pytest.fixture
async def client(address: str, shop: Shop) -> AsyncIterator[Client]:
    async with client_of(address, shop) as client:
        yield client


async def open_shop(address: str, simulation: Simulation) -> Shop:
    credential = ParseDict(simulation.description["credentials"]["apns"], SetCredentialRequest())
    async with AdminClient(address, admin_token=ADMIN_TOKEN) as admin:
        made = await admin.create_application(app_id="shop", display_name="The shop")
        answer = await admin.set_credential(app_id="shop", apns=credential.apns)
        assert answer.credential.probe.ok
    return Shop("shop", made.client_secret, made.app_secret)


def client_of(address: str, shop: Shop) -> Client:
    return Client(address, app_id=shop.app_id, client_secret=shop.client_secret, app_secret=shop.app_secret)


async def log_in(client: Client, device_id: str, user_id: str) -> str:
    token = secrets.token_hex(32)
    await client.register_device(device_id=device_id, user_id=user_id, apns=ApnsTarget(token=token))
    return token


def taken(simulation: Simulation) -> list[str]:
    """Tokens of the phones that were rung. (Trying a credential rings none: its token is nobody's.)"""
    return [entry.token for entry in simulation.journal.entries if entry.accepted and entry.token.strip("0")]


@pytest.mark.promise("P11")
async def test_a_send_tells_of_each_phone_and_a_dead_one_is_retired(client: Client, simulation: Simulation) -> None:
    alive = await log_in(client, "alive", "anna")
    dead = await log_in(client, "dead", "anna")
    await log_in(client, "bens", "ben")
    simulation.apns.devices.unregister(dead)

    stream = client.send(audience=to_users("anna"), notification=DINNER)
    outcomes = {result.device_id: result.outcome for result in await stream.results()}

    assert outcomes == {"alive": OUTCOME_ACCEPTED, "dead": OUTCOME_TOKEN_INVALID}
    assert stream.summary
    assert stream.summary.counts.device_count == stream.summary.counts.finished_count == 2
    assert taken(simulation) == [alive]
    assert [each.device_id async for each in client.devices(states=[DEVICE_STATE_DEAD])] == ["dead"]
    active = client.devices(states=[DEVICE_STATE_ACTIVE], page_size=1)
    assert [each.device_id async for each in active] == ["alive", "bens"]


async def test_what_became_of_a_message_can_be_asked_in_every_way(client: Client, simulation: Simulation) -> None:
    await log_in(client, "alive", "anna")
    simulation.apns.devices.unregister(await log_in(client, "dead", "anna"))
    stream = client.send(audience=to_users("anna"), notification=DINNER)
    events = [event async for event in stream]

    message = (await client.get_message(message_id=stream.message_id)).message
    assert message.state == MESSAGE_STATE_COMPLETED
    assert stream.summary
    assert message.counts == stream.summary.counts
    assert [each.message_id async for each in client.messages()] == [stream.message_id]
    told = {result.device_id async for result in client.results(message_id=stream.message_id, page_size=1)}
    assert told == {"alive", "dead"}

    watched = [event async for event in client.watch(stream.message_id, after_cursor=events[0].cursor)]
    assert sum(len(event.results.results) for event in watched) == 2
    assert watched[-1].summary == stream.summary
    failed = await client.watch(stream.message_id, result_filter=RESULT_FILTER_FAILURES).results()
    assert [result.device_id for result in failed] == ["dead"]


@pytest.mark.promise("P10")
async def test_a_stream_goes_on_where_it_was_when_the_server_is_replaced(
    settings: Settings, simulation: Simulation
) -> None:
    heard: list[SendEvent] = []
    first_result = asyncio.Event()

    async def listen(client: Client) -> None:
        async for event in client.send(audience=to_users("anna"), notification=DINNER):
            heard.append(event)
            if event.HasField("results"):
                first_result.set()

    async with AsyncExitStack() as stack, AsyncExitStack() as first_life:
        first = await first_life.enter_async_context(running_server(settings))
        client = await stack.enter_async_context(client_of(first.address, await open_shop(first.address, simulation)))
        fast = await log_in(client, "fast", "anna")
        slow = await log_in(client, "slow", "anna")
        simulation.apns.faults.add({"delay": 0.5}, {"token": slow})
        listening = asyncio.create_task(listen(client))
        await first_result.wait()
        await first_life.aclose()
        same_place = replace(settings, listen=Address.parse(first.address))
        await stack.enter_async_context(running_server(same_place))
        await listening

    assert [event.WhichOneof("event") for event in heard].count("accepted") == 1
    assert sorted(result.device_id for event in heard for result in event.results.results) == ["fast", "slow"]
    assert heard[-1].summary.counts.finished_count == 2
    assert sorted(taken(simulation)) == sorted((fast, slow))


@pytest.mark.promise("P8")
async def test_a_request_id_is_one_message_whoever_repeats_it(client: Client, simulation: Simulation) -> None:
    token = await log_in(client, "alive", "anna")

    first = client.send(audience=to_users("anna"), notification=DINNER, request_id="order-17")
    again = client.send(audience=to_users("anna"), notification=DINNER, request_id="order-17")
    assert await first.results() == await again.results()
    assert again.accepted
    assert (again.message_id, again.accepted.replayed) == (first.message_id, True)
    assert taken(simulation) == [token]

    other = client.send(audience=to_users("anna"), notification=Notification(title="Else"), request_id="order-17")
    with pytest.raises(ConflictError) as caught:
        await other.results()
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert caught.value.metadata["message_id"] == first.message_id


async def test_errors_have_class_reason_and_fields(client: Client, address: str, shop: Shop) -> None:
    with pytest.raises(NotFoundError) as missing:
        await client.get_device(device_id="nowhere")
    assert (missing.value.reason, missing.value.metadata) == ("DEVICE_NOT_FOUND", {"device_id": "nowhere"})

    with pytest.raises(InvalidRequestError) as wrong:
        await client.send(audience=to_users("anna", ""), notification=Notification()).results()
    assert wrong.value.reason == "INVALID_REQUEST"
    assert {"audience.users.user_ids[1]", "notification"} <= {each.field for each in wrong.value.violations}

    async with Client(address, app_id="shop", app_secret="bha_guessed") as stranger:
        with pytest.raises(CredentialsError, match=r"^CREDENTIALS_INVALID: [^\n]+$"):
            await stranger.send(audience=to_users("anna"), notification=DINNER).results()
    async with Client(address, app_id="shop", client_secret=shop.client_secret) as phone:
        with pytest.raises(PermissionDeniedError) as denied:
            await phone.send(audience=to_users("anna"), notification=DINNER).results()
        assert denied.value.code is grpc.StatusCode.PERMISSION_DENIED
