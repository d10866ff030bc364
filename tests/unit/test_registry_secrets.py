"""P1 and P2: the rules of device secrets and limits, each with its refused twin."""

from dataclasses import replace

import pytest

from bellhop_server.domain import DAY
from bellhop_server.domain.device import DeviceFacts
from bellhop_server.domain.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    DeviceNotFound,
    InvalidRequest,
    QuotaExceeded,
)
from bellhop_server.domain.quota import ATTRIBUTES, DEVICES_OF_A_USER, UNVERIFIED_DEVICES
from tests.unit.registry_table import OWN, SHORT, Registry

# Device secrets


def test_every_registration_under_authority_issues_a_fresh_secret() -> None:
    registry = Registry()
    first = registry.login("phone", "ann", "t")
    second = registry.login("phone", "ann")
    assert registry.proves("phone", first)
    assert registry.proves("phone", second)
    third = registry.login("phone", "ann")
    assert not registry.proves("phone", first)
    assert registry.proves("phone", second)
    assert registry.proves("phone", third)


@pytest.mark.parametrize("use", ["update", "register anonymously", "register"])
def test_the_first_use_of_a_fresh_secret_retires_the_one_before(use: str) -> None:
    registry = Registry()
    registry.register("phone", None, "t")
    first = registry.fresh
    registry.register("phone", None)
    second = registry.fresh
    if use == "update":
        registry.update("phone", authority=False, secret=second)
    elif use == "register":
        registry.register("phone", None, secret=second)
    else:
        registry.register("phone", None, authority=False, secret=second)
    assert registry.proves("phone", second)
    assert not registry.proves("phone", first)


def test_the_use_of_the_one_before_leaves_the_fresh_one_alone() -> None:
    registry = Registry()
    first = registry.login("phone", "ann", "t")
    second = registry.login("phone", "ann")
    registry.update("phone", authority=False, secret=first)
    assert registry.proves("phone", first)
    assert registry.proves("phone", second)
    third = registry.login("phone", "ann")
    registry.update("phone", authority=False, secret=second)
    assert registry.proves("phone", third)


def test_a_device_that_shows_its_secret_keeps_it() -> None:
    registry = Registry()
    secret = registry.login("phone", "ann", "t")
    for _ in range(3):
        assert not registry.register("phone", "ann", secret=secret).secret_issued
        assert registry.proves("phone", secret)


@pytest.mark.promise("P2")
def test_no_secret_survives_a_change_of_user() -> None:
    registry = Registry()
    first = registry.login("phone", "ann", "t")
    second = registry.login("phone", "ann")
    third = registry.login("phone", "bob", secret=second)
    assert [registry.proves("phone", secret) for secret in (first, second, third)] == [False, False, True]


@pytest.mark.parametrize("user", ["ann", None])
def test_a_device_may_bring_its_own_secret_when_it_is_created(user: str | None) -> None:
    registry = Registry()
    assert not registry.register("phone", user, "t", authority=user is not None, secret=OWN).secret_issued
    assert registry.proves("phone", OWN)


@pytest.mark.parametrize("user", ["ann", None])
def test_a_short_text_is_no_secret_of_a_device(user: str | None) -> None:
    registry = Registry()
    registry.refuses(
        CredentialsInvalid,
        lambda: registry.register("phone", user, "t", authority=user is not None, secret=SHORT),
    )
    registry.login("phone", "bob", "t")
    registry.refuses(CredentialsInvalid, lambda: registry.register("phone", "ann", secret=SHORT))


def test_a_device_may_bring_its_own_secret_when_its_user_changes() -> None:
    registry = Registry()
    before = registry.login("phone", "ann", "t")
    assert not registry.register("phone", "bob", secret=OWN).secret_issued
    assert registry.proves("phone", OWN)
    assert not registry.proves("phone", before)


@pytest.mark.promise("P2")
def test_a_restored_backup_keeps_no_key_to_the_next_person() -> None:
    """The old phone and its backup know a secret; it must not become one again, whoever brings it."""
    registry = Registry()
    registry.register("phone", "ann", "t", secret=OWN)
    assert registry.login("phone", "bob", "t", secret=OWN)
    registry.refuses(CredentialsInvalid, lambda: registry.update("phone", "evil", authority=False, secret=OWN))
    assert registry.login("phone", "ann", secret=OWN)
    registry.unregister("phone")
    assert registry.login("phone", "bob", "t", secret=OWN)
    assert not registry.proves("phone", OWN)


def test_not_even_the_holders_secret_is_taken_again_by_a_device_that_had_it() -> None:
    registry = Registry()
    registry.register("phone", None, "t", authority=False, secret=OWN)
    registry.register("tablet", None, "t", authority=False, secret=OWN)
    assert registry.gone("phone")
    assert registry.register("phone", None, "t", authority=False, secret=OWN).secret_issued
    assert registry.gone("tablet")
    assert not registry.proves("phone", OWN)


# Update


def test_update_changes_what_is_present_and_nothing_else() -> None:
    registry = Registry()
    registry.login("phone", "ann", "t")
    before = registry.device("phone")
    answer = registry.update(
        "phone", locale="", app_version="2", set_attributes={"a": "1"}, remove_attributes=("tier", "unknown")
    )
    assert answer.device == replace(
        before, facts=DeviceFacts("", "Europe/Vienna", "2", {"a": "1"}), update_time=registry.now
    )
    assert not answer.secret_issued


