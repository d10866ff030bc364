"""Credentials that are set by several at once: none is lost, and a key that was made is kept."""

import asyncio
from dataclasses import replace

import pytest

from bellhop_server.app.administering import Administering
from bellhop_server.domain.application import (
    ApnsCredential,
    Application,
    Credential,
    CredentialOffer,
    Policy,
    ProbeResult,
    ProviderSecret,
    WebPushCredential,
    WebPushOffer,
)
from bellhop_server.domain.device import Platform
from bellhop_server.domain.errors import ConcurrentChange, InvalidRequest
from bellhop_server.providers.webpush import keyring
from bellhop_server.store.sql_store import SqlStore
from tests.unit.app_fakes import FakeClock

GENERATE = WebPushOffer(vapid_private_key="", subject="mailto:a@b.example")
APNS = ApnsCredential("KEY1234567", "TEAM123456", "pem", ("com.example.shop",))


class Push:
    """A push service whose keys are made as they really are. All probes of a round wait for each other."""

    def __init__(self, together: int = 1) -> None:
        self.forgotten: list[tuple[str, str]] = []
        self.accepted: list[ProviderSecret] = []
        self._barrier = asyncio.Barrier(together)
        self._first = together

    def accept(self, offer: CredentialOffer, present: ProviderSecret | None) -> ProviderSecret:
        secret = keyring.accept(offer, present) if isinstance(offer, WebPushOffer) else APNS
        self.accepted.append(secret)
        return secret

    async def probe(self, credential: Credential) -> ProbeResult:
        if self._first:
            self._first -= 1
            await self._barrier.wait()
        return ProbeResult(True, "", 1)

    def forget(self, app_id: str, credential_id: str) -> None:
        self.forgotten.append((app_id, credential_id))


def office(store: SqlStore, push: Push) -> Administering:
    return Administering(store, dict.fromkeys(Platform, push), FakeClock())


@pytest.fixture(autouse=True)
async def shop(store: SqlStore) -> None:
    await store.create_application(Application("shop", "Shop", Policy(), 0, 0), [])


@pytest.mark.parametrize("racing", [2, 5])
async def test_who_has_a_key_made_at_once_gets_the_same_one(
    store: SqlStore, other_store: SqlStore, racing: int
) -> None:
    push = Push(racing)
    offices = [office(each, push) for each in (store, other_store)]
    made = await asyncio.gather(
        *(offices[each % 2].set_credential("shop", "", GENERATE, validate_only=False) for each in range(racing))
    )
    assert len({secret.keys[0].public_key for secret in push.accepted[:racing]}) == racing
    [stored] = await store.list_credentials("shop")
    assert isinstance(stored.secret, WebPushCredential)
    assert len(stored.secret.keys) == 1
    assert {each.secret for each in made} == {stored.secret}
    assert stored.version == max(each.version for each in made)


async def test_what_is_replaced_is_forgotten_at_the_provider_and_what_is_new_is_not(store: SqlStore) -> None:
    push = Push()
    for _ in range(2):
        await office(store, push).set_credential("shop", "mine", APNS, validate_only=False)
    assert push.forgotten == [("shop", "mine")]


async def test_who_is_always_overtaken_is_told_so(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    push, put = Push(), store.put_credential

    async def be_overtaken(credential: Credential, replaces: int | None) -> Credential:
        present = {each.credential_id: each.version for each in await store.list_credentials("shop")}
        await put(replace(credential, version=0), present.get(credential.credential_id))
        return await put(credential, replaces)

    monkeypatch.setattr(store, "put_credential", be_overtaken)
    with pytest.raises(ConcurrentChange):
        await office(store, push).set_credential("shop", "", APNS, validate_only=False)


async def test_trying_one_changes_nothing(store: SqlStore) -> None:
    tried = await office(store, Push()).set_credential("shop", "", GENERATE, validate_only=True)
    assert isinstance(tried.secret, WebPushCredential)
    assert await store.list_credentials("shop") == []


async def test_a_name_stays_with_its_network(store: SqlStore) -> None:
    push = Push()
    kept = await office(store, push).set_credential("shop", "mine", GENERATE, validate_only=False)
    for validate_only in (True, False):
        with pytest.raises(InvalidRequest) as refused:
            await office(store, push).set_credential("shop", "mine", APNS, validate_only=validate_only)
        assert [each.field for each in refused.value.violations] == ["credential_id"]
    assert await store.list_credentials("shop") == [kept]
