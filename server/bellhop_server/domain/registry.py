"""The rules of the registry: who may bind, move and take out a device, and what that does to its token and its secrets.

**Whose a device is.** A device is bound to one user or to none, by one login (`session_id`, empty without a name). Only
authority (a client or app secret, or a bind grant for that user and device: `grant.py`) binds it to a user, and the
application's policy may leave out the client secret or the grant. `binding_epoch` is new exactly when the device is
created or its user or session changes, to or from none included, and never comes back; whatever else changes keeps it
and `bind_time`.

**When a binding ends by itself.** A registration says how long it lasts, else the application's policy does; each
registration counts anew. From its end on the device is anonymous to every rule and every reader (`Device.as_of`); the
next command that meets it writes that down. It stays, and so do its secrets: as on a device that has unbound itself
they open it until somebody is bound to it, so that the app can register it anonymously, update it or take it out.

**Who comes too late.** A command with a lower `binding_generation` than the device has ever shown is a late duplicate
of an older login or logout; the same one again is a repeat, and without one there is no such protection. Every command
that succeeds is noted: a logout also where there is no such device, since the login before it may be still to come. A
registration that had come in before all logins of its user, or of its session, were ended binds nobody.

**Whose a token is.** One verified device at most has a given target. When another one presents it,

- under authority, or with a live device secret of the one that has it, on creating a device or on registering anew one
  that is UNVERIFIED and nobody's, the token moves: the device that had it is taken out;
- otherwise it stays where it is, and the newcomer is UNVERIFIED, in no audience. A device secret proves its own device
  and nothing about another's token.

A target that is free, or that only UNVERIFIED devices name, is simply taken. A device that presents a target is ACTIVE
(or UNVERIFIED as above), whatever it was before; without one its state stays. What a provider has said of a target is
forgotten when the target changes; that it refused the key of it, whenever it is presented.

**How a token is proved.** Whoever receives on a target may say so. When a device presents a target and is UNVERIFIED
with it, a nonce is issued, to be pushed there, unless one was for that device and target less than a minute ago. The
device that shows its latest nonce within an hour, naming the target again or none, has presented it and proved it: the
token moves as under authority, and only then does the device that had it notice anything. A nonce proves the target of
the one device for which it was issued, for as long as that names it. It binds nobody, and replaces no credential: whose
the device is has to be shown as in any call. Any other nonce is refused, and what came with it; but a device that has
the target for its own need not prove it, and whatever nonce it shows changes nothing.

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

Nothing here does any I/O. Each function changes the picture, or raises and leaves it as it was but for bindings that
had ended.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from bellhop_server.domain import Micros
from bellhop_server.domain.application import AnonymousPolicy, Policy
from bellhop_server.domain.binding import (
    binding_of,
    check_binder,
    check_grant,
    check_late,
    end_bindings,
    note_generation,
    note_grant,
)
from bellhop_server.domain.device import Device, DeviceFacts, DeviceState, Target
from bellhop_server.domain.device_secrets import apply_secret_rule, check_own_secret, proves_holder, secret_rule
from bellhop_server.domain.errors import (
    CredentialsInvalid,
    CredentialsMissing,
    DeniedByPolicy,
    DeviceNotFound,
    InvalidRequest,
    TargetRequired,
    Violation,
)
from bellhop_server.domain.picture import Picture
from bellhop_server.domain.quota import ATTRIBUTES, check_devices_of_user, check_unverified_devices
from bellhop_server.domain.registration import (
    Expire,
    Register,
    RegistryAnswer,
    RegistryCommand,
    Unregister,
    UnregisterUser,
    Update,
)
from bellhop_server.domain.target_proof import next_nonce, proves_target


def carry_out(command: RegistryCommand, picture: Picture, new_epoch: Callable[[], int]) -> RegistryAnswer:
    """Carries one command out on the picture. `new_epoch` gives a number that was never given before.

    Raises CredentialsMissing, CredentialsInvalid, DeviceProofRequired, DeniedByPolicy, DeviceNotFound, TargetRequired,
    BindGrantExpired, QuotaExceeded, StaleBinding, InvalidRequest.
    """
    if command.app_id not in picture.policies:
        # Deleted since its secret was looked at, and all its secrets with it.
        raise CredentialsInvalid
    picture.departed = []
    end_bindings(picture, command.now, new_epoch)
    match command:
        case Register():
            return _register(command, picture, new_epoch)
        case Update():
            return _update(command, picture)
        case Unregister():
            return _unregister(command, picture)
        case UnregisterUser():
            return _unregister_user(command, picture)
        case Expire():
            return RegistryAnswer(departed=tuple(picture.departed))


class _Place(NamedTuple):
    """Where a device is found, and what is known of that: fields of Device."""

    target: Target
    state: DeviceState
    target_time: Micros
    target_accepted: bool
    refusals: int
    refused_since: Micros | None


def _register(command: Register, picture: Picture, new_epoch: Callable[[], int]) -> RegistryAnswer:
    policy = picture.policies[command.app_id]
    before = picture.device((command.app_id, command.device_id))
    check_grant(command, before, picture)
    _check_policy(command, policy)
    holder = _other_holder(command, command.target, picture)
    holder_proved = proves_holder(command, before, holder, picture)
    rule = secret_rule(command, before, picture, holder_proved=holder_proved)
    check_late(command, picture)
    proved = proves_target(command, before)
    target = _presented(command, before, proved=proved)
    holder = _other_holder(command, target, picture)
    evicted = holder if command.proof.authority or holder_proved or proved else None
    place = _place(command, target, before, free=evicted is holder)
    nonce = next_nonce(command, before, place.target, place.state)
    check_unverified_devices(command.app_id, place.state, before, picture)
    if before is None or before.user_id != command.user_id:
        check_devices_of_user(command, evicted, picture)

    binding = binding_of(command, before, policy, new_epoch)
    device = Device(
        app_id=command.app_id,
        device_id=command.device_id,
        user_id=binding.user_id,
        binding_epoch=binding.binding_epoch,
        facts=command.facts,
        register_time=command.now if before is None else before.register_time,
        bind_time=binding.bind_time,
        update_time=command.now,
        session_id=binding.session_id,
        binding_expire_time=binding.binding_expire_time,
        nonce_digest=nonce.digest,
        nonce_time=nonce.issue_time,
        sealed_binding_key=None if binding.user_id is None else command.sealed_binding_key,
        **place._asdict(),
    )
    if evicted is not None:
        picture.remove(evicted, command.now)
    picture.put(device)
    apply_secret_rule(rule, command, picture)
    note_generation(command, picture)
    note_grant(command, binding, picture)
    return RegistryAnswer(
        device=device,
        created=before is None,
        secret_issued=rule.issues,
        nonce_issued=nonce.issued,
        departed=tuple(picture.departed),
    )


def _update(command: Update, picture: Picture) -> RegistryAnswer:
    key = (command.app_id, command.device_id)
    before = picture.device(key)
    keyring = picture.keyring(key)
    check_own_secret(command.proof, keyring.live(command.proof.device_secret))
    if before is None:
        raise DeviceNotFound(command.device_id)
    facts = _changed_facts(before.facts, command)
    proved = proves_target(command, before)
    target = _presented(command, before, proved=proved)
    holder = _other_holder(command, target, picture)
    evicted = holder if command.proof.authority or proved else None
    place = _place(command, target, before, free=evicted is holder)
    nonce = next_nonce(command, before, place.target, place.state)
    check_unverified_devices(command.app_id, place.state, before, picture)

    device = replace(before, facts=facts, nonce_digest=nonce.digest, nonce_time=nonce.issue_time, **place._asdict())
    if device != before:
        device = replace(device, update_time=command.now)
        if evicted is not None:
            picture.remove(evicted, command.now)
        picture.put(device)
    if command.proof.device_secret is not None:
        keyring.use(command.proof.device_secret, command.now)
    return RegistryAnswer(device=device, nonce_issued=nonce.issued, departed=tuple(picture.departed))


def _unregister(command: Unregister, picture: Picture) -> RegistryAnswer:
    key = (command.app_id, command.device_id)
    device = picture.device(key)
    keyring = picture.keyring(key)
    presented = command.proof.device_secret
    known = keyring.says_farewell(presented, command.now) if device is None else keyring.live(presented)
    check_own_secret(command.proof, known)
    check_late(command, picture)
    expected = command.expected_user_id
    leaves = device is not None and (expected is None or device.user_id == expected)
    if device is not None and leaves:
        picture.remove(device, command.now)
    note_generation(command, picture)
    return RegistryAnswer(removed=int(leaves), departed=tuple(picture.departed))


def _unregister_user(command: UnregisterUser, picture: Picture) -> RegistryAnswer:
    picture.revoke((command.app_id, command.user_id, command.session_id), command.now)
    devices = picture.devices_of((command.app_id, command.user_id))
    leaving = [device for device in devices if command.session_id in ("", device.session_id)]
    for device in leaving:
        picture.remove(device, command.now)
    return RegistryAnswer(removed=len(leaving), departed=tuple(picture.departed))


def _check_policy(command: Register, policy: Policy) -> None:
    anonymous = policy.anonymous_policy
    if command.user_id is not None:
        if not command.proof.authority:
            raise CredentialsMissing(("client-secret", "app-secret", "bind-grant"))
        check_binder(command, policy.binding_policy)
    elif anonymous is AnonymousPolicy.OFF or (anonymous is AnonymousPolicy.SECRET and not command.proof.authority):
        raise DeniedByPolicy("anonymous_policy")


def _presented(command: Register | Update, before: Device | None, *, proved: bool) -> Target | None:
    """The target that the command presents. A proof of the one that is there presents it."""
    return before.target if proved and before is not None and command.target is None else command.target


def _other_holder(command: Register | Update, target: Target | None, picture: Picture) -> Device | None:
    """The verified device, another one than the command's, that has the target."""
    if target is None:
        return None
    holder = picture.holder((command.app_id, target.digest))
    return None if holder is None or holder.device_id == command.device_id else holder


def _place(command: Register | Update, target: Target | None, before: Device | None, *, free: bool) -> _Place:
    """Where the device is found from now on. `free`: no other device has the target, or it gives way.

    Raises TargetRequired.
    """
    if target is None:
        if before is None:
            raise TargetRequired(command.device_id)
        return _Place(
            before.target,
            before.state,
            before.target_time,
            before.target_accepted,
            before.refusals,
            before.refused_since,
        )
    state = DeviceState.ACTIVE if free else DeviceState.UNVERIFIED
    accepted = before is not None and before.target_accepted and before.target == target
    return _Place(target, state, command.now, accepted, 0, None)


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