def test_update_without_anything_changes_nothing() -> None:
    registry = Registry()
    registry.login("phone", "ann", "t")
    before = registry.device("phone")
    assert registry.update("phone").device == before


def test_update_of_an_unknown_device() -> None:
    registry = Registry()
    registry.refuses(DeviceNotFound, lambda: registry.update("phone"))
    registry.refuses(CredentialsInvalid, lambda: registry.update("phone", authority=False, secret=OWN))
    registry.refuses(CredentialsMissing, lambda: registry.update("phone", authority=False))


def test_attributes_are_counted_after_the_merge() -> None:
    registry = Registry()
    full = {f"k{number}": "v" for number in range(ATTRIBUTES)}
    registry.login("phone", "ann", "t")
    registry.register("phone", "ann", facts=DeviceFacts(attributes=full))
    registry.refuses(InvalidRequest, lambda: registry.update("phone", set_attributes={"more": "v"}))
    registry.update("phone", set_attributes={"more": "v"}, remove_attributes=("k0",))
    assert len(registry.device("phone").facts.attributes) == ATTRIBUTES


# Taking out


def test_unregister_takes_out_the_device_and_is_repeatable() -> None:
    registry = Registry()
    secret = registry.login("phone", "ann", "t")
    assert registry.unregister("phone", authority=False, secret=secret) == 1
    assert registry.holder("t") is None
    assert registry.unregister("phone", authority=False, secret=secret) == 0
    assert registry.unregister("phone") == 0


def test_a_secret_that_went_with_its_device_says_farewell_for_90_days() -> None:
    registry = Registry()
    secret = registry.login("phone", "ann", "t")
    registry.unregister("phone")
    registry.now += 90 * DAY - 2
    assert registry.unregister("phone", authority=False, secret=secret) == 0
    registry.refuses(CredentialsInvalid, lambda: registry.update("phone", authority=False, secret=secret))
    registry.refuses(CredentialsInvalid, lambda: registry.unregister("phone", authority=False, secret=secret))


def test_a_secret_that_was_replaced_says_no_farewell() -> None:
    registry = Registry()
    replaced = registry.login("phone", "ann", "t")
    registry.login("phone", "bob")
    registry.unregister("phone")
    registry.refuses(CredentialsInvalid, lambda: registry.unregister("phone", authority=False, secret=replaced))


def test_a_farewell_ends_when_the_device_is_there_again() -> None:
    registry = Registry()
    secret = registry.login("phone", "ann", "t")
    registry.unregister("phone")
    registry.login("phone", "bob", "t")
    registry.refuses(CredentialsInvalid, lambda: registry.unregister("phone", authority=False, secret=secret))
    assert registry.device("phone").user_id == "bob"


def test_a_device_that_lost_its_token_can_still_say_farewell() -> None:
    registry = Registry()
    secret = registry.login("old", "ann", "t")
    registry.login("new", "bob", "t")
    assert registry.unregister("old", authority=False, secret=secret) == 0
    assert registry.device("new").user_id == "bob"


def test_unregister_user_takes_out_all_of_theirs_and_nobody_elses() -> None:
    registry = Registry()
    secrets = [registry.login(f"phone{number}", "ann", f"t{number}") for number in range(3)]
    registry.login("phone2", "bob")
    assert registry.unregister_user("ann") == 2
    assert registry.unregister_user("ann") == 0
    assert registry.gone("phone0")
    assert registry.device("phone2").user_id == "bob"
    assert not registry.proves("phone1", secrets[1])


# Limits


def test_the_devices_of_a_user_are_limited() -> None:
    registry = Registry({"ann": DEVICES_OF_A_USER - 1})
    registry.login("phone", "ann", "t")
    registry.refuses(QuotaExceeded, lambda: registry.register("tablet", "ann", "u"))
    registry.login("tablet", "bob", "u")
    registry.refuses(QuotaExceeded, lambda: registry.register("tablet", "ann"))
    registry.login("phone", "ann", "t")


def test_a_device_that_replaces_one_of_the_same_user_is_no_more() -> None:
    registry = Registry({"ann": DEVICES_OF_A_USER - 1})
    registry.login("phone", "ann", "t")
    registry.login("reinstalled", "ann", "t")
    assert registry.gone("phone")
    assert registry.picture.user_count(("app", "ann")) == DEVICES_OF_A_USER


def test_unverified_devices_are_limited() -> None:
    registry = Registry(unverified=UNVERIFIED_DEVICES - 1)
    registry.login("owner", "ann", "t")
    mine = registry.login("mine", "bob", "m")
    registry.register("stranger", None, "t", authority=False)
    stranger = registry.fresh
    registry.refuses(QuotaExceeded, lambda: registry.register("second", None, "t", authority=False))
    registry.refuses(QuotaExceeded, lambda: registry.update("mine", "t", authority=False, secret=mine))
    registry.refuses(QuotaExceeded, lambda: registry.register("mine", None, "t", authority=False, secret=mine))
    registry.register("stranger", None, "t", authority=False, secret=stranger)
    registry.unregister("stranger")
    registry.register("second", None, "t", authority=False)
