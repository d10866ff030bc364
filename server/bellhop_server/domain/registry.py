"""The rules of the registry: who may bind, move and take out a device, and what that does to its token and its secrets.

**Whose a device is.** A device is bound to one user or to none. Only authority (a client or app secret) binds it to a
user. `binding_epoch` is new exactly when the device is created or its user changes, to or from none included, and never
comes back; whatever else changes keeps it and `bind_time`.

**Whose a token is.** One verified device at most has a given target. When another one presents it,

- under authority, or with a live device secret of the one that has it, on creating a device or on registering anew one
  that is UNVERIFIED and nobody's, the token moves: the device that had it is taken out;
- otherwise it stays where it is, and the newcomer is UNVERIFIED, in no audience. A device secret proves its own device
  and nothing about another's token.

A target that is free, or that only UNVERIFIED devices name, is simply taken. A device that presents a target is ACTIVE
(or UNVERIFIED as above), whatever it was before; without one its state stays. What a provider has said of a target is
forgotten when the target changes.

**Who may ask.** A known device answers to authority or to its device secret, a new one to anybody, within the policy
for anonymous devices. A device secret that comes must be valid in every call; the one exception is a registration that
creates the device or changes its user: there any text that is long enough becomes the device's secret, unless it is or
ever was one of that device's. (Somebody with an old backup of the phone would know it, and could redirect the next
person's notifications.) In that case, and whenever none came, a fresh secret is issued.

**How long a device secret lives.** Authority issues a fresh one with every registration, unless the caller brought the
one that the device has or shall have. For the same user the one before works until the fresh one is first used, so that
a lost answer locks nobody out. A change of user, and the end of the device, retire all of them; only the one with which
a device unbinds itself works on until the fresh one that it gets is first used, or somebody is bound to it. A retired
secret proves nothing. One that went with its device still gets UnregisterDevice, for 90 days and while there is no such
device, the answer that there is nothing to do.

**Limits**, checked where one more would be made: devices of a user, UNVERIFIED devices of an application, attributes of
a device.

Nothing here does any I/O. Each function changes the picture, or raises and leaves it as it was.
"""

from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from typing import NamedTuple

from bellhop_server.domain import Micros
from bellhop_server.domain.application import AnonymousPolicy
from bellhop_server.domain.device import Device, DeviceFacts, DeviceState, Target
from bellhop_server.domain.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    DeniedByPolicy,
    DeviceNotFound,
    DeviceProofRequired,
    InvalidRequest,
    TargetRequired,
    Violation,
)
from bellhop_server.domain.picture import Picture
from bellhop_server.domain.quota import ATTRIBUTES, check_devices_of_user, check_unverified_devices
from bellhop_server.domain.registration import (
    Proof,
    Register,
    RegistryAnswer,
    RegistryCommand,
    Unregister,
    UnregisterUser,
    Update,
)


def carry_out(command: RegistryCommand, picture: Picture, new_epoch: Callable[[], int]) -> RegistryAnswer:
    """Carries one command out on the picture. `new_epoch` gives a number that was never given before.

    Raises CredentialsMissing, CredentialsInvalid, DeviceProofRequired, DeniedByPolicy, DeviceNotFound, TargetRequired,
    QuotaExceeded, InvalidRequest.
    """
    if command.app_id not in picture.policies:
        # Deleted since its secret was looked at, and all its secrets with it.
        raise CredentialsInvalid
    match command:
        case Register():
            return _register(command, picture, new_epoch)
        case Update():
            return _update(command, picture)
        case Unregister():
            return _unregister(command, picture)
        case UnregisterUser():
            return _unregister_user(command, picture)


class _SecretRule(Enum):
    """What a registration does to the device's secrets.

    A fresh one replaces all there are on a change of user (REPLACE), or works beside one until it is first used (ADD).
    The presented one becomes the only one (ADOPT), or stays what it is (KEEP).
    """

    REPLACE = auto()
    ADD = auto()
    ADOPT = auto()
    KEEP = auto()


class _Place(NamedTuple):
    """Where a device is found, and what is known of that: fields of Device."""

    target: Target
    state: DeviceState
    target_time: Micros
    target_accepted: bool


def _register(command: Register, picture: Picture, new_epoch: Callable[[], int]) -> RegistryAnswer:
    _check_policy(command, picture.policies[command.app_id])
    before = picture.device((command.app_id, command.device_id))
    holder = _other_holder(command, picture)
    proves_holder = (
        holder is not None
        and _may_prove_holder(command, before)
        and picture.keyring((holder.app_id, holder.device_id)).live(command.proof.device_secret)
    )
    rule = _secret_rule(command, before, picture, proves_holder)
    evicted = holder if command.proof.authority or proves_holder else None
    place = _place(command, before, free=evicted is holder)
    check_unverified_devices(command.app_id, place.state, before, picture)

    if before is None or before.user_id != command.user_id:
        check_devices_of_user(command, evicted, picture)
        bind_time = None if command.user_id is None else command.now
        epoch = new_epoch()
    else:
        bind_time, epoch = before.bind_time, before.binding_epoch
    device = Device(
        app_id=command.app_id,
        device_id=command.device_id,
        user_id=command.user_id,
        binding_epoch=epoch,
        facts=command.facts,
        register_time=command.now if before is None else before.register_time,
        bind_time=bind_time,
        update_time=command.now,
        **place._asdict(),
    )
    if evicted is not None:
        picture.remove(evicted, command.now)
    picture.put(device)
    _apply_secret_rule(rule, command, picture)
    issued = rule in (_SecretRule.REPLACE, _SecretRule.ADD)
    return RegistryAnswer(device=device, created=before is None, secret_issued=issued)


