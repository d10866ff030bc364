"""Reflection shows the contract with its comments; a setting turns it off."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2

from bellhop_server.rpc.server import SERVICES
from tests.system.live_server import Live, live_server, settings_in

V1ALPHA = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
V1 = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
OTHERS = (
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)


async def ask(live: Live, path: str, **question: Any) -> Any:
    """The answer to one question."""
    call = live.channel.stream_stream(
        path,
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )([reflection_pb2.ServerReflectionRequest(**question)])
    return await call.read()


@pytest.mark.parametrize("path", [V1ALPHA, V1])
async def test_all_services_are_listed(live: Live, path: str) -> None:
    answer = await ask(live, path, list_services="")
    names = {service.name for service in answer.list_services_response.service}
    assert names == {*SERVICES, *OTHERS}


@pytest.mark.parametrize(
    "symbol", [*SERVICES, "bellhop.v1.SendRequest", "bellhop.v1.Notifier.Send", "bellhop.v1.Device.user_id"]
)
async def test_the_comments_come_along(live: Live, symbol: str) -> None:
    answer = await ask(live, V1ALPHA, file_containing_symbol=symbol)
    described = map(FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
    files = {file.name: file for file in described}
    ours = [file for name, file in files.items() if name.startswith("bellhop/")]
    assert ours
    for file in ours:
        assert any(location.leading_comments for location in file.source_code_info.location)
        assert set(file.dependency) <= files.keys()


@pytest.mark.parametrize("symbol", [*OTHERS, "google.rpc.ErrorInfo"])
async def test_whatever_is_listed_is_described(live: Live, symbol: str) -> None:
    answer = await ask(live, V1ALPHA, file_containing_symbol=symbol)
    described = map(FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
    assert symbol.rpartition(".")[0] in {file.package for file in described}


async def test_a_file_is_found_by_its_name(live: Live) -> None:
    answer = await ask(live, V1ALPHA, file_by_filename="bellhop/v1/device.proto")
    assert answer.file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize(
    "question",
    [
        {"file_by_filename": "nowhere.proto"},
        {"file_containing_symbol": "bellhop.v1.Nothing"},
        {"file_containing_extension": {"containing_type": "bellhop.v1.Device", "extension_number": 1}},
        {"all_extension_numbers_of_type": "bellhop.v1.Nothing"},
        {},
    ],
)
async def test_what_is_not_there_is_not_found(live: Live, question: dict[str, Any]) -> None:
    answer = await ask(live, V1ALPHA, **question)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_messages_have_no_extensions(live: Live) -> None:
    answer = await ask(live, V1ALPHA, all_extension_numbers_of_type="bellhop.v1.Device")
    assert list(answer.all_extension_numbers_response.extension_number) == []


async def test_a_real_tool_can_use_it(live: Live) -> None:
    """`buf curl` finds methods and calls one, knowing nothing but the address."""
    import asyncio

    async def curl(*arguments: str) -> str:
        buf = Path(sys.executable).with_name("buf")
        process = await asyncio.create_subprocess_exec(
            *(buf, "curl", "--protocol", "grpc", "--http2-prior-knowledge", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return (await process.communicate())[0].decode()

    listed = await curl("--list-methods", f"http://{live.server.address}")
    assert "bellhop.v1.Notifier/Send" in listed
    url = f"http://{live.server.address}/bellhop.v1.Applications/ListApplications"
    answered = await curl("-H", f"authorization: Bearer {live.settings.admin_token}", "-d", "{}", url)
    assert answered.strip() == "{}"


async def test_it_can_be_turned_off(tmp_path: Path) -> None:
    async with live_server(settings_in(tmp_path, reflection=False)) as live:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(live, V1ALPHA, list_services="")
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
