"""What the device secret that comes with a call is worth, and what becomes of the device's secrets.

The rules are told at the top of `registry.py`.
"""

from enum import Enum, auto

from bellhop_server.domain.device import Device, DeviceState
from bellhop_server.domain.errors import CredentialsInvalid, CredentialsMissing, DeviceProofRequired
from bellhop_server.domain.picture import Picture
from bellhop_server.domain.registration import Proof, Register


class SecretRule(Enum):
    """What a registration does to the device's secrets.

    A fresh one replaces all there are on a change of user (REPLACE), or works beside one until it is first used (ADD).
    The presented one becomes the only one (ADOPT), or stays what it is (KEEP).
    """

    REPLACE = auto()
    ADD = auto()
    ADOPT = auto()
    KEEP = auto()

    @property
    def issues(self) -> bool:
        """Whether the fresh one is handed out."""
        return self in (SecretRule.REPLACE, SecretRule.ADD)


def check_own_secret(proof: Proof, valid: bool) -> None:
    """Of a call that takes authority or the device's secret, and no invalid one beside authority either.

    Raises CredentialsMissing, CredentialsInvalid.
    """
    if proof.device_secret is None:
        if not proof.authority:
            raise CredentialsMissing(("client-secret", "app-secret", "device-secret"))
    elif not valid:
        raise CredentialsInvalid


def proves_holder(command: Register, before: Device | None, holder: Device | None, picture: Picture) -> bool:
    """Whether a live secret of the device that has the token came, and may speak for this one.

    It may for one that is new, or nobody's and waits.
    """
    if holder is None:
        return False
    waits = before is None or (
        before.state is DeviceState.UNVERIFIED and before.user_id is None and command.user_id is None
    )
    return waits and picture.keyring((holder.app_id, holder.device_id)).live(command.proof.device_secret)


def secret_rule(command: Register, before: Device | None, picture: Picture, *, holder_proved: bool) -> SecretRule:
    """What becomes of the device's secrets.

    Raises DeviceProofRequired, CredentialsInvalid when the registration is not proved.
    """
    proof = command.proof
    presented = proof.device_secret
    keyring = picture.keyring((command.app_id, command.device_id))
    same_user = before is not None and before.user_id == command.user_id
    if presented is None:
        if before is not None and not proof.authority:
            raise DeviceProofRequired(command.device_id)
        return SecretRule.ADD if same_user else SecretRule.REPLACE
    if before is not None and (same_user or not proof.authority):
        if keyring.live(presented):
            return SecretRule.KEEP if same_user else SecretRule.ADD
        if not holder_proved:
            raise CredentialsInvalid
    elif presented in keyring:
        return SecretRule.REPLACE
    if not holder_proved and not proof.device_secret_ownable:
        raise CredentialsInvalid
    return SecretRule.ADOPT


def apply_secret_rule(rule: SecretRule, command: Register, picture: Picture) -> None:
    """Does it."""
    keyring = picture.keyring((command.app_id, command.device_id))
    presented = command.proof.device_secret
    match rule:
        case SecretRule.REPLACE:
            keyring.start_over(command.fresh_secret, command.now)
        case SecretRule.ADD:
            keyring.issue(command.fresh_secret, presented, command.now)
        case SecretRule.ADOPT if presented is not None:
            keyring.start_over(presented, command.now)
        case SecretRule.KEEP if presented is not None:
            keyring.use(presented, command.now)
