"""The service of the admin token."""

from collections.abc import AsyncIterator
from typing import Any

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import applications_pb2_grpc
from bellhop_server.app.administering import Administering
from bellhop_server.domain.application import Application, SecretKind
from bellhop_server.rpc import mapping, mapping_credential
from bellhop_server.rpc.pages import BY_ID, Paging, Position
from bellhop_server.rpc.validation import validate

DEFAULT_PAGE = 50
MAX_PAGE = 500


class ApplicationsServicer(applications_pb2_grpc.ApplicationsServicer):
    """Maps the Applications service to `Administering`."""

    def __init__(self, administering: Administering) -> None:
        self._administering = administering

    async def CreateApplication(
        self, request: apps.CreateApplicationRequest, context: Any
    ) -> apps.CreateApplicationResponse:
        validate(request)
        policy = mapping.policy_of(request.policy)
        created = await self._administering.create(request.app_id, request.display_name, policy)
        return apps.CreateApplicationResponse(
            application=self._shown(created.application),
            client_secret=created.client_secret,
            app_secret=created.app_secret,
        )

    async def GetApplication(self, request: apps.GetApplicationRequest, context: Any) -> apps.GetApplicationResponse:
        validate(request)
        return apps.GetApplicationResponse(application=self._shown(await self._administering.get(request.app_id)))

    async def ListApplications(
        self, request: apps.ListApplicationsRequest, context: Any
    ) -> apps.ListApplicationsResponse:
        validate(request)
        paging = Paging(request, "", BY_ID, default=DEFAULT_PAGE, most=MAX_PAGE)

        async def rows() -> AsyncIterator[tuple[apps.Application, Position]]:
            for each in await self._administering.list_applications(_after(paging), paging.size + 1):
                yield self._shown(each), [each.app_id]

        page, token = await paging.fill(rows())
        return apps.ListApplicationsResponse(applications=page, next_page_token=token)

    async def UpdateApplication(
        self, request: apps.UpdateApplicationRequest, context: Any
    ) -> apps.UpdateApplicationResponse:
        validate(request)
        application = await self._administering.update(
            request.app_id,
            request.display_name if request.HasField("display_name") else None,
            mapping.policy_of(request.policy) if request.HasField("policy") else None,
        )
        return apps.UpdateApplicationResponse(application=self._shown(application))

    async def DeleteApplication(
        self, request: apps.DeleteApplicationRequest, context: Any
    ) -> apps.DeleteApplicationResponse:
        validate(request)
        return apps.DeleteApplicationResponse(existed=await self._administering.delete(request.app_id))

    async def RotateSecret(self, request: apps.RotateSecretRequest, context: Any) -> apps.RotateSecretResponse:
        validate(request)
        text, secret = await self._administering.rotate_secret(
            request.app_id, SecretKind(request.kind), mapping.micros_of(request.overlap)
        )
        return apps.RotateSecretResponse(secret=text, description=mapping.secret(secret))

    async def ListSecrets(self, request: apps.ListSecretsRequest, context: Any) -> apps.ListSecretsResponse:
        validate(request)
        paging = Paging(request, request.app_id, BY_ID, default=DEFAULT_PAGE, most=MAX_PAGE)

        async def rows() -> AsyncIterator[tuple[apps.Secret, Position]]:
            for each in await self._administering.list_secrets(request.app_id, _after(paging), paging.size + 1):
                yield mapping.secret(each), [each.secret_id]

        page, token = await paging.fill(rows())
        return apps.ListSecretsResponse(secrets=page, next_page_token=token)

    async def RevokeSecret(self, request: apps.RevokeSecretRequest, context: Any) -> apps.RevokeSecretResponse:
        validate(request)
        secret = await self._administering.revoke_secret(request.app_id, request.secret_id)
        return apps.RevokeSecretResponse(secret=mapping.secret(secret))

    async def SetCredential(self, request: apps.SetCredentialRequest, context: Any) -> apps.SetCredentialResponse:
        validate(request)
        offer = mapping_credential.offer_of(request)
        credential = await self._administering.set_credential(
            request.app_id, request.credential_id, offer, validate_only=request.validate_only
        )
        return apps.SetCredentialResponse(credential=mapping_credential.credential(credential))

    async def ListCredentials(self, request: apps.ListCredentialsRequest, context: Any) -> apps.ListCredentialsResponse:
        validate(request)
        paging = Paging(request, request.app_id, BY_ID, default=DEFAULT_PAGE, most=MAX_PAGE)

        async def rows() -> AsyncIterator[tuple[apps.Credential, Position]]:
            for each in await self._administering.list_credentials(request.app_id):
                if each.credential_id > _after(paging):
                    yield mapping_credential.credential(each), [each.credential_id]

        page, token = await paging.fill(rows())
        return apps.ListCredentialsResponse(credentials=page, next_page_token=token)

    async def DeleteCredential(
        self, request: apps.DeleteCredentialRequest, context: Any
    ) -> apps.DeleteCredentialResponse:
        validate(request)
        existed = await self._administering.delete_credential(request.app_id, request.credential_id)
        return apps.DeleteCredentialResponse(existed=existed)

    def _shown(self, application: Application) -> apps.Application:
        return mapping.application(application, self._administering.breakers(application.app_id))


def _after(paging: Paging) -> str:
    return str(paging.after[0]) if paging.after else ""
