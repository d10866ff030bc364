"""What the settings stand for: keys, tokens, certificates and providers, made from them or found where they say."""

import ssl
from pathlib import Path

import structlog

from bellhop_server import admin_token
from bellhop_server.ports import Clock, Provider
from bellhop_server.providers.apns.adapter import ApnsProvider
from bellhop_server.providers.apns.settings import ApnsSettings
from bellhop_server.providers.fcm.adapter import FcmProvider
from bellhop_server.providers.fcm.settings import FcmSettings
from bellhop_server.providers.turns import Turns
from bellhop_server.providers.webpush.adapter import WebPushProvider
from bellhop_server.providers.webpush.settings import WebPushSettings
from bellhop_server.rpc.tls import Tls
from bellhop_server.settings import Settings
from bellhop_server.store.database import postgresql_dsn, sqlite_path
from bellhop_server.store.seal import MasterKey

MASTER_KEY_FILE = "bellhop.key"

_log = structlog.stdlib.get_logger(__name__)


class StartRefused(Exception):
    """The server cannot start with these settings, here and now. The text says why and holds no secret."""


def admin_token_of(settings: Settings) -> str:
    """The one that is set, else that of a file, which is made. Raises AdminTokenRefused."""
    if settings.admin_token:
        return admin_token.check(settings.admin_token, "BELLHOP_ADMIN_TOKEN")
    path = Path(admin_token.FILE_NAME).resolve()
    token = admin_token.load_or_create(path)
    _log.info("the admin token is in a file", file=str(path))
    return token


def master_key_of(settings: Settings) -> MasterKey:
    """The one that is set, else that of a file beside an embedded database, which is made.

    Raises KeyRefused, StartRefused.
    """
    if settings.master_key:
        return MasterKey.parse(settings.master_key)
    database = sqlite_path(settings.database_url)
    if database is None:
        postgresql_dsn(settings.database_url)
        raise StartRefused("PostgreSQL needs BELLHOP_MASTER_KEY: 32 random bytes as base64, the same on every node.")
    return MasterKey.load_or_create(database.with_name(MASTER_KEY_FILE))


def providers_of(settings: Settings, clock: Clock) -> tuple[Provider, ...]:
    """One for each network. To be called on a running event loop. Raises StartRefused."""
    ca_file, turns = settings.provider_ca, Turns()
    try:
        apns = ApnsSettings(settings.apns_url, settings.apns_sandbox_url, ca_file)
        fcm = FcmSettings(settings.fcm_url, settings.fcm_token_url, ca_file, settings.fcm_rate)
        web_push = WebPushSettings(settings.web_push_hosts, ca_file)
    except ValueError as error:
        raise StartRefused(f"{error}.") from None
    try:
        return (
            ApnsProvider(apns, clock, turns),
            FcmProvider(fcm, clock, turns),
            WebPushProvider(web_push, clock, turns),
        )
    except (OSError, ssl.SSLError):
        raise StartRefused(f"Cannot read authorities from {settings.provider_ca}.") from None


def tls_of(settings: Settings) -> Tls | None:
    """None: plaintext."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Tls(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
