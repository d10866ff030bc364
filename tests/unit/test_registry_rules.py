"""P1 and P2: the rules of devices, users and tokens, each with its refused twin."""

from dataclasses import replace

import pytest

from bellhop_server.domain.application import AnonymousPolicy
from bellhop_server.domain.device import Device, DeviceFacts, DeviceState
from bellhop_server.domain.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    DeniedByPolicy,
    DeviceProofRequired,
    TargetRequired,
)
from bellhop_server.domain.registration import (
    Unregister,
)
from tests.unit.registry_table import FACTS, OFF, OPEN, OWN, SECRET, Registry, proof, token

# Binding


def test_authority_creates_a_device_for_a_user() -> None:
    registry = Registry()
    answer = registry.register("phone", "ann", "t")
    assert answer.created
    assert answer.secret_issued
    assert answer.device == registry.device("phone")
    assert answer.device == Device(
        app_id="app",
        device_id="phone",
        user_id="ann",
        binding_epoch=1,
        target=token("t"),
        facts=FACTS,
        state=DeviceState.ACTIVE,
        register_time=registry.now,
        bind_time=registry.now,
        update_time=registry.now,
        target_time=registry.now,
    )
    assert registry.proves("phone", registry.fresh)


@pytest.mark.promise("P1")
def test_nothing_but_authority_binds_to_a_user() -> None:
    registry = Registry()
    registry.refuses(CredentialsMissing, lambda: registry.register("phone", "ann", "t", authority=False))
    secret = registry.login("phone", "ann", "t")
    registry.refuses(CredentialsMissing, lambda: registry.register("phone", "bob", "t", authority=False, secret=secret))


def test_a_new_device_needs_a_target() -> None:
    registry = Registry()
    registry.refuses(TargetRequired, lambda: registry.register("phone", "ann"))
    registry.refuses(TargetRequired, lambda: registry.register("phone", authority=False))
    registry.login("phone", "ann", "t")
    registry.login("phone", "bob")
    assert registry.device("phone").target == token("t")


def test_the_same_user_again_keeps_the_binding() -> None:
    registry = Registry()
    registry.login("phone", "ann", "t")
    first = registry.device("phone")
    registry.login("phone", "ann", "t2")
    again = registry.device("phone")
    assert (again.binding_epoch, again.bind_time, again.register_time) == (
        first.binding_epoch,
        first.bind_time,
        first.register_time,
    )
    assert again.update_time == again.target_time == registry.now


@pytest.mark.promise("P3")
def test_every_change_of_user_gives_an_epoch_that_was_never_there() -> None:
    registry = Registry()
    epochs = []
    for user in ("ann", "bob", None, "ann"):
        registry.register("phone", user, "t")
        epochs.append(registry.device("phone").binding_epoch)
        assert registry.device("phone").bind_time == (None if user is None else registry.now)
    registry.unregister("phone")
    registry.register("phone", "ann", "t")
    epochs.append(registry.device("phone").binding_epoch)
    assert len(set(epochs)) == 5


def test_a_registration_replaces_all_facts() -> None:
    registry = Registry()
    registry.login("phone", "ann", "t")
    registry.register("phone", "ann", facts=DeviceFacts(app_version="2"))
    assert registry.device("phone").facts == DeviceFacts(app_version="2")


def test_user_ids_differ_code_point_by_code_point() -> None:
    composed, decomposed = "\u00e9", "e\u0301"
    registry = Registry({composed: 0, decomposed: 0})
    registry.login("phone", composed, "t")
    epoch = registry.device("phone").binding_epoch
    registry.login("phone", decomposed)
    assert registry.device("phone").binding_epoch != epoch
    assert registry.unregister_user(composed) == 0
    assert registry.unregister_user(decomposed) == 1


# Tokens


@pytest.mark.promise("P2")
def test_a_token_moves_to_whoever_presents_it_under_authority() -> None:
    registry = Registry()
    old = registry.login("old", "ann", "t")
    registry.login("new", "bob", "t")
    assert registry.gone("old")
    assert registry.holder("t") == "new"
    assert not registry.proves("old", old)


def test_a_token_moves_by_update_under_authority() -> None:
    registry = Registry()
    registry.login("old", "ann", "t")
    registry.login("new", "bob", "u")
    epoch = registry.device("new").binding_epoch
    registry.update("new", "t")
    assert registry.gone("old")
    assert registry.holder("t") == "new"
    assert registry.holder("u") is None
    assert registry.device("new").binding_epoch == epoch


@pytest.mark.promise("P2")
@pytest.mark.parametrize("owner", ["ann", None])
def test_an_app_id_alone_takes_no_token(owner: str | None) -> None:
    registry = Registry()
    registry.register("owner", owner, "t")
    before = registry.device("owner")
    answer = registry.register("stranger", None, "t", authority=False)
    assert answer.created
    assert answer.secret_issued
    assert registry.device("stranger").state is DeviceState.UNVERIFIED
    assert registry.device("owner") == before
    assert registry.holder("t") == "owner"


