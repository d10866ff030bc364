"""The calls of bellhop.v1.Applications. What the arguments mean and which errors come is said in the contract."""

from collections.abc import AsyncIterator
from functools import cached_property
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from bellhop.v1 import applications_pb2 as pb
from bellhop.v1.applications_pb2_grpc import ApplicationsStub
from bellhop_client.connection import Connection

if TYPE_CHECKING:
    from bellhop.v1.applications_pb2_grpc import ApplicationsAsyncStub


class AdminClient(Connection):
    """Administers applications with the admin token. `target` and certificates as in Client.

    Methods raise BellhopError, the constructor raises ValueError for a target or token that cannot be one.
    """

    def __init__(
        self,
        target: str,
        *,
        admin_token: str,
        tls: bool | None = None,
        root_certificates: bytes | None = None,
        client_certificate: bytes | None = None,
        client_key: bytes | None = None,
    ) -> None:
        super().__init__(
            target,
            {"authorization": f"Bearer {admin_token}"},
            tls=tls,
            root_certificates=root_certificates,
            client_certificate=client_certificate,
            client_key=client_key,
        )

    @cached_property
    def _applications(self) -> "ApplicationsAsyncStub":
        return ApplicationsStub(self._channel)

    async def create_application(
        self, *, display_name: str, app_id: str = "", policy: pb.ApplicationPolicy | None = None
    ) -> pb.CreateApplicationResponse:
        """Creates an application; the only time that its secrets are shown."""
        request = pb.CreateApplicationRequest(app_id=app_id, display_name=display_name, policy=policy)
        return await self._call(self._applications.CreateApplication, request)

    async def get_application(self, *, app_id: str) -> pb.GetApplicationResponse:
        """Returns one application."""
        return await self._call(self._applications.GetApplication, pb.GetApplicationRequest(app_id=app_id))

    async def list_applications(self, *, page_size: int = 0, page_token: str = "") -> pb.ListApplicationsResponse:
        """One page of applications; `applications` walks over all of them."""
        request = pb.ListApplicationsRequest(page_size=page_size, page_token=page_token)
        return await self._call(self._applications.ListApplications, request)

    async def applications(self, *, page_size: int = 0) -> AsyncIterator[pb.Application]:
        """All applications, page by page."""
        request = pb.ListApplicationsRequest(page_size=page_size)
        async for page in self._pages(self._applications.ListApplications, request):
            for application in page.applications:
                yield application

    async def update_application(
        self, *, app_id: str, display_name: str | None = None, policy: pb.ApplicationPolicy | None = None
    ) -> pb.UpdateApplicationResponse:
        """Changes what is not None."""
        request = pb.UpdateApplicationRequest(app_id=app_id, display_name=display_name, policy=policy)
        return await self._call(self._applications.UpdateApplication, request)

    async def delete_application(self, *, app_id: str) -> pb.DeleteApplicationResponse:
        """Deletes an application with all it has, for good."""
        return await self._call(self._applications.DeleteApplication, pb.DeleteApplicationRequest(app_id=app_id))

    async def rotate_secret(
        self, *, app_id: str, kind: pb.SecretKind.ValueType, overlap: Duration | None = None
    ) -> pb.RotateSecretResponse:
        """Makes a new secret; those before end after `overlap`."""
        request = pb.RotateSecretRequest(app_id=app_id, kind=kind, overlap=overlap)
        return await self._call(self._applications.RotateSecret, request)

    async def list_secrets(self, *, app_id: str, page_size: int = 0, page_token: str = "") -> pb.ListSecretsResponse:
        """One page of secrets without their texts; `secrets` walks over all of them."""
        request = pb.ListSecretsRequest(app_id=app_id, page_size=page_size, page_token=page_token)
        return await self._call(self._applications.ListSecrets, request)

    async def secrets(self, *, app_id: str, page_size: int = 0) -> AsyncIterator[pb.Secret]:
        """All secrets of an application without their texts, page by page."""
        request = pb.ListSecretsRequest(app_id=app_id, page_size=page_size)
        async for page in self._pages(self._applications.ListSecrets, request):
            for secret in page.secrets:
                yield secret

    async def revoke_secret(self, *, app_id: str, secret_id: str) -> pb.RevokeSecretResponse:
        """Ends one secret at once."""
        request = pb.RevokeSecretRequest(app_id=app_id, secret_id=secret_id)
        return await self._call(self._applications.RevokeSecret, request)

    async def set_credential(
        self,
        *,
        app_id: str,
        apns: pb.ApnsCredential | None = None,
        fcm: pb.FcmCredential | None = None,
        web_push: pb.WebPushCredential | None = None,
        credential_id: str = "",
        validate_only: bool = False,
    ) -> pb.SetCredentialResponse:
        """Tries one provider credential and stores it."""
        request = pb.SetCredentialRequest(
            app_id=app_id,
            credential_id=credential_id,
            apns=apns,
            fcm=fcm,
            web_push=web_push,
            validate_only=validate_only,
        )
        return await self._call(self._applications.SetCredential, request)

    async def list_credentials(
        self, *, app_id: str, page_size: int = 0, page_token: str = ""
    ) -> pb.ListCredentialsResponse:
        """One page of provider credentials; `credentials` walks over all of them."""
        request = pb.ListCredentialsRequest(app_id=app_id, page_size=page_size, page_token=page_token)
        return await self._call(self._applications.ListCredentials, request)

    async def credentials(self, *, app_id: str, page_size: int = 0) -> AsyncIterator[pb.Credential]:
        """All provider credentials of an application without their secrets, page by page."""
        request = pb.ListCredentialsRequest(app_id=app_id, page_size=page_size)
        async for page in self._pages(self._applications.ListCredentials, request):
            for credential in page.credentials:
                yield credential

    async def delete_credential(self, *, app_id: str, credential_id: str) -> pb.DeleteCredentialResponse:
        """Deletes a provider credential."""
        request = pb.DeleteCredentialRequest(app_id=app_id, credential_id=credential_id)
        return await self._call(self._applications.DeleteCredential, request)
