"""P2, P3 and P5: bindings that end by time, by session and by count, and who comes too late for one."""

from dataclasses import replace

import pytest

from bellhop_server.domain import MINUTE
from bellhop_server.domain.device import Device, DeviceFacts
from bellhop_server.domain.errors import CredentialsInvalid, QuotaExceeded, StaleBinding
from bellhop_server.domain.quota import DEVICES_OF_A_USER
from tests.unit.registry_table import Registry, token

pytestmark = pytest.mark.promise("P5")


def bound(device: Device) -> tuple[object, ...]:
    return device.user_id, device.session_id, device.bind_time, device.binding_expire_time


NOBODY = (None, "", None, None)


# Ends


def test_a_binding_lasts_as_long_as_its_registration_says() -> None:
    registry = Registry(default_ttl=2 * MINUTE)
    registry.register("phone", "ann", "t", binding_ttl=MINUTE)
    assert registry.device("phone").binding_expire_time == registry.now + MINUTE
    registry.register("phone", "ann")
    assert registry.device("phone").binding_expire_time == registry.now + 2 * MINUTE
    registry.register("phone", None)
    assert bound(registry.device("phone")) == NOBODY


def test_without_a_word_from_anybody_a_binding_does_not_end() -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", binding_ttl=MINUTE)
    registry.register("phone", "ann")
    assert registry.device("phone").binding_expire_time is None


def test_registering_again_in_time_prolongs_the_binding() -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", binding_ttl=MINUTE)
    first = registry.device("phone")
    registry.now += MINUTE - 2
    registry.register("phone", "ann", binding_ttl=MINUTE)
    again = registry.device("phone")
    assert (again.binding_epoch, again.bind_time) == (first.binding_epoch, first.bind_time)
    assert again.binding_expire_time == registry.now + MINUTE


@pytest.mark.promise("P3")
def test_registering_again_too_late_is_another_binding() -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", binding_ttl=MINUTE)
    first = registry.device("phone")
    registry.now += MINUTE - 1  # The registration itself is a microsecond later: at the very end.
    answer = registry.register("phone", "ann", binding_ttl=MINUTE)
    again = registry.device("phone")
    assert again.binding_epoch > first.binding_epoch
    assert again.bind_time == registry.now
    assert first in answer.departed


def test_a_device_is_anonymous_from_the_end_on_whatever_is_stored() -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", session_id="s", binding_ttl=MINUTE)
    device = registry.device("phone")
    end = registry.now + MINUTE
    assert device.as_of(end - 1) is device
    assert bound(device.as_of(end)) == NOBODY
    assert device.as_of(end).update_time == end
    forever = replace(device, binding_expire_time=None)
    assert forever.as_of(end) is forever


def test_the_end_is_written_down_as_it_was_seen_before() -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", session_id="s", binding_ttl=MINUTE)
    before = registry.device("phone")
    registry.now += MINUTE - 1
    assert registry.expire("phone").departed == ()
    registry.now += 1_000
    assert registry.expire("phone").departed == (before,)
    after = registry.device("phone")
    assert after.binding_epoch > before.binding_epoch
    assert after == replace(before.as_of(registry.now), binding_epoch=after.binding_epoch)
    assert registry.expire("phone").departed == ()


def test_the_app_goes_on_with_its_secret_after_the_end() -> None:
    registry = Registry()
    secret = registry.login("phone", "ann", "t")
    registry.register("phone", "ann", secret=secret, binding_ttl=MINUTE)
    registry.now += MINUTE
    registry.update("phone", authority=False, secret=secret, locale="en")
    assert bound(registry.device("phone")) == NOBODY
    assert not registry.register("phone", None, "u", authority=False, secret=secret).secret_issued
    assert registry.device("phone").target == token("u")
    assert registry.unregister("phone", authority=False, secret=secret) == 1


