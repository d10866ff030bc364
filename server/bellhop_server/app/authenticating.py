"""Who calls: every credential that comes must verify, and one look-up by digest answers for all of them alike."""

import hmac
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from enum import Enum, auto

from bellhop_server.domain import MINUTE, Micros
from bellhop_server.domain.application import KnownSecret, SecretKind, digest_of
from bellhop_server.domain.errors import (
    ApplicationNotFound,
    BellhopError,
    BindGrantExpired,
    CredentialKindNotAccepted,
    CredentialsInvalid,
    CredentialsMissing,
)
from bellhop_server.domain.grant import Grant
from bellhop_server.domain.registration import Proof
from bellhop_server.ports import ApplicationStore, Clock, GrantSigner

APP_ID = "app-id"
AUTHORIZATION = "authorization"
ADMIN_TOKEN = "admin-token"  # noqa: S105 - what the kind is called
BIND_GRANT = "bind-grant"
KEYS = {
    SecretKind.CLIENT: "client-secret",
    SecretKind.APP: "app-secret",
    SecretKind.DEVICE: "device-secret",
}

NO_PROOF = Proof(authority=False)

# A device may bring a secret of its own from this length on.
OWN_SECRET_LENGTH = 32

_NOTE_EVERY = 10.0


class DeviceSecret(Enum):
    """Which texts a method takes for a `device-secret`; whatever else comes under that key is a failed attempt.

    LIVE: one that proves a device. DEPARTED: also one that went with its device, as long as that is remembered. OWN:
    also a text that is long enough to become a device's own, from a caller who may do without one. Of which device it
    must be is for the rules of the registry to say.
    """

    LIVE = auto()
    DEPARTED = auto()
    OWN = auto()


@dataclass(frozen=True, slots=True)
class Access:
    """What a method takes.

    `accepted`: kinds of which one must come, unless `optional`. `grant`: a bind grant will do, too. `admin`: the admin
    token alone.
    """

    accepted: tuple[SecretKind, ...] = ()
    optional: bool = False
    device_secret: DeviceSecret = DeviceSecret.LIVE
    grant: bool = False
    admin: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The metadata keys of what it takes."""
        if self.admin:
            return (AUTHORIZATION,)
        return tuple(sorted([*(KEYS[kind] for kind in self.accepted), *([BIND_GRANT] if self.grant else [])]))


@dataclass(frozen=True, slots=True)
class Presented:
    """What came with a call: non-empty texts by their key. `bearer` is that of `authorization`; empty: none came.

    `malformed`: a key came twice, or an `authorization` that is not a bearer's.
    """

    app_id: str = ""
    secrets: dict[SecretKind, str] = field(default_factory=dict, repr=False)
    bearer: str = field(default="", repr=False)
    bind_grant: str = field(default="", repr=False)
    malformed: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, after all that came has been verified.

    `kinds`: the kinds that verified. `devices`: those whose own secret came. `expire_time`: when the first of the
    secrets ends. `grant`: the bind grant that came, which is not over; what it is for is for the rules of the registry
    to say. For the admin token `app_id` and all else is empty.
    """

    app_id: str = ""
    kinds: frozenset[SecretKind] = frozenset()
    devices: frozenset[str] = frozenset()
    expire_time: Micros | None = None
    proof: Proof = NO_PROOF
    grant: Grant | None = None