def test_the_device_secret_of_the_holder_moves_its_token_to_a_new_device() -> None:
    registry = Registry()
    secret = registry.login("old", "ann", "t")
    answer = registry.register("new", None, "t", authority=False, secret=secret)
    assert not answer.secret_issued
    assert registry.gone("old")
    assert registry.device("new").state is DeviceState.ACTIVE
    assert registry.proves("new", secret)
    assert not registry.proves("old", secret)


def test_the_device_secret_of_the_holder_moves_its_token_to_a_device_that_waits_for_it() -> None:
    registry = Registry()
    secret = registry.login("old", "ann", "t")
    registry.register("new", None, "t", authority=False)
    waiting = registry.fresh
    assert not registry.register("new", None, "t", authority=False, secret=secret).secret_issued
    assert registry.gone("old")
    assert registry.device("new").state is DeviceState.ACTIVE
    assert [registry.proves("new", each) for each in (secret, waiting)] == [True, False]


@pytest.mark.promise("P2")
def test_the_device_secret_of_the_holder_says_nothing_of_a_device_that_is_somebodys() -> None:
    registry = Registry()
    theirs = registry.login("theirs", "ann", "t")
    mine = registry.login("mine", "bob", "m")
    registry.update("mine", "t", authority=False, secret=mine)
    registry.refuses(CredentialsInvalid, lambda: registry.register("mine", None, "t", authority=False, secret=theirs))


def test_a_retired_secret_of_the_holder_moves_nothing() -> None:
    registry = Registry()
    secret = registry.login("old", "ann", "t")
    registry.login("old", "bob")
    registry.register("new", None, "t", authority=False, secret=secret)
    assert registry.device("new").state is DeviceState.UNVERIFIED
    assert registry.holder("t") == "old"


@pytest.mark.promise("P2")
def test_a_device_secret_proves_no_other_devices_token() -> None:
    registry = Registry()
    registry.login("owner", "ann", "t")
    secret = registry.login("mine", "bob", "m")
    registry.update("mine", "t", authority=False, secret=secret)
    assert registry.device("mine").state is DeviceState.UNVERIFIED
    assert registry.device("mine").target == token("t")
    assert registry.device("mine").user_id == "bob"
    assert registry.holder("t") == "owner"
    registry.register("mine", None, "t", authority=False, secret=secret)
    assert registry.device("mine").state is DeviceState.UNVERIFIED
    assert registry.holder("t") == "owner"


def test_a_known_device_does_not_take_a_token_even_with_the_secret_of_both() -> None:
    registry = Registry()
    registry.register("mine", None, "m", authority=False, secret=OWN)
    registry.register("owner", None, "t", authority=False, secret=OWN)
    registry.register("mine", None, "t", authority=False, secret=OWN)
    assert registry.holder("t") == "owner"
    assert registry.device("mine").state is DeviceState.UNVERIFIED


def test_an_unverified_device_becomes_active_once_the_token_is_free() -> None:
    registry = Registry()
    registry.login("owner", "ann", "t")
    registry.register("stranger", None, "t", authority=False)
    secret = registry.fresh
    registry.register("stranger", None, "t", authority=False, secret=secret)
    assert registry.device("stranger").state is DeviceState.UNVERIFIED
    registry.unregister("owner")
    assert registry.device("stranger").state is DeviceState.UNVERIFIED
    registry.register("stranger", None, "t", authority=False, secret=secret)
    assert registry.device("stranger").state is DeviceState.ACTIVE
    assert registry.holder("t") == "stranger"


def test_a_token_named_only_by_unverified_devices_is_free() -> None:
    registry = Registry()
    registry.login("owner", "ann", "t")
    registry.register("stranger", None, "t", authority=False)
    registry.unregister("owner")
    registry.register("third", None, "t", authority=False)
    assert registry.device("third").state is DeviceState.ACTIVE
    assert registry.device("stranger").state is DeviceState.UNVERIFIED


def test_an_unverified_device_evicts_its_rival_under_authority() -> None:
    registry = Registry()
    registry.login("owner", "ann", "t")
    registry.register("stranger", None, "t", authority=False)
    registry.login("stranger", "bob", "t")
    assert registry.gone("owner")
    assert registry.device("stranger").state is DeviceState.ACTIVE


def test_without_a_target_the_state_stays() -> None:
    registry = Registry()
    registry.login("owner", "ann", "t")
    registry.register("stranger", None, "t", authority=False)
    registry.login("stranger", "bob")
    assert registry.device("stranger").state is DeviceState.UNVERIFIED
    assert registry.holder("t") == "owner"


@pytest.mark.parametrize("call", ["register", "update"])
def test_a_target_presented_again_revives_a_dead_device(call: str) -> None:
    registry = Registry()
    registry.login("phone", "ann", "t")
    registry.picture.put(replace(registry.device("phone"), state=DeviceState.DEAD, target_accepted=True))
    registry.login("phone", "ann")
    assert registry.device("phone").state is DeviceState.DEAD
    if call == "register":
        registry.login("phone", "ann", "t")
    else:
        registry.update("phone", "t")
    assert registry.device("phone").state is DeviceState.ACTIVE
    assert registry.device("phone").target_time == registry.now
    assert registry.device("phone").target_accepted


