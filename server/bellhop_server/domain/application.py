"""Applications (tenants), their secrets and their provider credentials."""

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum

from bellhop_server.domain import Micros
from bellhop_server.domain.device import ApnsEnvironment, Platform


class AnonymousPolicy(IntEnum):
    """Who may register a device without a user."""

    OPEN = 1
    SECRET = 2
    OFF = 3


class BindingPolicy(IntEnum):
    """What binds a device to a user, beside an app secret, which always does."""

    SECRET = 1
    GRANT = 2
    SECRET_OR_GRANT = 3


class SecretKind(IntEnum):
    """What a secret allows."""

    CLIENT = 1
    APP = 2
    DEVICE = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules of an application. `default_binding_ttl`: how long a binding lasts that does not say so; None: for ever."""

    anonymous_policy: AnonymousPolicy = AnonymousPolicy.OPEN
    default_binding_ttl: Micros | None = None
    binding_policy: BindingPolicy = BindingPolicy.SECRET_OR_GRANT


@dataclass(frozen=True, slots=True)
class Application:
    """A tenant."""

    app_id: str
    display_name: str
    policy: Policy
    create_time: Micros
    update_time: Micros


@dataclass(frozen=True, slots=True)
class Secret:
    """A client or app secret without its text: only the SHA-256 of what was shown is kept."""

    secret_id: str
    app_id: str
    kind: SecretKind
    digest: bytes
    hint: str
    create_time: Micros
    expire_time: Micros | None = None
    last_use_time: Micros | None = None


@dataclass(frozen=True, slots=True)
class KnownSecret:
    """What the look-up of one digest found: whose it is and until when.

    `device_id` is set for SecretKind.DEVICE. `retire_time` is set once a device secret was replaced or its device is
    gone: then it proves nothing but what UnregisterDevice still takes, and that it was once a secret of that device.
    `pending`: a device secret that has not been used yet; its first use retires the one before.
    """

    app_id: str
    kind: SecretKind
    digest: bytes
    secret_id: str = ""
    device_id: str = ""
    expire_time: Micros | None = None
    retire_time: Micros | None = None
    pending: bool = False


@dataclass(frozen=True, slots=True)
class ApnsCredential:
    """A .p8 key and what it serves. `topics[0]` is the default; no environments: both."""

    key_id: str
    team_id: str
    p8: str = field(repr=False)
    topics: tuple[str, ...]
    environments: tuple[ApnsEnvironment, ...] = ()

    def serves(self, environment: ApnsEnvironment) -> bool:
        """Whether the key may be used in this environment."""
        return not self.environments or environment in self.environments


@dataclass(frozen=True, slots=True)
class FcmCredential:
    """A service account of a Firebase project. `sender_id` is the project's number, for apps that ask for it; may be
    empty.
    """

    project_id: str
    client_email: str
    private_key_id: str
    private_key: str = field(repr=False)
    sender_id: str = ""


@dataclass(frozen=True, slots=True)
class VapidKey:
    """A key pair on P-256 (RFC 8292). `public_key` is base64url of the uncompressed point, `private_key` PEM."""

    public_key: str
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebPushCredential:
    """VAPID keys, the current one first. A browser's subscription goes on with the key that it was made with, so a
    former key stays. `subject` is the mailto: or https: address of whom to write to.
    """

    keys: tuple[VapidKey, ...]
    subject: str

    def key(self, public_key: str) -> VapidKey | None:
        """The one with that public key; the current one for an empty one."""
        if not public_key:
            return self.keys[0]
        return next((key for key in self.keys if key.public_key == public_key), None)


ProviderSecret = ApnsCredential | FcmCredential | WebPushCredential


@dataclass(frozen=True, slots=True)
class FcmOffer:
    """What an operator has of an FCM credential: the service account's JSON file as it is."""

    service_account_json: str = field(repr=False)
    sender_id: str = ""


@dataclass(frozen=True, slots=True)
class WebPushOffer:
    """What an operator has of a Web Push credential. `vapid_private_key` is PEM; empty: make one, or keep the one that
    is there. Another key than the current one is taken only with `allow_key_change`.
    """

    vapid_private_key: str = field(repr=False)
    subject: str
    allow_key_change: bool = False


CredentialOffer = ApnsCredential | FcmOffer | WebPushOffer


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a provider said to a credential. Not `reached`: it could not be asked, no fault of the credential."""

    ok: bool
    reason: str
    probe_time: Micros
    reached: bool = True


@dataclass(frozen=True, slots=True)
class Credential:
    """A stored provider credential; `version` grows with every replacement."""

    app_id: str
    credential_id: str
    platform: Platform
    version: int
    update_time: Micros
    secret: ProviderSecret
    probe: ProbeResult | None = None


@dataclass(frozen=True, slots=True)
class Breaker:
    """A provider that is left alone for a while because it, or the credential, failed."""

    credential_id: str
    platform: Platform
    reason: str
    retry_time: Micros


def digest_of(secret: str) -> bytes:
    """SHA-256 of a secret's text: the only form in which one is kept."""
    return hashlib.sha256(secret.encode()).digest()
