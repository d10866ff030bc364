"""P1 and P2: the rules of the registry, each with its refused twin."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bellhop_server.domain import DAY, Micros
from bellhop_server.domain.application import AnonymousPolicy, digest_of
from bellhop_server.domain.device import Device, DeviceFacts, DeviceState, Platform, Target
from bellhop_server.domain.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    DeniedByPolicy,
    DeviceNotFound,
    DeviceProofRequired,
    InvalidRequest,
    QuotaExceeded,
    TargetRequired,
)
from bellhop_server.domain.picture import Picture
from bellhop_server.domain.registration import (
    Proof,
    Register,
    RegistryAnswer,
    RegistryCommand,
    Unregister,
    UnregisterUser,
    Update,
)
from bellhop_server.domain.registry import ATTRIBUTES, DEVICES_OF_A_USER, UNVERIFIED_DEVICES, carry_out

OWN = "a secret that the device made for itself"
SHORT = "too short to own"
FACTS = DeviceFacts("de-AT", "Europe/Vienna", "1.0", {"tier": "gold"})
OPEN, SECRET, OFF = AnonymousPolicy


def token(name: str) -> Target:
    return Target(Platform.APNS, name.encode().hex())


class Registry:
    """A picture that the test speaks to; each registration is offered a fresh secret of its own."""

    def __init__(
        self, users: dict[str, int] | None = None, unverified: int = 0, policy: AnonymousPolicy = OPEN
    ) -> None:
        counts = dict.fromkeys([("app", user) for user in ("ann", "bob")], 0)
        counts.update({("app", user): count for user, count in (users or {}).items()})
        self.picture = Picture([], {}, {"app": policy}, counts, lambda app_id: unverified)
        self.now: Micros = 1_000
        self._epochs = itertools.count(1)
        self._fresh = itertools.count(1)
        self.fresh = ""

    def do(self, command: RegistryCommand) -> RegistryAnswer:
        return carry_out(command, self.picture, lambda: next(self._epochs))

    def register(
        self,
        device: str,
        user: str | None = None,
        at: str | None = None,
        *,
        authority: bool = True,
        secret: str | None = None,
        facts: DeviceFacts = FACTS,
    ) -> RegistryAnswer:
        self.now += 1
        self.fresh = f"bhd_fresh_secret_number_{next(self._fresh):010}"
        return self.do(
            Register(
                "app",
                device,
                user,
                None if at is None else token(at),
                facts,
                proof(authority, secret),
                digest_of(self.fresh),
                self.now,
            )
        )

    def login(self, device: str, user: str, at: str | None = None, secret: str | None = None) -> str:
        """Registers under authority; returns the fresh secret, which must have been issued."""
        assert self.register(device, user, at, secret=secret).secret_issued
        return self.fresh

    def update(
        self, device: str, at: str | None = None, *, authority: bool = True, secret: str | None = None, **changes: Any
    ) -> RegistryAnswer:
        self.now += 1
        fields: dict[str, Any] = {
            "locale": None,
            "time_zone": None,
            "app_version": None,
            "set_attributes": {},
            "remove_attributes": (),
        }
        target = None if at is None else token(at)
        return self.do(
            Update("app", device, target, **(fields | changes), proof=proof(authority, secret), now=self.now)
        )

    def unregister(self, device: str, *, authority: bool = True, secret: str | None = None) -> int:
        self.now += 1
        return self.do(Unregister("app", device, proof(authority, secret), self.now)).removed

    def unregister_user(self, user: str) -> int:
        self.now += 1
        return self.do(UnregisterUser("app", user, self.now)).removed

    def device(self, device: str) -> Device:
        found = self.picture.device(("app", device))
        assert found is not None
        return found

    def gone(self, device: str) -> bool:
        return self.picture.device(("app", device)) is None

    def holder(self, at: str) -> str | None:
        found = self.picture.holder(("app", token(at).digest))
        return found.device_id if found else None

    def proves(self, device: str, secret: str) -> bool:
        """Whether the secret opens the device, asked without using it."""
        return self.picture.keyring(("app", device)).live(digest_of(secret))

    def refuses(self, error: type[Exception], call: Callable[[], object]) -> None:
        """The call is refused, and nothing whatever has changed."""
        before = self.state()
        with pytest.raises(error):
            call()
        assert self.state() == before

    def state(self) -> object:
        picture = self.picture
        devices = {key: picture.device(key) for key in picture.touched}
        rings = {key: dict(ring.changed) for key, ring in picture.keyrings.items() if ring.changed}
        return devices, rings, picture.user_count(("app", "ann")), picture.unverified_count("app")


def proof(authority: bool, secret: str | None) -> Proof:
    if secret is None:
        return Proof(authority)
    return Proof(authority, digest_of(secret), len(secret) >= 32)


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


def test_a_device_unbinds_itself_with_its_secret_and_keeps_it() -> None:
    registry = Registry()
    older = registry.login("phone", "ann", "t")
    secret = registry.login("phone", "ann")
    before = registry.device("phone")
    answer = registry.register("phone", None, authority=False, secret=secret, facts=DeviceFacts())
    assert not answer.secret_issued
    after = registry.device("phone")
    assert (after.user_id, after.bind_time, after.facts) == (None, None, DeviceFacts())
    assert after.binding_epoch != before.binding_epoch
    assert registry.proves("phone", secret)
    assert not registry.proves("phone", older)


def test_authority_unbinds_and_retires_every_secret() -> None:
    registry = Registry()
    secret = registry.login("phone", "ann", "t")
    assert registry.register("phone", None).secret_issued
    assert registry.device("phone").user_id is None
    assert not registry.proves("phone", secret)
    assert registry.proves("phone", registry.fresh)


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


def test_answers_that_were_lost_do_not_lock_out_a_device_that_shows_its_secret() -> None:
    registry = Registry()
    secret = registry.login("phone", "ann", "t")
    for _ in range(3):
        registry.login("phone", "ann", secret=secret)
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