@pytest.mark.promise("P2")
@pytest.mark.parametrize("next_user", ["ann", "bob"])
def test_no_secret_of_an_ended_binding_survives_the_next_one(next_user: str) -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", binding_ttl=MINUTE)
    secret = registry.fresh
    registry.now += MINUTE
    assert registry.register("phone", next_user).secret_issued
    assert not registry.proves("phone", secret)
    registry.refuses(CredentialsInvalid, lambda: registry.update("phone", "evil", authority=False, secret=secret))


def test_ended_bindings_do_not_count_for_their_user() -> None:
    registry = Registry({"ann": DEVICES_OF_A_USER - 1})
    registry.register("phone", "ann", "t", binding_ttl=MINUTE)
    registry.refuses(QuotaExceeded, lambda: registry.register("tablet", "ann", "u"))
    registry.now += MINUTE
    registry.register("tablet", "ann", "u")
    with pytest.raises(QuotaExceeded):
        registry.register("phone", "ann")


def test_ended_bindings_are_nobodys_when_their_user_leaves() -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", binding_ttl=MINUTE)
    registry.register("tablet", "ann", "u")
    registry.now += MINUTE
    assert registry.unregister_user("ann") == 1
    assert bound(registry.device("phone")) == NOBODY
    assert registry.unregister("phone", expected_user_id="ann") == 0


# Sessions


@pytest.mark.promise("P3")
@pytest.mark.parametrize(("before", "after"), [("", "s"), ("s", ""), ("s", "t")])
def test_another_session_is_another_binding(before: str, after: str) -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", session_id=before)
    first = registry.device("phone")
    secret = registry.fresh
    answer = registry.register("phone", "ann", session_id=after)
    second = registry.device("phone")
    assert (second.session_id, second.bind_time) == (after, registry.now)
    assert second.binding_epoch > first.binding_epoch
    assert answer.departed == (first,)
    assert registry.proves("phone", secret)  # It is the same person's.


def test_the_same_session_again_keeps_the_binding() -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", session_id="s")
    first = registry.device("phone")
    assert registry.register("phone", "ann", "t", session_id="s").departed == ()
    second = registry.device("phone")
    assert (second.binding_epoch, second.bind_time) == (first.binding_epoch, first.bind_time)


def test_another_session_is_not_one_more_device() -> None:
    registry = Registry({"ann": DEVICES_OF_A_USER - 1})
    registry.register("phone", "ann", "t", session_id="s")
    registry.register("phone", "ann", session_id="t")


def test_a_session_is_ended_alone() -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", session_id="s")
    registry.register("tablet", "ann", "u", session_id="s2")
    registry.register("watch", "ann", "v")
    registry.register("other", "bob", "w", session_id="s")
    assert registry.unregister_user("ann", "s") == 1
    assert [registry.gone(each) for each in ("phone", "tablet", "watch", "other")] == [True, False, False, False]
    assert registry.unregister_user("ann") == 2
    assert not registry.gone("other")


# Logins and logouts that come too late


def test_a_login_that_was_under_way_when_all_logins_were_ended_binds_nobody() -> None:
    registry = Registry()
    received = registry.now
    registry.unregister_user("ann")
    registry.refuses(StaleBinding, lambda: registry.register("phone", "ann", "t", received=received))
    registry.refuses(StaleBinding, lambda: registry.register("phone", "ann", "t", received=received, session_id="s"))
    registry.register("other", "bob", "t", received=received)
    registry.register("free", None, "u", received=received)
    registry.register("phone", "ann", "v")
    assert registry.device("phone").user_id == "ann"


def test_a_login_that_was_under_way_when_its_session_was_ended_binds_nobody() -> None:
    registry = Registry()
    received = registry.now
    registry.unregister_user("ann", "s")
    registry.refuses(StaleBinding, lambda: registry.register("phone", "ann", "t", received=received, session_id="s"))
    registry.register("tablet", "ann", "t", received=received, session_id="s2")
    registry.register("watch", "ann", "u", received=received)