def _update(command: Update, picture: Picture) -> RegistryAnswer:
    key = (command.app_id, command.device_id)
    before = picture.device(key)
    keyring = picture.keyring(key)
    _check_own_secret(command.proof, keyring.live(command.proof.device_secret))
    if before is None:
        raise DeviceNotFound(command.device_id)
    facts = _changed_facts(before.facts, command)
    holder = _other_holder(command, picture)
    evicted = holder if command.proof.authority else None
    place = _place(command, before, free=evicted is holder)
    check_unverified_devices(command.app_id, place.state, before, picture)

    device = replace(before, facts=facts, **place._asdict())
    if device != before:
        device = replace(device, update_time=command.now)
        if evicted is not None:
            picture.remove(evicted, command.now)
        picture.put(device)
    if command.proof.device_secret is not None:
        keyring.use(command.proof.device_secret, command.now)
    return RegistryAnswer(device=device)


def _unregister(command: Unregister, picture: Picture) -> RegistryAnswer:
    key = (command.app_id, command.device_id)
    device = picture.device(key)
    keyring = picture.keyring(key)
    presented = command.proof.device_secret
    if device is None:
        _check_own_secret(command.proof, keyring.says_farewell(presented, command.now))
        return RegistryAnswer(removed=0)
    _check_own_secret(command.proof, keyring.live(presented))
    picture.remove(device, command.now)
    return RegistryAnswer(removed=1)


def _unregister_user(command: UnregisterUser, picture: Picture) -> RegistryAnswer:
    devices = picture.devices_of((command.app_id, command.user_id))
    for device in devices:
        picture.remove(device, command.now)
    return RegistryAnswer(removed=len(devices))


def _check_policy(command: Register, policy: AnonymousPolicy) -> None:
    if command.user_id is not None:
        if not command.proof.authority:
            raise CredentialsMissing(("client-secret", "app-secret"))
    elif policy is AnonymousPolicy.OFF or (policy is AnonymousPolicy.SECRET and not command.proof.authority):
        raise DeniedByPolicy("anonymous_policy")


def _check_own_secret(proof: Proof, valid: bool) -> None:
    """Of a call that takes authority or the device's secret, and no invalid one beside authority either."""
    if proof.device_secret is None:
        if not proof.authority:
            raise CredentialsMissing(("client-secret", "app-secret", "device-secret"))
    elif not valid:
        raise CredentialsInvalid


def _may_prove_holder(command: Register, before: Device | None) -> bool:
    """Whether the secret of the device that has the token may speak for this one: it is new, or nobody's and waits."""
    if before is None:
        return True
    return before.state is DeviceState.UNVERIFIED and before.user_id is None and command.user_id is None


def _secret_rule(command: Register, before: Device | None, picture: Picture, proves_holder: bool) -> _SecretRule:
    """Whether the registration is proved, and what becomes of the device's secrets."""
    proof = command.proof
    presented = proof.device_secret
    keyring = picture.keyring((command.app_id, command.device_id))
    same_user = before is not None and before.user_id == command.user_id
    if presented is None:
        if before is not None and not proof.authority:
            raise DeviceProofRequired(command.device_id)
        return _SecretRule.ADD if same_user else _SecretRule.REPLACE
    if before is not None and (same_user or not proof.authority):
        if keyring.live(presented):
            return _SecretRule.KEEP if same_user else _SecretRule.ADD
        if not proves_holder:
            raise CredentialsInvalid
    elif presented in keyring:
        return _SecretRule.REPLACE
    if not proves_holder and not proof.device_secret_ownable:
        raise CredentialsInvalid
    return _SecretRule.ADOPT


def _apply_secret_rule(rule: _SecretRule, command: Register, picture: Picture) -> None:
    keyring = picture.keyring((command.app_id, command.device_id))
    presented = command.proof.device_secret
    match rule:
        case _SecretRule.REPLACE:
            keyring.start_over(command.fresh_secret, command.now)
        case _SecretRule.ADD:
            keyring.issue(command.fresh_secret, presented, command.now)
        case _SecretRule.ADOPT if presented is not None:
            keyring.start_over(presented, command.now)
        case _SecretRule.KEEP if presented is not None:
            keyring.use(presented, command.now)


def _other_holder(command: Register | Update, picture: Picture) -> Device | None:
    """The verified device, another one than the command's, that has the target."""
    if command.target is None:
        return None
    holder = picture.holder((command.app_id, command.target.digest))
    return None if holder is None or holder.device_id == command.device_id else holder


def _place(command: Register | Update, before: Device | None, *, free: bool) -> _Place:
    """Where the device is found from now on. `free`: no other device has the target, or it gives way.

    Raises TargetRequired.
    """
    target = command.target
    if target is None:
        if before is None:
            raise TargetRequired(command.device_id)
        return _Place(before.target, before.state, before.target_time, before.target_accepted)
    state = DeviceState.ACTIVE if free else DeviceState.UNVERIFIED
    accepted = before is not None and before.target_accepted and before.target == target
    return _Place(target, state, command.now, accepted)


def _changed_facts(facts: DeviceFacts, command: Update) -> DeviceFacts:
    """Raises InvalidRequest when there would be too many attributes."""
    attributes = {key: value for key, value in facts.attributes.items() if key not in command.remove_attributes}
    attributes.update(command.set_attributes)
    if len(attributes) > ATTRIBUTES:
        text = f"the device would have {len(attributes)} attributes, {ATTRIBUTES} are allowed"
        raise InvalidRequest([Violation("set_attributes", text)])
    return DeviceFacts(
        locale=facts.locale if command.locale is None else command.locale,
        time_zone=facts.time_zone if command.time_zone is None else command.time_zone,
        app_version=facts.app_version if command.app_version is None else command.app_version,
        attributes=attributes,
    )
