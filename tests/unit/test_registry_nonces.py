"""P2: who receives on a token may have it, and nobody else: nonces, each rule with its refused twin."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bellhop_server.domain import HOUR, MINUTE
from bellhop_server.domain.device import DeviceState
from bellhop_server.domain.errors import CredentialsInvalid, CredentialsMissing, DeviceProofRequired, InvalidRequest
from bellhop_server.domain.registration import RegistryAnswer
from bellhop_server.domain.target_proof import NONCE_LIFE, NONCE_PAUSE
from tests.unit.registry_table import OWN, Registry, token

pytestmark = pytest.mark.promise("P2")

ANOTHER = "another secret that a device made"
ACTIVE, DEAD, UNVERIFIED = DeviceState


def waiting(owner: str | None = "ann") -> Registry:
    """`owner` has the token, `newcomer` waits to be shown the nonce that was pushed to it."""
    registry = Registry()
    registry.register("owner", owner, "t")
    registry.register("newcomer", None, "t", authority=False, secret=OWN)
    return registry


def by_registering(registry: Registry, nonce: str, at: str | None = None) -> RegistryAnswer:
    return registry.register("newcomer", None, at, authority=False, secret=OWN, nonce=nonce)


def by_updating(registry: Registry, nonce: str, at: str | None = None) -> RegistryAnswer:
    return registry.update("newcomer", at, authority=False, secret=OWN, nonce=nonce)


Showing = Callable[..., RegistryAnswer]
WAYS = pytest.mark.parametrize("show", [by_registering, by_updating])


# Issuing


def test_a_nonce_is_issued_to_whom_waits_for_a_token() -> None:
    registry = Registry()
    assert not registry.register("owner", "ann", "t").nonce_issued
    answer = registry.register("newcomer", None, "t", authority=False)
    assert answer.nonce_issued
    assert answer.device is not None
    assert (answer.device.state, answer.device.nonce_time) == (UNVERIFIED, registry.now)


@pytest.mark.parametrize("authority", [True, False])
def test_no_nonce_is_issued_for_a_token_that_is_had(authority: bool) -> None:
    registry = Registry()
    answer = registry.register("phone", None, "t", authority=authority, secret=OWN)
    assert not answer.nonce_issued
    assert registry.device("phone").nonce_digest is None
    assert not registry.update("phone", "t", authority=authority, secret=OWN).nonce_issued


def test_there_is_another_nonce_after_a_minute() -> None:
    registry = waiting()
    first = registry.nonce
    assert not by_registering(registry, "", "t").nonce_issued
    assert not by_updating(registry, "", "t").nonce_issued
    registry.now += NONCE_PAUSE
    assert by_updating(registry, "", "t").nonce_issued
    assert registry.nonce != first
    # The later one is the one.
    registry.refuses(InvalidRequest, lambda: by_updating(registry, first))
    assert by_updating(registry, registry.nonce).device == registry.device("newcomer")
    assert registry.holder("t") == "newcomer"


def test_another_token_has_a_nonce_of_its_own_at_once() -> None:
    registry = waiting()
    registry.register("third", "bob", "u")
    first = registry.nonce
    assert by_updating(registry, "", "u").nonce_issued
    registry.refuses(InvalidRequest, lambda: by_updating(registry, first))
    registry.refuses(InvalidRequest, lambda: by_updating(registry, first, "t"))
    by_updating(registry, registry.nonce)
    assert (registry.holder("t"), registry.holder("u")) == ("owner", "newcomer")


def test_who_names_no_token_is_asked_for_nothing() -> None:
    registry = waiting()
    registry.now += HOUR
    assert not by_updating(registry, "").nonce_issued
    assert not by_registering(registry, "").nonce_issued


# Showing


@WAYS
@pytest.mark.parametrize("at", [None, "t"])
@pytest.mark.parametrize("owner", ["ann", None])
def test_who_shows_the_nonce_has_the_token(show: Showing, at: str | None, owner: str | None) -> None:
    registry = waiting(owner)
    before = registry.device("owner")
    answer = show(registry, registry.nonce, at)
    assert registry.gone("owner")
    assert answer.departed == (before,)
    assert registry.holder("t") == "newcomer"
    device = registry.device("newcomer")
    assert (device.state, device.target_time, device.nonce_digest, device.nonce_time) == (
        ACTIVE,
        registry.now,
        None,
        None,
    )
    assert device.user_id is None


@WAYS
def test_a_nonce_that_is_wrong_or_old_is_refused_and_nothing_changes(show: Showing) -> None:
    registry = waiting()
    registry.refuses(InvalidRequest, lambda: show(registry, "wrong"))
    registry.refuses(InvalidRequest, lambda: show(registry, "wrong", "t"))
    registry.now += NONCE_LIFE
    registry.refuses(InvalidRequest, lambda: show(registry, registry.nonce))
    assert registry.holder("t") == "owner"


@WAYS
def test_a_nonce_is_good_for_an_hour(show: Showing) -> None:
    registry = waiting()
    registry.now += NONCE_LIFE - 2
    show(registry, registry.nonce)
    assert registry.holder("t") == "newcomer"


@WAYS
def test_a_repeat_after_a_lost_answer_changes_nothing(show: Showing) -> None:
    registry = waiting()
    nonce = registry.nonce
    show(registry, nonce)
    for at in (None, "t"):
        answer = show(registry, nonce, at)
        assert answer.departed == ()
        assert registry.device("newcomer").state is ACTIVE


def test_a_device_that_has_its_token_is_not_disturbed_by_anybodys_nonce() -> None:
    registry = waiting()
    registry.login("phone", "bob", "u")
    registry.update("phone", nonce=registry.nonce)
    registry.update("phone", "u", nonce="whatever")
    assert (registry.holder("u"), registry.holder("t")) == ("phone", "owner")
    # Naming a token that it has not is another matter.
    registry.refuses(InvalidRequest, lambda: registry.update("phone", "t", nonce=registry.nonce))


def test_a_nonce_proves_one_device() -> None:
    registry = waiting()
    mine = registry.nonce
    registry.register("rival", None, "t", authority=False, secret=ANOTHER)
    theirs = registry.nonce
    assert theirs != mine
    refused = [("rival", ANOTHER, mine), ("newcomer", OWN, theirs)]
    for device, secret, nonce in refused:
        registry.refuses(
            InvalidRequest,
            lambda device=device, secret=secret, nonce=nonce: registry.update(
                device, authority=False, secret=secret, nonce=nonce
            ),
        )
    registry.refuses(
        InvalidRequest,
        lambda: registry.register("new", None, "t", authority=False, secret="x" * 40, nonce=mine),
    )
    assert registry.holder("t") == "owner"


def test_of_two_newcomers_the_later_proof_counts() -> None:
    registry = waiting()
    mine = registry.nonce
    registry.register("rival", None, "t", authority=False, secret=ANOTHER)
    theirs = registry.nonce
    registry.update("rival", authority=False, secret=ANOTHER, nonce=theirs)
    assert registry.holder("t") == "rival"
    assert registry.device("newcomer").state is UNVERIFIED
    by_updating(registry, mine)
    assert registry.holder("t") == "newcomer"
    assert registry.gone("rival")


def test_a_nonce_replaces_no_credential() -> None:
    registry = waiting()
    nonce = registry.nonce
    registry.refuses(CredentialsMissing, lambda: registry.update("newcomer", authority=False, nonce=nonce))
    registry.refuses(
        CredentialsInvalid, lambda: registry.update("newcomer", authority=False, secret=ANOTHER, nonce=nonce)
    )
    registry.refuses(DeviceProofRequired, lambda: registry.register("newcomer", None, authority=False, nonce=nonce))
    registry.refuses(
        CredentialsInvalid, lambda: registry.register("newcomer", None, authority=False, secret=ANOTHER, nonce=nonce)
    )
    registry.refuses(
        CredentialsMissing,
        lambda: registry.register("newcomer", "bob", authority=False, secret=OWN, nonce=nonce),
    )
    # Nor is one that is wrong told before the credential is looked at.
    registry.refuses(CredentialsInvalid, lambda: registry.update("newcomer", authority=False, secret="?", nonce="?"))


@pytest.mark.promise("P1")
def test_a_nonce_binds_nobody_and_unbinds_nobody() -> None:
    registry = Registry()
    registry.login("owner", "ann", "t")
    secret = registry.login("tablet", "bob", "u")
    registry.update("tablet", "t", authority=False, secret=secret)
    epoch = registry.device("tablet").binding_epoch
    assert registry.device("tablet").state is UNVERIFIED
    registry.update("tablet", authority=False, secret=secret, nonce=registry.nonce)
    device = registry.device("tablet")
    assert (device.user_id, device.binding_epoch, device.state) == ("bob", epoch, ACTIVE)
    assert registry.gone("owner")


def test_a_token_that_is_free_by_now_is_simply_taken() -> None:
    registry = waiting()
    registry.unregister("owner")
    by_updating(registry, registry.nonce)
    assert registry.holder("t") == "newcomer"


def test_a_dead_holder_goes_too() -> None:
    registry = waiting()
    registry.picture.put(replace(registry.device("owner"), state=DEAD))
    by_updating(registry, registry.nonce)
    assert registry.gone("owner")
    assert registry.holder("t") == "newcomer"


def test_authority_needs_no_nonce_and_leaves_none() -> None:
    registry = waiting()
    assert not registry.update("newcomer", "t").nonce_issued
    assert registry.device("newcomer").nonce_digest is None
    assert registry.holder("t") == "newcomer"


def test_what_was_known_of_the_token_stays_with_who_proves_it() -> None:
    registry = waiting()
    by_updating(registry, registry.nonce)
    assert registry.device("newcomer").target == token("t")
    assert not registry.device("newcomer").target_accepted


def test_presenting_a_target_forgets_that_its_key_was_refused() -> None:
    registry = Registry()
    secret = registry.login("browser", "ann", "t")
    registry.picture.put(replace(registry.device("browser"), refusals=2, refused_since=5))
    registry.update("browser", app_version="2")
    assert (registry.device("browser").refusals, registry.device("browser").refused_since) == (2, 5)
    registry.register("browser", "ann", secret=secret)
    assert registry.device("browser").refusals == 2
    registry.update("browser", "t", authority=False, secret=secret)
    assert (registry.device("browser").refusals, registry.device("browser").refused_since) == (0, None)


def test_a_minute_is_not_counted_from_a_nonce_that_is_void() -> None:
    registry = waiting()
    registry.register("third", "bob", "u")
    by_updating(registry, "", "u")
    registry.now += MINUTE // 2
    assert by_updating(registry, "", "t").nonce_issued