def test_a_takeover_that_comes_too_late_takes_nothing() -> None:
    registry = Registry()
    received = registry.now
    registry.login("phone", "bob", "t")
    registry.unregister_user("ann")
    registry.refuses(StaleBinding, lambda: registry.register("phone", "ann", received=received))
    registry.refuses(StaleBinding, lambda: registry.register("new", "ann", "t", received=received))


@pytest.mark.promise("P3")
def test_a_login_that_arrives_after_the_logout_that_followed_it_binds_nobody() -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", binding_generation=1)
    registry.unregister("phone", binding_generation=3)
    with pytest.raises(StaleBinding) as caught:
        registry.register("phone", "ann", "t", binding_generation=2)
    assert caught.value.metadata == {"device_id": "phone", "binding_generation": "3"}
    assert registry.gone("phone")


def test_a_logout_is_remembered_of_a_device_that_was_never_there() -> None:
    registry = Registry()
    assert registry.unregister("phone", binding_generation=2) == 0
    registry.refuses(StaleBinding, lambda: registry.register("phone", "ann", "t", binding_generation=1))
    registry.register("phone", "ann", "t", binding_generation=2)


def test_a_logout_that_arrives_after_the_login_that_followed_it_takes_nobody_out() -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", binding_generation=1)
    registry.register("phone", "bob", binding_generation=3)
    registry.refuses(StaleBinding, lambda: registry.unregister("phone", binding_generation=2))
    registry.refuses(StaleBinding, lambda: registry.register("phone", None, binding_generation=2))
    assert registry.device("phone").user_id == "bob"


def test_the_same_generation_again_is_a_repeat_and_none_is_no_protection() -> None:
    registry = Registry()
    for _ in range(2):
        registry.register("phone", "ann", "t", binding_generation=5)
    registry.register("phone", "bob")
    registry.refuses(StaleBinding, lambda: registry.register("phone", "ann", binding_generation=4))
    for _ in range(2):
        registry.unregister("phone", binding_generation=6)


def test_what_is_refused_for_another_reason_raises_no_generation() -> None:
    registry = Registry()
    secret = registry.login("phone", "ann", "t")
    with pytest.raises(CredentialsInvalid):
        registry.unregister("phone", authority=False, secret=secret + "x", binding_generation=9)
    registry.register("phone", "ann", binding_generation=1)


def test_generations_are_each_devices_own() -> None:
    registry = Registry()
    registry.register("phone", "ann", "t", binding_generation=9)
    registry.register("tablet", "ann", "u", binding_generation=1)


@pytest.mark.promise("P2")
def test_a_logout_takes_out_the_expected_user_and_nobody_else() -> None:
    registry = Registry()
    registry.login("phone", "ann", "t")
    registry.login("phone", "bob")
    assert registry.unregister("phone", expected_user_id="ann", binding_generation=4) == 0
    assert registry.device("phone").user_id == "bob"
    registry.refuses(StaleBinding, lambda: registry.register("phone", "ann", binding_generation=3))
    assert registry.unregister("phone", expected_user_id="bob") == 1
    assert registry.unregister("phone", expected_user_id="bob") == 0


def test_an_anonymous_device_is_no_expected_users() -> None:
    registry = Registry()
    registry.register("phone", None, "t")
    assert registry.unregister("phone", expected_user_id="ann") == 0
    assert not registry.gone("phone")


# Who departed


@pytest.mark.promise("P3")
def test_whoever_a_command_drives_out_is_told_as_they_were() -> None:
    registry = Registry()
    registry.login("old", "ann", "t")
    registry.login("phone", "ann", "u")
    old, phone = registry.device("old"), registry.device("phone")
    assert registry.register("phone", "bob", "t").departed == (old, phone)
    phone = registry.device("phone")
    assert registry.register("phone", "bob", facts=DeviceFacts()).departed == ()
    assert registry.update("phone", locale="en").departed == ()
    phone = registry.device("phone")
    assert registry.update("phone", "v").departed == (phone,)
    phone = registry.device("phone")
    assert registry.register("phone", None).departed == (phone,)
