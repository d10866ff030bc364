"""The calls of bellhop.v1.PushRegistry. What the arguments mean and which errors come is said in the contract."""

from collections.abc import AsyncIterator, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from bellhop.v1 import push_registry_pb2 as pb
from bellhop.v1.device_pb2 import ApnsTarget, Device, DeviceState, FcmTarget, Platform, WebPushTarget
from bellhop.v1.message_pb2 import Interaction
from bellhop.v1.push_registry_pb2_grpc import PushRegistryStub
from bellhop_client.connection import Connection

if TYPE_CHECKING:
    from bellhop.v1.push_registry_pb2_grpc import PushRegistryAsyncStub


class RegistryCalls(Connection):
    """Which device is whose. Each method raises BellhopError."""

    @cached_property
    def _registry(self) -> "PushRegistryAsyncStub":
        return PushRegistryStub(self._channel)

    async def register_device(
        self,
        *,
        user_id: str,
        device_id: str = "",
        apns: ApnsTarget | None = None,
        fcm: FcmTarget | None = None,
        web_push: WebPushTarget | None = None,
        locale: str = "",
        time_zone: str = "",
        app_version: str = "",
        attributes: Mapping[str, str] | None = None,
        session_id: str = "",
        binding_ttl: Duration | None = None,
        binding_generation: int | None = None,
        binding_key: bytes = b"",
    ) -> pb.RegisterDeviceResponse:
        """Binds a device to a user: the login."""
        request = pb.RegisterDeviceRequest(
            user_id=user_id,
            device_id=device_id,
            apns=apns,
            fcm=fcm,
            web_push=web_push,
            locale=locale,
            time_zone=time_zone,
            app_version=app_version,
            attributes=attributes,
            session_id=session_id,
            binding_ttl=binding_ttl,
            binding_generation=binding_generation,
            binding_key=binding_key,
        )
        return await self._call(self._registry.RegisterDevice, request)

    async def register_anonymous_device(
        self,
        *,
        device_id: str = "",
        apns: ApnsTarget | None = None,
        fcm: FcmTarget | None = None,
        web_push: WebPushTarget | None = None,
        locale: str = "",
        time_zone: str = "",
        app_version: str = "",
        attributes: Mapping[str, str] | None = None,
        binding_generation: int | None = None,
        target_nonce: str = "",
    ) -> pb.RegisterAnonymousDeviceResponse:
        """Registers a device without a user, or unbinds it and keeps it."""
        request = pb.RegisterAnonymousDeviceRequest(
            device_id=device_id,
            apns=apns,
            fcm=fcm,
            web_push=web_push,
            locale=locale,
            time_zone=time_zone,
            app_version=app_version,
            attributes=attributes,
            binding_generation=binding_generation,
            target_nonce=target_nonce,
        )
        return await self._call(self._registry.RegisterAnonymousDevice, request)

    async def unregister_device(
        self, *, device_id: str, expected_user_id: str = "", binding_generation: int | None = None
    ) -> pb.UnregisterDeviceResponse:
        """Takes a device out: the logout."""
        request = pb.UnregisterDeviceRequest(
            device_id=device_id, expected_user_id=expected_user_id, binding_generation=binding_generation
        )
        return await self._call(self._registry.UnregisterDevice, request)

    async def unregister_user(self, *, user_id: str, session_id: str = "") -> pb.UnregisterUserResponse:
        """Takes out every device of a user, or those of one session."""
        request = pb.UnregisterUserRequest(user_id=user_id, session_id=session_id)
        return await self._call(self._registry.UnregisterUser, request)

    async def update_device(
        self,
        *,
        device_id: str,
        apns: ApnsTarget | None = None,
        fcm: FcmTarget | None = None,
        web_push: WebPushTarget | None = None,
        locale: str | None = None,
        time_zone: str | None = None,
        app_version: str | None = None,
        set_attributes: Mapping[str, str] | None = None,
        remove_attributes: Iterable[str] = (),
        target_nonce: str = "",
    ) -> pb.UpdateDeviceResponse:
        """Changes what is not None; an empty text is forgotten."""
        request = pb.UpdateDeviceRequest(
            device_id=device_id,
            apns=apns,
            fcm=fcm,
            web_push=web_push,
            locale=locale,
            time_zone=time_zone,
            app_version=app_version,
            set_attributes=set_attributes,
            remove_attributes=remove_attributes,
            target_nonce=target_nonce,
        )
        return await self._call(self._registry.UpdateDevice, request)

    async def get_device(self, *, device_id: str) -> pb.GetDeviceResponse:
        """Returns one device."""
        return await self._call(self._registry.GetDevice, pb.GetDeviceRequest(device_id=device_id))

    async def list_devices(
        self,
        *,
        page_size: int = 0,
        page_token: str = "",
        user_id: str = "",
        platforms: Iterable[Platform.ValueType] = (),
        anonymous: bool | None = None,
        states: Iterable[DeviceState.ValueType] = (),
        tag_name: str = "",
        return_total_size: bool = False,
    ) -> pb.ListDevicesResponse:
        """One page of devices; `devices` walks over all of them."""
        request = pb.ListDevicesRequest(
            page_size=page_size,
            page_token=page_token,
            user_id=user_id,
            platforms=platforms,
            anonymous=anonymous,
            states=states,
            tag_name=tag_name,
            return_total_size=return_total_size,
        )
        return await self._call(self._registry.ListDevices, request)

    async def devices(
        self,
        *,
        user_id: str = "",
        platforms: Iterable[Platform.ValueType] = (),
        anonymous: bool | None = None,
        states: Iterable[DeviceState.ValueType] = (),
        tag_name: str = "",
        page_size: int = 0,
    ) -> AsyncIterator[Device]:
        """All devices that the filters match, page by page."""
        request = pb.ListDevicesRequest(
            page_size=page_size,
            user_id=user_id,
            platforms=platforms,
            anonymous=anonymous,
            states=states,
            tag_name=tag_name,
        )
        async for page in self._pages(self._registry.ListDevices, request):
            for device in page.devices:
                yield device

    async def create_bind_grant(
        self, *, user_id: str, device_id: str = "", session_id: str = "", ttl: Duration | None = None
    ) -> pb.CreateBindGrantResponse:
        """Makes a grant with which one device can bind itself to one user, once."""
        request = pb.CreateBindGrantRequest(user_id=user_id, device_id=device_id, session_id=session_id, ttl=ttl)
        return await self._call(self._registry.CreateBindGrant, request)

    async def get_client_config(self) -> pb.GetClientConfigResponse:
        """What an app needs before it can register."""
        return await self._call(self._registry.GetClientConfig, pb.GetClientConfigRequest())

    async def report_interaction(
        self,
        *,
        message_id: str,
        device_id: str,
        interaction: Interaction.ValueType,
        occur_time: Timestamp | None = None,
    ) -> None:
        """Says what a person did with a notification."""
        request = pb.ReportInteractionRequest(
            message_id=message_id, device_id=device_id, interaction=interaction, occur_time=occur_time
        )
        await self._call(self._registry.ReportInteraction, request)

    async def check_credential(self) -> pb.CheckCredentialResponse:
        """Says what the credentials of this client are."""
        return await self._call(self._registry.CheckCredential, pb.CheckCredentialRequest())