class Authenticating:
    """Verifies credentials. Call `run` beside it: it notes when secrets were used."""

    def __init__(self, store: ApplicationStore, clock: Clock, admin_token: str, grants: GrantSigner) -> None:
        self._store = store
        self._clock = clock
        self._grants = grants
        self._admin_digest = digest_of(admin_token) if admin_token else b""
        self._noted: dict[str, Micros] = {}
        self._to_note: dict[str, Micros] = {}

    async def authenticate(self, presented: Presented, access: Access) -> Caller:
        """The caller, or what is wrong with what came.

        Raises CredentialsMissing, CredentialsInvalid (the same for every cause), CredentialKindNotAccepted and, for a
        bind grant, BindGrantExpired.
        """
        if presented.malformed:
            raise CredentialsInvalid()
        if not presented.app_id and not access.admin:
            raise CredentialsMissing((APP_ID, *access.keys))
        claims = [_Claim(kind, text) for kind, text in presented.secrets.items()]
        if presented.bearer:
            claims.append(_Claim(None, presented.bearer))
        known = await self._store.find_secrets([claim.digest for claim in claims]) if claims else []
        now = self._clock.now()
        for claim in claims:
            self._verify(claim, known, presented.app_id, access, now)
        grant = self._granted(presented)
        proved = SecretKind.DEVICE in access.accepted or grant is not None or any(claim.authority for claim in claims)
        if not all(claim.verified or (claim.becomes_own and proved) for claim in claims):
            raise CredentialsInvalid()
        self._check_kinds(claims, grant, access)
        if grant is not None and grant.expire_time <= now:
            raise BindGrantExpired(grant.expire_time)
        if not access.admin and (grant is not None or not any(claim.found for claim in claims)):
            await self._check_application(presented.app_id, grant)
        await self._note_use(claims, access, now)
        return _caller(presented, claims, grant)

    def _granted(self, presented: Presented) -> Grant | None:
        if not presented.bind_grant:
            return None
        grant = self._grants.read(presented.bind_grant)
        if grant.app_id != (presented.app_id or grant.app_id):
            raise CredentialsInvalid()
        return grant

    def _verify(self, claim: "_Claim", known: Sequence[KnownSecret], app_id: str, access: Access, now: Micros) -> None:
        if claim.key is None and self._admin_digest:
            claim.admin = hmac.compare_digest(claim.digest, self._admin_digest)
        departed = claim.key is SecretKind.DEVICE and access.device_secret is DeviceSecret.DEPARTED
        claim.found = [
            secret
            for secret in known
            if secret.digest == claim.digest
            and secret.app_id == (app_id or secret.app_id)
            and (secret.expire_time is None or secret.expire_time > now)
            and (secret.retire_time is None or (departed and secret.expire_time is not None))
        ]
        own = claim.key is SecretKind.DEVICE and access.device_secret is DeviceSecret.OWN
        claim.becomes_own = own and not claim.found and claim.ownable

    def _check_kinds(self, claims: Sequence["_Claim"], grant: Grant | None, access: Access) -> None:
        """All are valid: is each under its own key, and one of them of a kind that the method takes?"""
        for claim in claims:
            if claim.misplaced(access.admin):
                raise CredentialKindNotAccepted(claim.name, access.keys)
        if grant is not None and not access.grant:
            raise CredentialKindNotAccepted(BIND_GRANT, access.keys)
        if access.optional or grant is not None or any(claim.serves(access) for claim in claims):
            return
        for claim in claims:
            if claim.verified:
                raise CredentialKindNotAccepted(claim.name, access.keys)
        raise CredentialsMissing(access.keys)

    async def _check_application(self, app_id: str, grant: Grant | None) -> None:
        try:
            application = await self._store.get_application(app_id)
        except ApplicationNotFound:
            raise CredentialsInvalid() from None
        if grant is not None and grant.issue_time < application.create_time:
            # By one of that name that was deleted since.
            raise CredentialsInvalid()

    async def _note_use(self, claims: Sequence["_Claim"], access: Access, now: Micros) -> None:
        for secret in (secret for claim in claims for secret in claim.found):
            if secret.kind is not SecretKind.DEVICE:
                if now - self._noted.get(secret.secret_id, 0) >= MINUTE:
                    self._noted[secret.secret_id] = self._to_note[secret.secret_id] = now
            elif secret.pending and access.device_secret is DeviceSecret.LIVE:
                await self._store.settle_device_secret(secret.app_id, secret.device_id, secret.digest, now)

    async def run(self) -> None:
        """Writes down when secrets were last used, all together, until cancelled."""
        while True:
            await self._clock.sleep(_NOTE_EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Writes down what has not been written. At most one write for each secret a minute."""
        noted, self._to_note = self._to_note, {}
        self._noted = {id_: time for id_, time in self._noted.items() if self._clock.now() - time < MINUTE}
        if noted:
            try:
                await self._store.touch_secrets(noted)
            except BellhopError:
                return  # Best effort: the next use is noted again.


@dataclass(slots=True)
class _Claim:
    """One credential that came: under which key (None: `authorization`), and what it turned out to be."""

    key: SecretKind | None
    text: InitVar[str]
    digest: bytes = field(init=False)
    ownable: bool = field(init=False)
    becomes_own: bool = False
    admin: bool = False
    found: list[KnownSecret] = field(default_factory=list)

    def __post_init__(self, text: str) -> None:
        self.digest = digest_of(text)
        self.ownable = len(text) >= OWN_SECRET_LENGTH

    @property
    def verified(self) -> bool:
        return self.admin or bool(self.found)

    @property
    def kind(self) -> SecretKind | None:
        """None: the admin token, or nothing that is known."""
        return self.found[0].kind if self.found and not self.admin else None

    @property
    def authority(self) -> bool:
        return self.kind in (SecretKind.CLIENT, SecretKind.APP)

    @property
    def name(self) -> str:
        return ADMIN_TOKEN if self.kind is None else KEYS[self.kind]

    def misplaced(self, admin: bool) -> bool:
        """Whether it is valid, but something else than its key says."""
        if self.key is None:
            return self.verified and (self.kind is SecretKind.DEVICE or self.admin != admin)
        return self.verified and self.kind is not self.key

    def serves(self, access: Access) -> bool:
        if access.admin:
            return self.admin
        return (SecretKind.DEVICE if self.becomes_own else self.kind) in access.accepted


def _caller(presented: Presented, claims: Sequence[_Claim], grant: Grant | None) -> Caller:
    found = [secret for claim in claims for secret in claim.found]
    kinds = frozenset(secret.kind for secret in found)
    ends = [secret.expire_time for secret in found if secret.expire_time is not None]
    if grant is not None:
        ends.append(grant.expire_time)
    own = next((claim for claim in claims if claim.key is SecretKind.DEVICE), None)
    return Caller(
        app_id=presented.app_id,
        kinds=kinds,
        devices=frozenset(secret.device_id for secret in found if secret.kind is SecretKind.DEVICE),
        expire_time=min(ends, default=None),
        proof=Proof(
            authority=grant is not None or any(claim.authority for claim in claims),
            device_secret=None if own is None else own.digest,
            device_secret_ownable=own is not None and own.ownable,
            kinds=kinds,
        ),
        grant=grant,
    )
