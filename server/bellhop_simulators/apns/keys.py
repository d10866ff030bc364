"""The `.p8` keys that a simulated APNs knows: made here, topics and environments given to them, revoked."""

import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from bellhop_simulators.authority import private_key_pem
from bellhop_simulators.clock import Clock

ENVIRONMENTS = ("production", "sandbox")

_ALPHABET = string.ascii_uppercase + string.digits


@dataclass(eq=False)
class ApnsKey:
    """One key. Change `topics`, `environments` and `revoked` while the simulator runs, as an account's owner would."""

    key_id: str
    team_id: str
    private_key: ec.EllipticCurvePrivateKey
    topics: list[str]
    environments: set[str]
    related_to: str | None
    clock: Clock
    revoked: bool = False

    @property
    def p8(self) -> str:
        """Text of the `.p8` file."""
        return private_key_pem(self.private_key)

    def provider_token(self, *, age: float = 0.0, **claims: object) -> str:
        """A JWT signed with this key `age` seconds ago by the simulator's clock.

        `claims` replace those it would have; None leaves one out.
        """
        issued = {"iss": self.team_id, "iat": int(self.clock.now() - age), **claims}
        present = {name: value for name, value in issued.items() if value is not None}
        return jwt.encode(present, self.private_key, algorithm="ES256", headers={"kid": self.key_id})

    def credential(self, credential_id: str = "apns") -> dict[str, Any]:
        """The body of Bellhop's `SetCredential` for this key, in the JSON form of protobuf, but for `app_id`."""
        key = {"keyId": self.key_id, "teamId": self.team_id, "p8": self.p8}
        body: dict[str, Any] = {"key": key, "topics": list(self.topics)}
        if self.environments != set(ENVIRONMENTS):
            body["environments"] = [f"APNS_ENVIRONMENT_{name.upper()}" for name in sorted(self.environments)]
        return {"credentialId": credential_id, "apns": body}


class ApnsKeys:
    """The keys of all teams."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, ApnsKey] = {}

    def add(
        self,
        topics: Iterable[str],
        *,
        team_id: str | None = None,
        environments: Iterable[str] = ENVIRONMENTS,
        related_to: str | None = None,
    ) -> ApnsKey:
        """Make a key for bundle ids `topics`; default: of a team of its own.

        `related_to` is the id of a key that may use the same connection; others of the same team may not.
        """
        key_id = _identifier()
        private_key = ec.generate_private_key(ec.SECP256R1())
        team_id = team_id or _identifier()
        key = ApnsKey(key_id, team_id, private_key, list(topics), set(environments), related_to, self._clock)
        self._keys[key_id] = key
        return key

    def get(self, key_id: str) -> ApnsKey | None:
        """The key, revoked or not."""
        return self._keys.get(key_id)


def _identifier() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(10))
