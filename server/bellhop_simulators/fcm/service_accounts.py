"""The service accounts that a simulated Google knows: made here, keys rotated, rights taken away, revoked."""

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from bellhop_simulators.authority import private_key_pem

_KEY_SIZE = 2048
_KEY_ID_SIZE = 20


def new_key() -> rsa.RSAPrivateKey:
    """Make a key."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=_KEY_SIZE)


@cache
def first_key() -> rsa.RSAPrivateKey:
    """The same in all of the process: to make one takes longer than most tests with a simulator do."""
    return new_key()


@dataclass(eq=False)
class ServiceAccount:
    """One account. Change `permitted` and `projects` while the simulator runs, as a project's owner would."""

    project_id: str
    sender_id: str
    """Number of the project."""
    client_email: str
    token_url: Callable[[], str]
    private_key: rsa.RSAPrivateKey
    private_key_id: str = field(default_factory=lambda: secrets.token_hex(_KEY_ID_SIZE))
    projects: set[str] = field(init=False)
    """Ids of the projects that it may send for."""
    permitted: bool = True
    """Whether it has the permission `cloudmessaging.messages.create`."""
    revoked: bool = False

    def __post_init__(self) -> None:
        self.projects = {self.project_id}

    def rotate(self) -> None:
        """Replace the key: assertions signed with the old one are refused from now on, access tokens stay good."""
        self.private_key = new_key()
        self.private_key_id = secrets.token_hex(_KEY_ID_SIZE)

    def revoke(self) -> None:
        """The account is gone: no more access tokens, and those that it got are refused."""
        self.revoked = True

    @property
    def service_account_json(self) -> str:
        """Text of the JSON file as the Firebase console gives it; the simulator has to listen."""
        return json.dumps(
            {
                "type": "service_account",
                "project_id": self.project_id,
                "private_key_id": self.private_key_id,
                "private_key": private_key_pem(self.private_key),
                "client_email": self.client_email,
                "client_id": str(int(self.sender_id) * 7),
                "auth_uri": "https://accounts.google.com/o/oauth2/auth",
                "token_uri": self.token_url(),
                "universe_domain": "googleapis.com",
            },
            indent=2,
        )

    def credential(self, credential_id: str = "fcm") -> dict[str, Any]:
        """The body of Bellhop's `SetCredential` for this account, in the JSON form of protobuf, but for `app_id`."""
        fcm = {"serviceAccountJson": self.service_account_json, "senderId": self.sender_id}
        return {"credentialId": credential_id, "fcm": fcm}


class ServiceAccounts:
    """The accounts of all projects; a project is known as long as it has one."""

    def __init__(self, token_url: Callable[[], str]) -> None:
        self._token_url = token_url
        self._accounts: dict[str, ServiceAccount] = {}

    def add(
        self,
        project_id: str,
        *,
        sender_id: str | None = None,
        projects: Iterable[str] = (),
        private_key: rsa.RSAPrivateKey | None = None,
    ) -> ServiceAccount:
        """Make an account of a project that may send for `projects` as well; number and key are made if not given.

        Raises:
            ValueError: `sender_id` is not a number.
        """
        if sender_id is not None and not sender_id.isdecimal():
            raise ValueError("a sender id is a number")
        known = next((one.sender_id for one in self._accounts.values() if one.project_id == project_id), None)
        number = sender_id or known or str(secrets.randbelow(9 * 10**11) + 10**11)
        email = f"firebase-adminsdk-{secrets.token_hex(3)}@{project_id}.iam.gserviceaccount.com"
        account = ServiceAccount(project_id, number, email, self._token_url, private_key or new_key())
        account.projects |= set(projects)
        self._accounts[email] = account
        return account

    def get(self, client_email: str) -> ServiceAccount | None:
        """The account, revoked or not."""
        return self._accounts.get(client_email)

    def project(self, name: str) -> str | None:
        """The id of the project with this id or number; None if there is none."""
        for account in self._accounts.values():
            if name in (account.project_id, account.sender_id):
                return account.project_id
        return None
