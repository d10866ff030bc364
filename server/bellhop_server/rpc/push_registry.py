"""The service that knows which device is whose."""

from collections.abc import AsyncIterator
from typing import Any

from bellhop.v1 import device_pb2, push_registry_pb2_grpc
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.app.granting import Granting
from bellhop_server.app.registering import Registering
from bellhop_server.app.tagging import Tagging
from bellhop_server.domain.application import SecretKind
from bellhop_server.domain.device import DeviceState, Platform
from bellhop_server.domain.errors import CredentialsInvalid
from bellhop_server.domain.query import DeviceQuery
from bellhop_server.ports import Store
from bellhop_server.rpc import mapping, mapping_credential
from bellhop_server.rpc.calls import caller, received
from bellhop_server.rpc.interactions import InteractionMethods
from bellhop_server.rpc.mapping_target import target_of
from bellhop_server.rpc.pages import BY_ID, Paging, Position
from bellhop_server.rpc.tags import TagMethods
from bellhop_server.rpc.validation import validate

DEFAULT_PAGE = 100
MAX_PAGE = 1000

_KINDS = {
    SecretKind.CLIENT: reg.CREDENTIAL_KIND_CLIENT_SECRET,
    SecretKind.APP: reg.CREDENTIAL_KIND_APP_SECRET,
    SecretKind.DEVICE: reg.CREDENTIAL_KIND_DEVICE_SECRET,
}


