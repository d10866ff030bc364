"""What a server takes at once, and how it says that it is too much."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.rpc.admission import Limits
from bellhop_server.rpc.server import OPTIONS
from tests.system.live_server import (
    Live,
    Shop,
    as_admin,
    credentials,
    details,
    live_server,
    refusal,
    settings_in,
    told,
)

MIB = 1024 * 1024


def request_of(size: int) -> reg.UnregisterUserRequest:
    request = reg.UnregisterUserRequest(user_id="x" * size)
    return reg.UnregisterUserRequest(user_id="x" * (2 * size - request.ByteSize()))


async def test_a_request_of_four_mebibytes_is_read(live: Live, shop: Shop) -> None:
    request = request_of(4 * MIB)
    assert request.ByteSize() == 4 * MIB
    error = await refusal(live.registry.UnregisterUser(request, metadata=shop.client))
    assert details(error)["BadRequest"].field_violations[0].field == "user_id"


async def test_a_larger_request_gets_an_error_of_ours(live: Live, shop: Shop) -> None:
    error = await refusal(live.registry.UnregisterUser(request_of(4 * MIB + 1), metadata=shop.client))
    limit = {"limit": "request_bytes", "value": str(4 * MIB)}
    assert told(error) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", limit)


async def test_a_large_request_of_a_stranger_is_not_even_measured(live: Live, shop: Shop) -> None:
    error = await refusal(live.registry.UnregisterUser(request_of(5 * MIB), metadata=credentials("shop")))
    assert told(error)[1] == "CREDENTIALS_MISSING"


async def test_a_request_beyond_all_measure_is_cut_off_by_the_transport(live: Live, shop: Shop) -> None:
    error = await refusal(live.registry.UnregisterUser(request_of(17 * MIB), metadata=shop.client))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_compression_does_not_get_around_it(live: Live, shop: Shop) -> None:
    call = live.registry.UnregisterUser(request_of(5 * MIB), metadata=shop.client, compression=grpc.Compression.Gzip)
    assert told(await refusal(call))[2]["limit"] == "request_bytes"


async def test_metadata_has_a_limit(live: Live, shop: Shop) -> None:
    request = reg.CheckCredentialRequest()
    await live.registry.CheckCredential(request, metadata=(*shop.client, ("x", "y" * 15_000)))
    error = await refusal(live.registry.CheckCredential(request, metadata=(*shop.client, ("x", "y" * 17_000))))
    assert told(error)[1:] == ("INVALID_REQUEST", {"limit": "metadata_bytes", "value": str(16 * 1024)})


def send() -> notes.SendRequest:
    return notes.SendRequest(audience={"users": {"user_ids": ["anna"]}}, notification={"title": "T"})


async def open_stream(live: Live, shop: Shop) -> AsyncIterator[notes.SendResponse]:
    """A stream that stays open: its provider is still thinking."""
    events = aiter(live.notifier.Send(send(), metadata=shop.sender))
    assert (await anext(events)).event.HasField("accepted")
    return events


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[Live]:
    limits = Limits(calls=3, streams_per_connection=1, wrong_credentials=2)
    async with live_server(settings_in(tmp_path), limits=limits) as live:
        yield live


async def device_of_anna(live: Live, shop: Shop) -> None:
    await live.registry.RegisterDevice(
        reg.RegisterDeviceRequest(device_id="d1", user_id="anna", apns={"token": "ab"}), metadata=shop.client
    )
    live.provider.answers.clear()


async def test_streams_of_a_connection_have_a_limit(narrow: Live) -> None:
    shop = await narrow.shop()
    await narrow.credential(shop)
    await device_of_anna(narrow, shop)
    first = await open_stream(narrow, shop)
    error = await refusal(narrow.notifier.Send(send(), metadata=shop.sender))
    assert told(error) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", {"queue": "streams"})
    assert details(error)["RetryInfo"].retry_delay.ToMilliseconds() == 1000
    assert ("grpc-retry-pushback-ms", "1000") in tuple(error.trailing_metadata())
    narrow.provider.answers.set()
    async for _ in first:
        pass
    await open_stream(narrow, shop)


OPEN_STREAMS = {
    "/grpc.health.v1.Health/Watch": b"",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": b"\x3a\x00",  # list_services
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": b"\x3a\x00",
}


@pytest.mark.parametrize("path", OPEN_STREAMS)
async def test_streams_that_take_no_credentials_have_the_same_limit(narrow: Live, path: str) -> None:
    def opened() -> "grpc.aio.StreamStreamCall[bytes, bytes]":
        return narrow.channel.stream_stream(path)()

    first = opened()
    await first.write(OPEN_STREAMS[path])
    assert await first.read() is not grpc.aio.EOF
    for other in OPEN_STREAMS:
        second = narrow.channel.stream_stream(other)()
        await second.write(OPEN_STREAMS[other])
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await second.read()
        assert told(refused.value)[1:] == ("OVERLOADED", {"queue": "streams"})
    first.cancel()
    while True:  # Until the server has heard of it.
        again = opened()
        try:
            await again.write(OPEN_STREAMS[path])
            assert await again.read() is not grpc.aio.EOF
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            continue
        break


def settings_of(address: str) -> dict[int, int]:
    """What a server says of a connection at its beginning (RFC 9113 section 6.5)."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as peer:
        peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        read = peer.makefile("rb").read
        length = int.from_bytes(read(9)[:3])
        frame = read(length)
    return dict(struct.unpack_from(">HI", frame, at) for at in range(0, length, 6))


