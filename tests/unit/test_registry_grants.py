"""P1: what a bind grant binds, how often, and what the policy takes instead."""

from dataclasses import replace
from typing import Any

import pytest

from bellhop_server.domain import MINUTE
from bellhop_server.domain.application import BindingPolicy, SecretKind
from bellhop_server.domain.errors import (
    BindGrantExpired,
    CredentialsInvalid,
    DeniedByPolicy,
    QuotaExceeded,
    StaleBinding,
    TargetRequired,
)
from bellhop_server.domain.grant import Grant
from bellhop_server.domain.quota import DEVICES_OF_A_USER
from bellhop_server.domain.registration import RegistryAnswer
from tests.unit.registry_table import OWN, Registry

pytestmark = pytest.mark.promise("P1")

SECRET, GRANT, EITHER = BindingPolicy
CLIENT, APP, DEVICE = SecretKind.CLIENT, SecretKind.APP, SecretKind.DEVICE


def grant(registry: Registry, user: str = "ann", device: str = "phone", session: str = "", name: str = "g") -> Grant:
    """Issued now, for five minutes."""
    return Grant("app", name, user, device, session, registry.now, registry.now + 5 * MINUTE)


def show(
    registry: Registry, shown: Grant, at: str | None = "t", device: str = "phone", **changes: Any
) -> RegistryAnswer:
    fields = {"session_id": shown.session_id, "grant": shown, **changes}
    return registry.register(device, fields.pop("user", shown.user_id), at, **fields)


def test_a_grant_binds_its_device_to_its_user() -> None:
    registry = Registry()
    answer = show(registry, grant(registry, session="web"))
    assert answer.created
    assert answer.secret_issued
    device = registry.device("phone")
    assert (device.user_id, device.session_id) == ("ann", "web")


@pytest.mark.parametrize(
    ("granted", "asked"),
    [
        ({}, {"user": "bob"}),
        ({}, {"device": "tablet"}),
        ({"session": "web"}, {"session_id": "kiosk"}),
        ({"session": "web"}, {"session_id": ""}),
        ({"user": "bob"}, {"user": "ann"}),
        ({"user": "ann "}, {"user": "ann"}),
    ],
)
@pytest.mark.parametrize("policy", BindingPolicy)
def test_a_grant_for_something_else_is_no_credential_whatever_the_policy(
    granted: dict[str, str], asked: dict[str, str], policy: BindingPolicy
) -> None:
    registry = Registry(binding_policy=policy)
    shown = grant(registry, **granted)
    registry.refuses(CredentialsInvalid, lambda: show(registry, shown, **asked))


def test_a_grant_binds_no_device_of_nobody() -> None:
    registry = Registry()
    shown = grant(registry)
    registry.refuses(CredentialsInvalid, lambda: registry.register("phone", None, "t", grant=shown))


def test_the_device_may_name_the_session_and_be_any_where_the_grant_says_nothing() -> None:
    registry = Registry()
    show(registry, grant(registry, device=""), device="tablet", session_id="mine")
    assert registry.device("tablet").session_id == "mine"


# Once


def test_the_same_device_gets_the_same_answer_while_the_binding_stands() -> None:
    registry = Registry()
    shown = grant(registry)
    show(registry, shown)
    first, before = registry.fresh, registry.device("phone")
    again = show(registry, shown)
    assert not again.created
    assert again.secret_issued
    assert again.departed == ()
    after = registry.device("phone")
    assert (after.binding_epoch, after.bind_time, after.target) == (
        before.binding_epoch,
        before.bind_time,
        before.target,
    )
    # The first one too: its answer may be the one that arrived.
    assert registry.proves("phone", first)
    assert registry.proves("phone", registry.fresh)


def test_who_brought_a_secret_of_their_own_gets_the_same_answer_too() -> None:
    registry = Registry()
    shown = grant(registry)
    for _ in range(2):
        assert not show(registry, shown, secret=OWN).secret_issued
        assert registry.proves("phone", OWN)


@pytest.mark.parametrize("device", ["", "phone"])
def test_another_device_is_too_late(device: str) -> None:
    registry = Registry()
    shown = grant(registry, device=device)
    show(registry, shown)
    error = BindGrantExpired if device == "" else CredentialsInvalid
    registry.refuses(error, lambda: show(registry, shown, "u", device="tablet"))


def test_another_session_is_another_binding_and_too_late() -> None:
    registry = Registry()
    shown = grant(registry)
    show(registry, shown, session_id="one")
    registry.refuses(BindGrantExpired, lambda: show(registry, shown, session_id="two"))
    registry.refuses(BindGrantExpired, lambda: show(registry, shown))
    assert show(registry, shown, session_id="one").device == registry.device("phone")


def ended(registry: Registry, how: str) -> None:
    """The binding that there is ends."""
    match how:
        case "logout":
            registry.unregister("phone")
        case "logout by itself":
            registry.register("phone", None)
        case "another user":
            registry.register("phone", "bob")
        case "another user and back":
            registry.register("phone", "bob")
            registry.register("phone", "ann")
        case "another session":
            registry.register("phone", "ann", session_id="later")
        case "another session and back":
            registry.register("phone", "ann", session_id="later")
            registry.register("phone", "ann")
        case "takeover of its token":
            registry.register("tablet", "bob", "t")
        case "logout and login":
            registry.unregister("phone")
            registry.register("phone", "ann", "t")
        case "its time":
            registry.now += 2 * MINUTE
        case _:
            registry.unregister_user("ann")