class PushRegistryServicer(TagMethods, InteractionMethods, push_registry_pb2_grpc.PushRegistryServicer):
    """Maps the PushRegistry service to `Registering`."""

    def __init__(self, registering: Registering, granting: Granting, tagging: Tagging, store: Store) -> None:
        TagMethods.__init__(self, tagging)
        InteractionMethods.__init__(self, store)
        self._registering = registering
        self._granting = granting
        self._store = store

    async def RegisterDevice(self, request: reg.RegisterDeviceRequest, context: Any) -> reg.RegisterDeviceResponse:
        validate(request)
        registered = await self._registering.register(
            app_id=caller().app_id,
            device_id=request.device_id,
            user_id=request.user_id,
            target=target_of(request),
            facts=mapping.facts_of(request),
            proof=caller().proof,
            received=received(),
            session_id=request.session_id,
            binding_ttl=mapping.micros_of(request.binding_ttl) if request.HasField("binding_ttl") else None,
            binding_generation=_generation(request),
            grant=caller().grant,
            binding_key=request.binding_key,
        )
        return reg.RegisterDeviceResponse(
            device=mapping.device(registered.device),
            device_secret=registered.device_secret,
            created=registered.created,
        )

    async def RegisterAnonymousDevice(
        self, request: reg.RegisterAnonymousDeviceRequest, context: Any
    ) -> reg.RegisterAnonymousDeviceResponse:
        validate(request)
        registered = await self._registering.register(
            app_id=caller().app_id,
            device_id=request.device_id,
            user_id=None,
            target=target_of(request),
            facts=mapping.facts_of(request),
            proof=caller().proof,
            received=received(),
            binding_generation=_generation(request),
            target_nonce=request.target_nonce,
        )
        return reg.RegisterAnonymousDeviceResponse(
            device=mapping.device(registered.device),
            device_secret=registered.device_secret,
            created=registered.created,
        )

    async def UnregisterDevice(
        self, request: reg.UnregisterDeviceRequest, context: Any
    ) -> reg.UnregisterDeviceResponse:
        validate(request)
        existed = await self._registering.unregister(
            app_id=caller().app_id,
            device_id=request.device_id,
            proof=caller().proof,
            expected_user_id=request.expected_user_id or None,
            binding_generation=_generation(request),
        )
        return reg.UnregisterDeviceResponse(existed=existed)

    async def UnregisterUser(self, request: reg.UnregisterUserRequest, context: Any) -> reg.UnregisterUserResponse:
        validate(request)
        count = await self._registering.unregister_user(
            caller().app_id, request.user_id, received(), session_id=request.session_id
        )
        return reg.UnregisterUserResponse(device_count=count)

    async def UpdateDevice(self, request: reg.UpdateDeviceRequest, context: Any) -> reg.UpdateDeviceResponse:
        validate(request)
        device = await self._registering.update(
            app_id=caller().app_id,
            device_id=request.device_id,
            target=target_of(request),
            locale=mapping.normal_locale(request.locale) if request.HasField("locale") else None,
            time_zone=request.time_zone if request.HasField("time_zone") else None,
            app_version=request.app_version if request.HasField("app_version") else None,
            set_attributes=dict(request.set_attributes),
            remove_attributes=tuple(request.remove_attributes),
            proof=caller().proof,
            target_nonce=request.target_nonce,
        )
        return reg.UpdateDeviceResponse(device=mapping.device(device))

    async def GetDevice(self, request: reg.GetDeviceRequest, context: Any) -> reg.GetDeviceResponse:
        validate(request)
        if not caller().proof.authority and request.device_id not in caller().devices:
            # Whether another device exists is none of a device's business.
            raise CredentialsInvalid()
        device = await self._registering.get(caller().app_id, request.device_id)
        return reg.GetDeviceResponse(device=mapping.device(device))

    async def ListDevices(self, request: reg.ListDevicesRequest, context: Any) -> reg.ListDevicesResponse:
        validate(request)
        paging = Paging(request, caller().app_id, BY_ID, default=DEFAULT_PAGE, most=MAX_PAGE)
        query = DeviceQuery(
            app_id=caller().app_id,
            now=received(),
            user_id=request.user_id,
            platforms=tuple(map(Platform, request.platforms)),
            states=tuple(map(DeviceState, request.states)) or (DeviceState.ACTIVE,),
            anonymous=request.anonymous if request.HasField("anonymous") else None,
            tag_name=request.tag_name,
        )
        after = str(paging.after[0]) if paging.after else ""

        async def rows() -> AsyncIterator[tuple[device_pb2.Device, Position]]:
            for each in await self._registering.list(query, after, paging.size + 1):
                yield mapping.device(each), [each.device_id]

        page, token = await paging.fill(rows())
        total = await self._registering.count(query) if request.return_total_size else None
        return reg.ListDevicesResponse(devices=page, next_page_token=token, total_size=total)

    async def CreateBindGrant(self, request: reg.CreateBindGrantRequest, context: Any) -> reg.CreateBindGrantResponse:
        validate(request)
        text, expire_time = self._granting.grant(
            caller().app_id,
            request.user_id,
            request.device_id,
            request.session_id,
            mapping.micros_of(request.ttl) if request.HasField("ttl") else None,
        )
        return reg.CreateBindGrantResponse(bind_grant=text, expire_time=mapping.timestamp(expire_time))

    async def GetClientConfig(self, request: reg.GetClientConfigRequest, context: Any) -> reg.GetClientConfigResponse:
        validate(request)
        return mapping_credential.client_config(await self._store.list_credentials(caller().app_id))

    async def CheckCredential(self, request: reg.CheckCredentialRequest, context: Any) -> reg.CheckCredentialResponse:
        validate(request)
        return reg.CheckCredentialResponse(
            app_id=caller().app_id,
            kinds=[
                *(_KINDS[kind] for kind in sorted(caller().kinds)),
                *([reg.CREDENTIAL_KIND_BIND_GRANT] if caller().grant is not None else []),
            ],
            expire_time=mapping.optional_timestamp(caller().expire_time),
        )


def _generation(
    request: reg.RegisterDeviceRequest | reg.RegisterAnonymousDeviceRequest | reg.UnregisterDeviceRequest,
) -> int | None:
    return request.binding_generation if request.HasField("binding_generation") else None
