"""Server reflection with the contract's comments, so that grpcurl and its like show the manual.

The descriptors that protoc compiles into Python have no comments; those of `descriptors.binpb` have.
"""

from collections.abc import AsyncIterator, Iterable
from importlib.resources import files
from typing import Any

import grpc
from google.protobuf import text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import bellhop.v1

# Same messages, another name: newer tools ask for v1 first.
_V1 = "grpc.reflection.v1.ServerReflection"
_V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
REFLECTION = (_V1, _V1ALPHA)

_Response = reflection_pb2.ServerReflectionResponse


class ReflectionServicer(reflection_pb2_grpc.ServerReflectionServicer):  # type: ignore[misc]  # Has no stubs.
    """Describes the services with these names."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = sorted(services)
        described = [
            *FileDescriptorSet.FromString((files(bellhop.v1) / "descriptors.binpb").read_bytes()).file,
            *map(_described, (error_details_pb2, health_pb2, reflection_pb2)),
            _described_v1(),
        ]
        self._pool = DescriptorPool()
        for file in described:
            self._pool.AddSerializedFile(file.SerializeToString())
        self._commented = {file.name: file.SerializeToString() for file in described}

    async def ServerReflectionInfo(self, requests: AsyncIterator[Any], context: Any) -> None:
        """Answers one request after the other."""
        async for request in requests:
            response = self._answer(request)
            response.original_request.CopyFrom(request)
            await context.write(response)

    def _answer(self, request: Any) -> Any:
        try:
            match request.WhichOneof("message_request"):
                case "list_services":
                    services = [reflection_pb2.ServiceResponse(name=name) for name in self._services]
                    return _Response(list_services_response=reflection_pb2.ListServiceResponse(service=services))
                case "file_by_filename":
                    return self._files(self._pool.FindFileByName(request.file_by_filename))
                case "file_containing_symbol":
                    return self._files(self._file_of(request.file_containing_symbol))
                case "all_extension_numbers_of_type":
                    message = self._pool.FindMessageTypeByName(request.all_extension_numbers_of_type)
                    numbers = reflection_pb2.ExtensionNumberResponse(base_type_name=message.full_name)
                    return _Response(all_extension_numbers_response=numbers)
        except KeyError:
            pass
        # The contract has no extensions, so nothing is found of them either.
        error = reflection_pb2.ErrorResponse(error_code=grpc.StatusCode.NOT_FOUND.value[0], error_message="not found")
        return _Response(error_response=error)

    def _file_of(self, symbol: str) -> FileDescriptor:
        """The file of a symbol. Of methods and fields the pool finds their owner alone. Raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindFileContainingSymbol(symbol.rpartition(".")[0])

    def _files(self, file: FileDescriptor) -> Any:
        """A file and all that it imports, each once."""
        found: dict[str, bytes] = {}
        waiting = [file]
        while waiting:
            each = waiting.pop()
            if each.name not in found:
                found[each.name] = self._commented[each.name]
                waiting += each.dependencies
        descriptors = reflection_pb2.FileDescriptorResponse(file_descriptor_proto=found.values())
        return _Response(file_descriptor_response=descriptors)


def _described(module: Any) -> FileDescriptorProto:
    file = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file


def _described_v1() -> FileDescriptorProto:
    """The description of v1, which comes in no package: that of v1alpha under the other name."""
    text = text_format.MessageToString(_described(reflection_pb2)).replace("v1alpha", "v1")
    return text_format.Parse(text, FileDescriptorProto())


def add_reflection(server: grpc.aio.Server, services: Iterable[str]) -> None:
    """Serves reflection under both of its names."""
    servicer = ReflectionServicer(services)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_V1, {"ServerReflectionInfo": handler}),))
