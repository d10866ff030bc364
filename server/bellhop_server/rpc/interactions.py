"""The method by which devices report what people did with notifications."""

from typing import Any

from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.domain.errors import CredentialsInvalid
from bellhop_server.domain.interaction import Interaction, Report
from bellhop_server.ports import MessageStore
from bellhop_server.rpc import mapping
from bellhop_server.rpc.calls import caller, received
from bellhop_server.rpc.validation import validate


class InteractionMethods:
    """Part of the PushRegistry service."""

    def __init__(self, store: MessageStore) -> None:
        self._reports = store

    async def ReportInteraction(
        self, request: reg.ReportInteractionRequest, context: Any
    ) -> reg.ReportInteractionResponse:
        validate(request)
        if not caller().proof.authority and request.device_id not in caller().devices:
            raise CredentialsInvalid()
        now = received()
        await self._reports.report(
            Report(
                app_id=caller().app_id,
                message_id=request.message_id,
                device_id=request.device_id,
                interaction=Interaction(request.interaction),
                occur_time=mapping.micros_of(request.occur_time) if request.HasField("occur_time") else now,
                now=now,
            )
        )
        return reg.ReportInteractionResponse()