@pytest.mark.parametrize(
    "how",
    [
        "logout",
        "logout by itself",
        "another user",
        "another user and back",
        "another session",
        "another session and back",
        "takeover of its token",
        "logout and login",
        "its time",
        "all logins",
    ],
)
def test_nothing_comes_back_by_it_once_the_binding_has_ended(how: str) -> None:
    registry = Registry()
    shown = grant(registry)
    show(registry, shown, binding_ttl=2 * MINUTE)
    ended(registry, how)
    if how == "its time":
        with pytest.raises(BindGrantExpired):
            show(registry, shown)
        assert registry.device("phone").user_id is None
    else:
        registry.refuses(BindGrantExpired, lambda: show(registry, shown))


def test_what_is_refused_for_something_else_uses_it_not() -> None:
    full = Registry({"ann": DEVICES_OF_A_USER})
    full.refuses(QuotaExceeded, lambda: show(full, grant(full)))
    registry = Registry()
    shown = grant(registry)
    registry.refuses(TargetRequired, lambda: show(registry, shown, None))
    registry.unregister("phone", binding_generation=7)
    registry.refuses(StaleBinding, lambda: show(registry, shown, binding_generation=6))
    assert show(registry, shown, binding_generation=8).created


def test_two_grants_for_one_device_each_bind_once() -> None:
    registry = Registry()
    first, second = grant(registry, session="1", name="g1"), grant(registry, session="2", name="g2")
    show(registry, first)
    show(registry, second)
    registry.refuses(BindGrantExpired, lambda: show(registry, first))
    assert show(registry, second).device == registry.device("phone")


# In time


def test_a_grant_is_over_at_its_end() -> None:
    registry = Registry()
    shown = grant(registry)
    registry.now = shown.expire_time - 2  # A registration is a microsecond later.
    show(registry, shown)
    registry.refuses(BindGrantExpired, lambda: show(registry, shown))
    late = replace(shown, grant_id="g2")
    registry.refuses(BindGrantExpired, lambda: show(registry, late))


def test_what_was_granted_before_all_logins_were_ended_binds_nobody() -> None:
    registry = Registry()
    shown, named = grant(registry), grant(registry, session="web", name="g2")
    bobs = grant(registry, user="bob", name="g3")
    registry.unregister_user("ann")
    for each in (shown, named):
        with pytest.raises(BindGrantExpired) as told:
            show(registry, each)
        assert told.value.metadata == {"expire_time": "1970-01-01T00:05:00Z"}
    show(registry, bobs)
    show(registry, grant(registry, name="later"))


def test_what_was_granted_before_its_session_was_ended_binds_nobody() -> None:
    registry = Registry()
    of_session, open_ = grant(registry, session="web"), grant(registry, name="g2")
    registry.unregister_user("ann", "web")
    registry.refuses(BindGrantExpired, lambda: show(registry, of_session))
    registry.refuses(BindGrantExpired, lambda: show(registry, open_, session_id="web"))
    show(registry, open_, session_id="kiosk")


def test_a_grant_that_is_issued_at_the_very_moment_is_of_the_time_after() -> None:
    registry = Registry()
    registry.unregister_user("ann")
    show(registry, grant(registry))


# With the authority of a client secret, for its own device and user


@pytest.mark.promise("P2")
def test_a_grant_takes_device_and_token_over() -> None:
    registry = Registry()
    old = registry.login("phone", "bob", "t")
    registry.login("tablet", "bob", "u")
    answer = show(registry, grant(registry), "u")
    assert {each.device_id for each in answer.departed} == {"phone", "tablet"}
    assert registry.holder("u") == "phone"
    assert not registry.proves("phone", old)


@pytest.mark.promise("P2")
def test_a_secret_that_was_ever_the_devices_does_not_come_back_with_a_grant() -> None:
    registry = Registry()
    old = registry.login("phone", "bob", "t")
    assert show(registry, grant(registry), secret=old).secret_issued
    assert not registry.proves("phone", old)


# Policy


@pytest.mark.parametrize(
    ("policy", "kinds", "granted", "allowed"),
    [
        (EITHER, {CLIENT}, False, True),
        (EITHER, set(), True, True),
        (SECRET, {CLIENT}, False, True),
        (SECRET, set(), True, False),
        (SECRET, {DEVICE}, True, False),
        (SECRET, {CLIENT}, True, True),
        (GRANT, {CLIENT}, False, False),
        (GRANT, {CLIENT, DEVICE}, False, False),
        (GRANT, set(), True, True),
        (GRANT, {CLIENT}, True, True),
        *((policy, {APP}, False, True) for policy in BindingPolicy),
        *((policy, {APP, CLIENT}, False, True) for policy in BindingPolicy),
        *((policy, {APP}, True, True) for policy in BindingPolicy),
    ],
)
def test_what_the_policy_takes(policy: BindingPolicy, kinds: set[SecretKind], granted: bool, allowed: bool) -> None:
    registry = Registry(binding_policy=policy)
    shown = grant(registry) if granted else None

    def bind() -> RegistryAnswer:
        return registry.register("phone", "ann", "t", kinds=frozenset(kinds), grant=shown)

    if allowed:
        assert bind().created
        return
    registry.refuses(DeniedByPolicy, bind)
    with pytest.raises(DeniedByPolicy) as told:
        bind()
    assert told.value.metadata == {"policy": "binding_policy"}


def test_the_policy_is_about_binding_alone() -> None:
    registry = Registry(binding_policy=GRANT)
    registry.register("phone", None, "t", kinds=frozenset({CLIENT}))
    registry.update("phone", locale="de")
    assert registry.unregister("phone") == 1


def test_credentials_come_before_the_policy() -> None:
    registry = Registry(binding_policy=SECRET)
    late = grant(registry)
    registry.unregister_user("ann")
    registry.refuses(BindGrantExpired, lambda: show(registry, late))
    registry.refuses(DeniedByPolicy, lambda: show(registry, grant(registry, name="g2")))
