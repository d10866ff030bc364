"""Administering applications: tenants, their secrets, and what they show to providers."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bellhop_server.domain import DAY, Micros
from bellhop_server.domain.application import (
    Application,
    Breaker,
    Credential,
    CredentialOffer,
    FcmOffer,
    Policy,
    Secret,
    SecretKind,
    WebPushOffer,
    digest_of,
)
from bellhop_server.domain.device import Platform
from bellhop_server.domain.errors import ConcurrentChange, CredentialRefused, InvalidRequest, Violation
from bellhop_server.ports import ApplicationStore, Clock, Provider

LIVE_SECRETS = 10
ENDED_SECRETS_SHOWN: Micros = 30 * DAY

# How often a credential is set anew that somebody else has replaced in the meantime.
_REPEATS = 4

_PREFIXES = {SecretKind.CLIENT: "bhc_", SecretKind.APP: "bha_"}
_HINT_LENGTH = 4
_DEFAULT_NAMES = {Platform.APNS: "apns", Platform.FCM: "fcm", Platform.WEB_PUSH: "web-push"}


@dataclass(frozen=True, slots=True)
class Created:
    """A new application, and its secrets in clear, which are kept nowhere."""

    application: Application
    client_secret: str
    app_secret: str


class Administering:
    """What the holder of the admin token may do."""

    def __init__(self, store: ApplicationStore, providers: Mapping[Platform, Provider], clock: Clock) -> None:
        self._store = store
        self._providers = providers
        self._clock = clock

    async def create(self, app_id: str, display_name: str, policy: Policy) -> Created:
        """Makes an application with one secret of each kind. An empty `app_id` is made up.

        Raises ApplicationAlreadyExists.
        """
        now = self._clock.now()
        application = Application(app_id or f"app-{secrets.token_hex(8)}", display_name, policy, now, now)
        client_text, client_secret = _new_secret(application.app_id, SecretKind.CLIENT, now)
        app_text, app_secret = _new_secret(application.app_id, SecretKind.APP, now)
        await self._store.create_application(application, [client_secret, app_secret])
        return Created(application, client_text, app_text)

    async def get(self, app_id: str) -> Application:
        """Raises ApplicationNotFound."""
        return await self._store.get_application(app_id)

    async def list_applications(self, after: str, limit: int) -> list[Application]:
        """Applications by id, those greater than `after`."""
        return await self._store.list_applications(after, limit)

    async def update(self, app_id: str, display_name: str | None, policy: Policy | None) -> Application:
        """Changes what is not None. Raises ApplicationNotFound."""
        if display_name is None and policy is None:
            return await self._store.get_application(app_id)
        return await self._store.update_application(app_id, self._clock.now(), display_name, policy)

    async def delete(self, app_id: str) -> bool:
        """Deletes an application with all it has. False: there was none."""
        credentials = await self._store.list_credentials(app_id)
        existed = await self._store.delete_application(app_id)
        for credential in credentials:
            self._forget(credential)
        return existed

    def breakers(self, app_id: str) -> list[Breaker]:
        """The providers that are left alone for now."""
        return [breaker for provider in self._providers.values() for breaker in provider.breakers(app_id)]

    async def rotate_secret(self, app_id: str, kind: SecretKind, overlap: Micros) -> tuple[str, Secret]:
        """A new secret, in clear and as it is kept; the live ones of its kind end after `overlap`.

        Raises ApplicationNotFound, QuotaExceeded.
        """
        now = self._clock.now()
        text, secret = _new_secret(app_id, kind, now)
        await self._store.add_secret(secret, now + overlap, LIVE_SECRETS)
        return text, secret

    async def list_secrets(self, app_id: str, after: str, limit: int) -> list[Secret]:
        """Live ones and those that ended within 30 days, by id. Raises ApplicationNotFound."""
        return await self._store.list_secrets(app_id, self._clock.now() - ENDED_SECRETS_SHOWN, after, limit)

    async def revoke_secret(self, app_id: str, secret_id: str) -> Secret:
        """Ends a secret now. Raises ApplicationNotFound, SecretNotFound."""
        return await self._store.end_secret(app_id, secret_id, self._clock.now())

    async def set_credential(
        self, app_id: str, credential_id: str, offer: CredentialOffer, *, validate_only: bool
    ) -> Credential:
        """Tries a credential at its provider and stores it, unless the provider refuses it.

        A provider that cannot be reached says nothing about the credential, so it is stored and its probe says why.
        What an offer comes to may hang on the credential that it replaces: if that changes meanwhile, all begins anew.
        Raises ApplicationNotFound, InvalidRequest, CredentialRefused, KeyChangeRefused, ConcurrentChange.
        """
        await self._store.get_application(app_id)
        for _ in range(_REPEATS):
            try:
                return await self._set_credential(app_id, credential_id, offer, validate_only=validate_only)
            except ConcurrentChange:
                continue
        return await self._set_credential(app_id, credential_id, offer, validate_only=validate_only)

    async def list_credentials(self, app_id: str) -> list[Credential]:
        """All of them, by id. Raises ApplicationNotFound."""
        credentials = await self._store.list_credentials(app_id)
        if not credentials:
            await self._store.get_application(app_id)
        return credentials

    async def delete_credential(self, app_id: str, credential_id: str) -> bool:
        """False: there was none. Raises ApplicationNotFound."""
        existed = await self._store.delete_credential(app_id, credential_id)
        for provider in self._providers.values():
            provider.forget(app_id, credential_id)
        return existed

    async def _set_credential(
        self, app_id: str, credential_id: str, offer: CredentialOffer, *, validate_only: bool
    ) -> Credential:
        platform = _platform_of(offer)
        provider = self._providers[platform]
        name = credential_id or _DEFAULT_NAMES[platform]
        present = next(
            (each for each in await self._store.list_credentials(app_id) if each.credential_id == name), None
        )
        if present is not None and present.platform is not platform:
            # Browsers could not be reached any more whose keys went with it.
            raise InvalidRequest([Violation("credential_id", "is the name of a credential for another network")])
        secret = provider.accept(offer, present.secret if present else None)
        offered = Credential(app_id, name, platform, 0, self._clock.now(), secret)
        probe = await provider.probe(offered)
        if probe.reached and not probe.ok:
            raise CredentialRefused(_DEFAULT_NAMES[platform], probe.reason)
        offered = replace(offered, probe=probe)
        if validate_only:
            return offered
        stored = await self._store.put_credential(offered, present.version if present else None)
        if present is not None:
            self._forget(present)
        return stored

    def _forget(self, credential: Credential) -> None:
        self._providers[credential.platform].forget(credential.app_id, credential.credential_id)


def _platform_of(offer: CredentialOffer) -> Platform:
    match offer:
        case FcmOffer():
            return Platform.FCM
        case WebPushOffer():
            return Platform.WEB_PUSH
        case _:
            return Platform.APNS


def _new_secret(app_id: str, kind: SecretKind, now: Micros) -> tuple[str, Secret]:
    text = _PREFIXES[kind] + secrets.token_urlsafe(32)
    return text, Secret(secrets.token_hex(8), app_id, kind, digest_of(text), text[-_HINT_LENGTH:], now)
