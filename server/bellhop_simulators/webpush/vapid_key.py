"""The VAPID key pair of one application: made here, ready to sign and to hand to Bellhop."""

from typing import Any
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from bellhop_simulators.authority import private_key_pem
from bellhop_simulators.clock import Clock
from bellhop_simulators.webpush import base64url
from bellhop_simulators.webpush.decryption import public_bytes

_LIFETIME = 43_200.0


class VapidKey:
    """A P-256 key pair and whom to write to."""

    def __init__(self, clock: Clock, subject: str = "mailto:push@example.com") -> None:
        """Make the keys. `subject` is a `mailto:` or `https:` URL."""
        self.private_key = ec.generate_private_key(ec.SECP256R1())
        self.subject = subject
        self._clock = clock

    @property
    def public_key(self) -> str:
        """The `applicationServerKey` of browsers, base64url."""
        return base64url.encode(public_bytes(self.private_key.public_key()))

    @property
    def pem(self) -> str:
        """The private key: PKCS #8, PEM."""
        return private_key_pem(self.private_key)

    def authorization(self, endpoint: str, **claims: object) -> str:
        """The value of `Authorization` for a push to `endpoint`, good for 12 hours by the simulator's clock.

        `claims` replace those it would have; None leaves one out.
        """
        address = urlsplit(endpoint)
        usual = {
            "aud": f"{address.scheme}://{address.netloc}",
            "exp": int(self._clock.now() + _LIFETIME),
            "sub": self.subject,
        }
        present = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        token = jwt.encode(present, self.private_key, algorithm="ES256")
        return f"vapid t={token}, k={self.public_key}"

    def credential(self, credential_id: str = "web-push") -> dict[str, Any]:
        """The body of Bellhop's `SetCredential` for this key, in the JSON form of protobuf, but for `app_id`."""
        return {"credentialId": credential_id, "webPush": {"vapidPrivateKey": self.pem, "subject": self.subject}}