def test_what_a_provider_said_of_a_target_ends_with_it() -> None:
    registry = Registry()
    registry.login("phone", "ann", "t")
    registry.picture.put(replace(registry.device("phone"), target_accepted=True))
    registry.login("phone", "ann", "t")
    assert registry.device("phone").target_accepted
    registry.login("phone", "ann", "u")
    assert not registry.device("phone").target_accepted


# Who may ask


@pytest.mark.parametrize(
    ("policy", "authority", "allowed"),
    [(OPEN, False, True), (OPEN, True, True), (SECRET, False, False), (SECRET, True, True), (OFF, True, False)],
)
def test_the_policy_for_anonymous_devices(policy: AnonymousPolicy, authority: bool, allowed: bool) -> None:
    registry = Registry(policy=policy)
    if allowed:
        assert registry.register("phone", None, "t", authority=authority).created
    else:
        registry.refuses(DeniedByPolicy, lambda: registry.register("phone", None, "t", authority=authority))


@pytest.mark.parametrize("policy", [SECRET, OFF])
def test_the_policy_does_not_speak_of_users(policy: AnonymousPolicy) -> None:
    assert Registry(policy=policy).register("phone", "ann", "t").created


def test_an_application_that_is_gone_takes_nothing() -> None:
    registry = Registry()
    stranger = Unregister("gone", "phone", proof(True, None), registry.now)
    registry.refuses(CredentialsInvalid, lambda: registry.do(stranger))


def test_a_known_device_is_not_touched_without_proof() -> None:
    registry = Registry()
    secret = registry.login("phone", "ann", "t")
    registry.refuses(DeviceProofRequired, lambda: registry.register("phone", None, "t", authority=False))
    registry.refuses(CredentialsInvalid, lambda: registry.register("phone", None, authority=False, secret=OWN))
    registry.refuses(CredentialsMissing, lambda: registry.update("phone", authority=False, locale="en"))
    registry.refuses(CredentialsInvalid, lambda: registry.update("phone", authority=False, secret=OWN, locale="en"))
    registry.refuses(CredentialsMissing, lambda: registry.unregister("phone", authority=False))
    registry.refuses(CredentialsInvalid, lambda: registry.unregister("phone", authority=False, secret=OWN))
    registry.update("phone", authority=False, secret=secret, locale="en")
    registry.register("phone", None, authority=False, secret=secret)
    assert registry.unregister("phone", authority=False, secret=secret) == 1


def test_a_wrong_device_secret_spoils_a_call_under_authority() -> None:
    registry = Registry()
    registry.login("phone", "ann", "t")
    registry.refuses(CredentialsInvalid, lambda: registry.register("phone", "ann", secret=OWN))
    registry.refuses(CredentialsInvalid, lambda: registry.update("phone", secret=OWN, locale="en"))
    registry.refuses(CredentialsInvalid, lambda: registry.unregister("phone", secret=OWN))
    registry.refuses(CredentialsInvalid, lambda: registry.unregister("unknown", secret=OWN))
    registry.refuses(CredentialsInvalid, lambda: registry.update("unknown", secret=OWN))


@pytest.mark.promise("P1")
def test_a_secret_of_one_device_does_not_open_another() -> None:
    registry = Registry()
    secret = registry.login("phone", "ann", "t")
    registry.login("tablet", "ann", "u")
    registry.refuses(CredentialsInvalid, lambda: registry.unregister("tablet", authority=False, secret=secret))


@pytest.mark.promise("P2")
def test_a_device_unbinds_itself_with_its_secret_and_gets_a_fresh_one() -> None:
    registry = Registry()
    older = registry.login("phone", "ann", "t")
    secret = registry.login("phone", "ann")
    before = registry.device("phone")
    answer = registry.register("phone", None, authority=False, secret=secret, facts=DeviceFacts())
    fresh = registry.fresh
    assert answer.secret_issued
    after = registry.device("phone")
    assert (after.user_id, after.bind_time, after.facts) == (None, None, DeviceFacts())
    assert after.binding_epoch != before.binding_epoch
    assert [registry.proves("phone", each) for each in (older, secret, fresh)] == [False, True, True]

    assert not registry.register("phone", None, authority=False, secret=secret).secret_issued  # The answer was lost.
    assert registry.proves("phone", secret)

    registry.update("phone", authority=False, secret=fresh)
    assert [registry.proves("phone", each) for each in (secret, fresh)] == [False, True]


@pytest.mark.promise("P2")
def test_the_secret_of_whoever_unbound_dies_with_the_next_login() -> None:
    registry = Registry()
    secret = registry.login("phone", "ann", "t")
    registry.register("phone", None, authority=False, secret=secret)
    fresh = registry.fresh
    bobs = registry.login("phone", "bob")
    assert [registry.proves("phone", each) for each in (secret, fresh, bobs)] == [False, False, True]


def test_authority_unbinds_and_retires_every_secret() -> None:
    registry = Registry()
    secret = registry.login("phone", "ann", "t")
    assert registry.register("phone", None).secret_issued
    assert registry.device("phone").user_id is None
    assert not registry.proves("phone", secret)
    assert registry.proves("phone", registry.fresh)
