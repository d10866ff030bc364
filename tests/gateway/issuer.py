"""An OpenID provider of ours: it signs whatever a test wants, and turns its keys when it is told to."""

import time
from typing import Any
from uuid import uuid4

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER = "https://login.example"
AUDIENCE = "shop-app"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class TestIssuer:
    """Answers for discovery and keys through `transport`; `asked` counts how often for each path."""

    __test__ = False

    def __init__(self, issuer: str = ISSUER) -> None:
        self.issuer = issuer
        self.keys: dict[str, Any] = {}
        self.published: list[dict[str, Any]] = []
        self.asked: dict[str, int] = {}
        self.away = False
        self.changes: dict[str, Any] = {}
        self.add("k1")

    def add(self, kid: str, algorithm: str = "RS256", *, publish: bool = True, named: bool = True) -> None:
        """Makes a key."""
        key: Any = {
            "R": lambda: rsa.generate_private_key(65537, 2048),
            "P": lambda: rsa.generate_private_key(65537, 2048),
            "E": lambda: ec.generate_private_key(ec.SECP256R1()),
            "D": ed25519.Ed25519PrivateKey.generate,
        }["D" if algorithm == "EdDSA" else algorithm[0]]()
        self.keys[kid] = (algorithm, key)
        if publish:
            public = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
            self.published.append({**public, "use": "sig", "alg": algorithm, **({"kid": kid} if named else {})})

    def transport(self) -> httpx.MockTransport:
        """What a client asks it by."""

        def answer(request: httpx.Request) -> httpx.Response:
            path = request.url.path
            self.asked[path] = self.asked.get(path, 0) + 1
            if self.away:
                raise httpx.ConnectError("away")
            if path == "/.well-known/openid-configuration":
                told = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys", **self.changes}
                return httpx.Response(200, json=told)
            return httpx.Response(200, json={"keys": self.published})

        return httpx.MockTransport(answer)

    def token(
        self, kid: str | None = "k1", *, key: str = "", header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """A token; a claim that is None is left out, and so is the `kid`."""
        now = int(time.time())
        algorithm, private = self.keys[key or kid or "k1"]
        told = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300, **claims}
        headers = {**({} if kid is None else {"kid": kid}), **(header or {})}
        return jwt.encode({k: v for k, v in told.items() if v is not None}, private, algorithm, headers)

    def logout_token(self, **claims: Any) -> str:
        """A logout token for ann."""
        told = {"jti": uuid4().hex, "exp": None, "events": {LOGOUT_EVENT: {}}, **claims}
        return self.token(header={"typ": "logout+jwt"}, **told)

    def public_pem(self, kid: str = "k1") -> bytes:
        """What an attacker can read."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        pem: bytes = self.keys[kid][1].public_key().public_bytes(serialization.Encoding.PEM, form)
        return pem
