"""Authentication from inside: one look-up for many, what is written down and when, guesses in bounded memory."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from bellhop_server.app.authenticating import Access, Authenticating, DeviceSecret, Presented
from bellhop_server.domain import MINUTE, SECOND, Micros
from bellhop_server.domain.application import Application, KnownSecret, Policy, SecretKind, digest_of
from bellhop_server.domain.errors import (
    AuthAttemptsExceeded,
    BindGrantExpired,
    CredentialKindNotAccepted,
    CredentialsInvalid,
    CredentialsMissing,
    ServiceUnavailable,
)
from bellhop_server.domain.grant import Grant
from bellhop_server.domain.registration import Proof
from bellhop_server.rpc.auth import WrongAttempts, address_of, presented
from bellhop_server.store.grant_signer import GrantSigner
from bellhop_server.store.seal import MasterKey
from tests.unit.app_fakes import NOW, FakeClock

SENDER = Access((SecretKind.APP,))
DEVICE = Access((SecretKind.DEVICE,))


class FakeSecrets:
    """Knows some secrets of `shop`; look-ups wait until they are let go."""

    def __init__(self, *known: KnownSecret) -> None:
        self.known = known
        self.asked: list[set[bytes]] = []
        self.touched: list[Mapping[str, Micros]] = []
        self.settled: list[str] = []
        self.reached = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self.away = False

    async def find_secrets(self, digests: Sequence[bytes]) -> list[KnownSecret]:
        self.asked.append(set(digests))
        self.reached.set()
        await self.answers.wait()
        if self.away:
            raise ServiceUnavailable("store")
        return [secret for secret in self.known if secret.digest in digests]

    async def get_application(self, app_id: str) -> Application:
        return Application(app_id, "", Policy(), 0, 0)

    async def touch_secrets(self, last_use: Mapping[str, Micros]) -> None:
        if self.away:
            raise ServiceUnavailable("store")
        self.touched.append(last_use)

    async def settle_device_secret(self, app_id: str, device_id: str, digest: bytes, now: Micros) -> None:
        self.settled.append(device_id)


def secret(text: str, kind: SecretKind = SecretKind.APP, **fields: object) -> KnownSecret:
    return KnownSecret(
        **{"app_id": "shop", "kind": kind, "digest": digest_of(text), "secret_id": f"id-{text}", **fields}
    )


def shows(text: str, kind: SecretKind = SecretKind.APP) -> Presented:
    return Presented("shop", {kind: text})


def authenticating(store: FakeSecrets, clock: FakeClock | None = None, admin_token: str = "admin") -> Authenticating:
    return Authenticating(store, clock or FakeClock(), admin_token, GrantSigner(MasterKey(bytes(32))))


async def test_a_store_that_is_away_is_told_to_each_and_forgotten() -> None:
    store = FakeSecrets(secret("s1"))
    store.away = True
    auth = authenticating(store)
    outcomes = await asyncio.gather(*(auth.authenticate(shows("s1"), SENDER) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ServiceUnavailable] * 3
    store.away = False
    assert (await auth.authenticate(shows("s1"), SENDER)).app_id == "shop"


@pytest.mark.promise("P1")
@pytest.mark.parametrize("admin_token", ["", "x"])
async def test_an_empty_admin_token_opens_nothing(admin_token: str) -> None:
    auth = authenticating(FakeSecrets(), admin_token=admin_token)
    for came in (Presented(), Presented(bearer="")):
        with pytest.raises(CredentialsMissing):
            await auth.authenticate(came, Access(admin=True))
    with pytest.raises(CredentialsInvalid):
        await auth.authenticate(Presented(bearer="y"), Access(admin=True))


@pytest.mark.promise("P1")
@pytest.mark.parametrize(("ends", "good"), [(NOW + 1, True), (NOW, False), (NOW - 1, False), (None, True)])
async def test_a_secret_ends_at_its_end(ends: Micros | None, good: bool) -> None:
    auth = authenticating(FakeSecrets(secret("s1", expire_time=ends)))
    if good:
        assert (await auth.authenticate(shows("s1"), SENDER)).expire_time == ends
    else:
        with pytest.raises(CredentialsInvalid):
            await auth.authenticate(shows("s1"), SENDER)


async def test_a_device_secret_used_for_the_first_time_is_settled() -> None:
    store = FakeSecrets(secret("d" * 40, SecretKind.DEVICE, device_id="d1", pending=True))
    caller = await authenticating(store).authenticate(shows("d" * 40, SecretKind.DEVICE), DEVICE)
    assert (caller.devices, caller.proof.authority) == (frozenset({"d1"}), False)
    assert store.settled == ["d1"]


async def test_a_retired_device_secret_is_nothing() -> None:
    store = FakeSecrets(secret("d", SecretKind.DEVICE, device_id="d1", retire_time=NOW - 1))
    with pytest.raises(CredentialsInvalid):
        await authenticating(store).authenticate(shows("d", SecretKind.DEVICE), DEVICE)


@pytest.mark.parametrize(("length", "ownable"), [(31, False), (32, True)])
async def test_the_registry_judges_a_device_secret_where_one_may_be_new(length: int, ownable: bool) -> None:
    store = FakeSecrets(secret("s1", SecretKind.CLIENT))
    access = Access((SecretKind.CLIENT,), device_secret=DeviceSecret.OWN)
    own = "n" * length
    came = Presented("shop", {SecretKind.CLIENT: "s1", SecretKind.DEVICE: own})
    if not ownable:
        with pytest.raises(CredentialsInvalid):
            await authenticating(store).authenticate(came, access)
        return
    proof = (await authenticating(store).authenticate(came, access)).proof
    assert (proof.authority, proof.device_secret, proof.device_secret_ownable) == (True, digest_of(own), True)


@pytest.mark.promise("P1")
@pytest.mark.parametrize(
    ("accepted", "takes", "length", "good"),
    [
        ((SecretKind.DEVICE,), DeviceSecret.OWN, 32, True),
        ((SecretKind.DEVICE,), DeviceSecret.OWN, 31, False),
        ((SecretKind.CLIENT,), DeviceSecret.OWN, 32, False),
        ((SecretKind.DEVICE,), DeviceSecret.DEPARTED, 32, False),
        ((SecretKind.DEVICE,), DeviceSecret.LIVE, 32, False),
    ],
)
async def test_a_device_secret_that_nobody_knows_is_a_guess_unless_it_may_be_new(
    accepted: tuple[SecretKind, ...], takes: DeviceSecret, length: int, good: bool
) -> None:
    came = Presented("shop", {SecretKind.DEVICE: "n" * length})
    attempt = authenticating(FakeSecrets()).authenticate(came, Access(accepted, device_secret=takes))
    if good:
        assert not (await attempt).proof.authority
    else:
        with pytest.raises(CredentialsInvalid):
            await attempt


@pytest.mark.parametrize(
    ("takes", "until", "good"),
    [
        (DeviceSecret.DEPARTED, NOW + 1, True),
        (DeviceSecret.DEPARTED, NOW, False),
        (DeviceSecret.DEPARTED, None, False),
        (DeviceSecret.LIVE, NOW + 1, False),
    ],
)
async def test_a_secret_that_went_with_its_device_is_remembered_where_it_says_farewell(
    takes: DeviceSecret, until: Micros | None, good: bool
) -> None:
    store = FakeSecrets(secret("d", SecretKind.DEVICE, device_id="d1", retire_time=NOW - 1, expire_time=until))
    access = Access((SecretKind.APP, SecretKind.DEVICE), device_secret=takes)
    attempt = authenticating(store).authenticate(shows("d", SecretKind.DEVICE), access)
    if good:
        assert not (await attempt).proof.authority
    else:
        with pytest.raises(CredentialsInvalid):
            await attempt
    with pytest.raises(CredentialsInvalid):
        await authenticating(store).authenticate(shows("d"), access)


@pytest.mark.promise("P1")
@pytest.mark.parametrize("kind", SecretKind)
@pytest.mark.parametrize("takes", DeviceSecret)
async def test_the_admin_token_is_looked_for_under_no_key_but_its_own(kind: SecretKind, takes: DeviceSecret) -> None:
    access = Access((SecretKind.APP,), device_secret=takes)
    with pytest.raises(CredentialsInvalid):
        await authenticating(FakeSecrets()).authenticate(shows("admin", kind), access)


async def test_an_application_secret_does_not_become_a_devices_own() -> None:
    store = FakeSecrets(secret("s1", SecretKind.CLIENT), secret("s2"))
    access = Access((SecretKind.CLIENT,), device_secret=DeviceSecret.OWN)
    came = Presented("shop", {SecretKind.CLIENT: "s1", SecretKind.DEVICE: "s2"})
    with pytest.raises(CredentialKindNotAccepted):
        await authenticating(store).authenticate(came, access)


async def test_use_is_written_down_together_and_once_a_minute() -> None:
    store, clock = FakeSecrets(secret("s1"), secret("s2")), FakeClock()
    auth = authenticating(store, clock)
    for text in ("s1", "s1", "s2"):
        await auth.authenticate(shows(text), SENDER)
    await auth.flush()
    assert store.touched == [{"id-s1": NOW, "id-s2": NOW}]
    clock.micros += 59 * SECOND
    await auth.authenticate(shows("s1"), SENDER)
    await auth.flush()
    assert len(store.touched) == 1
    clock.micros += SECOND
    await auth.authenticate(shows("s1"), SENDER)
    await auth.flush()
    assert store.touched[1:] == [{"id-s1": NOW + MINUTE}]


async def test_a_store_that_is_away_does_not_stop_the_notes() -> None:
    store = FakeSecrets(secret("s1"))
    auth = authenticating(store)
    await auth.authenticate(shows("s1"), SENDER)
    store.away = True
    await auth.flush()
    assert store.touched == []


class TestPresented:
    """What is read from metadata."""

    def test_all_of_it(self) -> None:
        came = presented(
            [
                ("app-id", "shop"),
                ("client-secret", "c"),
                ("app-secret", "a"),
                ("device-secret", "d"),
                ("authorization", "BEARER  b "),
                ("user-agent", "x"),
                ("user-agent", "y"),
            ]
        )
        secrets = {SecretKind.CLIENT: "c", SecretKind.APP: "a", SecretKind.DEVICE: "d"}
        assert came == Presented("shop", secrets, "b")

    def test_empty_is_absent(self) -> None:
        keys = ("app-id", "client-secret", "app-secret", "device-secret", "bind-grant", "authorization")
        assert presented([(key, "") for key in keys]) == Presented()

    @pytest.mark.parametrize("key", ["app-id", "client-secret", "app-secret", "device-secret", "bind-grant"])
    async def test_twice_is_invalid_whatever_it_is(self, key: str) -> None:
        for values in (("a", "a"), ("", "a"), ("", "")):
            came = presented([("app-secret", "s1"), *((key, value) for value in values)])
            with pytest.raises(CredentialsInvalid):
                await authenticating(FakeSecrets(secret("s1"))).authenticate(came, SENDER)

    def test_of_an_id_that_came_twice_the_first_is_told(self) -> None:
        assert presented([("app-id", "shop"), ("app-id", "other")]).app_id == "shop"

    def test_secrets_are_not_shown(self) -> None:
        came = presented([("app-secret", "hunter2"), ("authorization", "Bearer hunter2")])
        assert "hunter2" not in repr(came)


class TestWrongAttempts:
    """Guesses of one peer at one application."""

    def test_the_21st_within_a_minute_is_slowed_down(self) -> None:
        now = [1000.0]
        attempts = WrongAttempts(20, lambda: now[0])
        for _ in range(20):
            attempts.failed("192.0.2.1", "shop")
            now[0] += 1
        with pytest.raises(AuthAttemptsExceeded) as exceeded:
            attempts.failed("192.0.2.1", "shop")
        assert exceeded.value.retry_after == 40.0
        attempts.failed("192.0.2.2", "shop")
        attempts.failed("192.0.2.1", "other")
        now[0] += 40
        attempts.failed("192.0.2.1", "shop")
        with pytest.raises(AuthAttemptsExceeded):
            attempts.failed("192.0.2.1", "shop")

    def test_memory_is_bounded(self) -> None:
        attempts = WrongAttempts(1, lambda: 0.0)
        for number in range(WrongAttempts.REMEMBERED + 100):
            attempts.failed("192.0.2.1", f"{number:06}")
        assert len(attempts._failures) == WrongAttempts.REMEMBERED
        with pytest.raises(AuthAttemptsExceeded):
            attempts.failed("192.0.2.1", f"{number:06}")

    def test_a_long_name_is_not_kept_whole(self) -> None:
        attempts = WrongAttempts(1, lambda: 0.0)
        attempts.failed("192.0.2.1", "x" * 10_000)
        assert max(len(app_id) for _, app_id in attempts._failures) <= 64


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:4711", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:4711", "[2001:db8::1]"),
        ("ipv6:[::1]:4711", "[::1]"),
        ("unix:/run/bellhop", "unix"),
        ("", ""),
    ],
)
def test_a_peer_is_an_address_whatever_its_port(peer: str, address: str) -> None:
    assert address_of(peer) == address


# Bind grants

SIGNER = GrantSigner(MasterKey(bytes(32)))
BINDER = Access((SecretKind.CLIENT, SecretKind.APP), device_secret=DeviceSecret.OWN, grant=True)
END = NOW - NOW % SECOND + 300 * SECOND


def granted(**changes: Any) -> Presented:
    """What comes with a grant until END, and whatever else."""
    grant = replace(Grant("shop", "jti", "anna", "d1", "", NOW, END), **changes.pop("grant", {}))
    return Presented(**{"app_id": "shop", "bind_grant": SIGNER.sign(grant), **changes})


@pytest.mark.promise("P1")
@pytest.mark.parametrize(("now", "good"), [(END - 1, True), (END, False), (END + 1, False)])
async def test_a_grant_ends_at_its_end(now: Micros, good: bool) -> None:
    clock = FakeClock()
    clock.micros = now
    auth = authenticating(FakeSecrets(), clock)
    if good:
        caller = await auth.authenticate(granted(), BINDER)
        assert (caller.app_id, caller.kinds, caller.expire_time) == ("shop", frozenset(), END)
        assert caller.grant is not None
        assert caller.grant.user_id == "anna"
        assert caller.proof == Proof(authority=True)
        return
    with pytest.raises(BindGrantExpired) as told:
        await auth.authenticate(granted(), BINDER)
    assert told.value.metadata["expire_time"].endswith("Z")
    # What else comes has to be valid all the same, and is told first.
    with pytest.raises(CredentialsInvalid):
        await auth.authenticate(granted(secrets={SecretKind.CLIENT: "wrong"}), BINDER)
    with pytest.raises(CredentialKindNotAccepted):
        await auth.authenticate(granted(), SENDER)


@pytest.mark.promise("P1")
@pytest.mark.parametrize(
    "came",
    [
        granted(app_id="bank"),
        granted(grant={"app_id": "bank"}),
        granted(secrets={SecretKind.CLIENT: "wrong"}),
        granted(secrets={SecretKind.DEVICE: "too short to be its own"}),
        granted(bearer="wrong"),
        granted(bind_grant="x"),
    ],
)
async def test_everything_that_comes_beside_a_grant_has_to_be_right(came: Presented) -> None:
    with pytest.raises(CredentialsInvalid):
        await authenticating(FakeSecrets()).authenticate(came, BINDER)


@pytest.mark.promise("P1")
async def test_a_grant_is_authority_and_lets_a_device_bring_its_own_secret() -> None:
    own = "n" * 32
    caller = await authenticating(FakeSecrets()).authenticate(granted(secrets={SecretKind.DEVICE: own}), BINDER)
    assert caller.proof == Proof(True, digest_of(own), True)
    store = FakeSecrets(secret("s1", SecretKind.CLIENT, expire_time=END - 5))
    caller = await authenticating(store).authenticate(granted(secrets={SecretKind.CLIENT: "s1"}), BINDER)
    assert caller.proof.kinds == caller.kinds == {SecretKind.CLIENT}
    assert caller.expire_time == END - 5


@pytest.mark.promise("P1")
async def test_a_grant_is_not_older_than_its_application() -> None:
    store = FakeSecrets()

    async def made_later(app_id: str) -> Application:
        return Application(app_id, "", Policy(), NOW + 1, NOW + 1)

    store.get_application = made_later
    with pytest.raises(CredentialsInvalid):
        await authenticating(store).authenticate(granted(), BINDER)
    assert (await authenticating(store).authenticate(granted(grant={"issue_time": NOW + 1}), BINDER)).grant is not None