async def test_a_connection_has_a_limit_beyond_that_of_its_streams(live: Live) -> None:
    max_concurrent_streams = (await asyncio.to_thread(settings_of, live.server.address))[3]
    assert max_concurrent_streams == 2 * Limits().streams_per_connection


async def test_clients_may_ping_every_ten_seconds() -> None:
    """Seen in the options, since gRPC sends away only who has pinged too often for half a minute."""
    options = dict(OPTIONS)
    assert options["grpc.http2.min_ping_interval_without_data_ms"] < 10_000
    assert options["grpc.keepalive_permit_without_calls"] == 1


async def test_calls_have_a_limit(narrow: Live) -> None:
    shop = await narrow.shop()
    await narrow.credential(shop)
    await device_of_anna(narrow, shop)
    async with asyncio.TaskGroup() as group:
        channels = [grpc.aio.insecure_channel(narrow.server.address, options=(("n", n),)) for n in range(3)]
        lives = [replace(narrow, channel=channel) for channel in channels]
        streams = [await group.create_task(open_stream(each, shop)) for each in lives]
        error = await refusal(narrow.registry.CheckCredential(reg.CheckCredentialRequest(), metadata=shop.client))
        assert told(error) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", {"queue": "calls"})
        assert "RetryInfo" in details(error)
        narrow.provider.answers.set()
        for stream in streams:
            async for _ in stream:
                pass
        await narrow.registry.CheckCredential(reg.CheckCredentialRequest(), metadata=shop.client)
        for channel in channels:
            await channel.close()


async def test_guessing_is_slow_but_never_in_the_way_of_those_who_know(narrow: Live) -> None:
    shop, other = await narrow.shop(), await narrow.shop("other")
    request = reg.CheckCredentialRequest()

    async def guess(app_id: str) -> grpc.aio.AioRpcError:
        metadata = credentials(app_id, app_secret="bha_guess")
        return await refusal(narrow.registry.CheckCredential(request, metadata=metadata))

    assert [told(await guess("shop"))[1] for _ in range(2)] == ["CREDENTIALS_INVALID"] * 2
    error = await guess("shop")
    code, reason, metadata = told(error)
    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "AUTH_ATTEMPTS_EXCEEDED")
    wait = details(error)["RetryInfo"].retry_delay.ToMilliseconds()
    assert 50_000 < wait <= 60_000
    assert abs(int(metadata["retry_after_ms"]) - wait) <= 1
    assert (await narrow.registry.CheckCredential(request, metadata=shop.sender)).app_id == "shop"
    assert told(await guess("other"))[1] == "CREDENTIALS_INVALID"
    assert (await narrow.registry.CheckCredential(request, metadata=other.client)).app_id == "other"


GUESSED: dict[str, Message] = {
    "RegisterDevice": reg.RegisterDeviceRequest(),
    "RegisterAnonymousDevice": reg.RegisterAnonymousDeviceRequest(locale="!"),
    "UnregisterDevice": reg.UnregisterDeviceRequest(),
    "UpdateDevice": reg.UpdateDeviceRequest(locale="!"),
    "GetDevice": reg.GetDeviceRequest(),
    "CheckCredential": reg.CheckCredentialRequest(),
}
"""Requests that are as wrong as they can be: nobody hears of it before their caller is known."""

SLOWED = ["CREDENTIALS_INVALID", "CREDENTIALS_INVALID", "AUTH_ATTEMPTS_EXCEEDED"]


@pytest.mark.promise("P1")
@pytest.mark.parametrize("method", GUESSED)
async def test_a_wrong_device_secret_counts_as_a_guess(narrow: Live, method: str) -> None:
    await narrow.shop()
    call = getattr(narrow.registry, method)
    guesses = [credentials("shop", device_secret=f"bhd_guess{number}") for number in range(3)]
    assert [told(await refusal(call(GUESSED[method], metadata=guess)))[1] for guess in guesses] == SLOWED


async def test_a_device_secret_that_the_rules_refuse_counts_as_a_guess(narrow: Live) -> None:
    shop = await narrow.shop()
    await device_of_anna(narrow, shop)
    request = reg.RegisterAnonymousDeviceRequest(device_id="d1")
    guesses = [credentials("shop", device_secret="x" * 40 + str(number)) for number in range(3)]
    told_of = [told(await refusal(narrow.registry.RegisterAnonymousDevice(request, metadata=each))) for each in guesses]
    assert [reason for _, reason, _ in told_of] == SLOWED


@pytest.mark.promise("P1")
async def test_guesses_at_the_admin_token_are_slow_whatever_application_they_name(narrow: Live) -> None:
    request = reg.CheckCredentialRequest()
    guesses = [(("app-id", f"app{number}"), ("authorization", "Bearer guess")) for number in range(3)]
    told_of = [told(await refusal(narrow.registry.CheckCredential(request, metadata=guess))) for guess in guesses]
    assert [reason for _, reason, _ in told_of] == SLOWED


async def test_a_doubled_key_counts_for_its_application(narrow: Live) -> None:
    shop = await narrow.shop()
    request, doubled = reg.CheckCredentialRequest(), (*shop.sender, shop.sender[1])
    told_of = [told(await refusal(narrow.registry.CheckCredential(request, metadata=doubled))) for _ in range(3)]
    assert [reason for _, reason, _ in told_of] == SLOWED
    administering = narrow.applications.ListApplications(apps.ListApplicationsRequest(), metadata=as_admin("wrong"))
    assert told(await refusal(administering))[1] == "CREDENTIALS_INVALID"
