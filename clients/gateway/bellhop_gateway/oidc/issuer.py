"""The OpenID provider: what it says of itself, and the keys that it signs with (OpenID Connect Discovery 1.0)."""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any

import httpx
import jwt

DISCOVERY = "/.well-known/openid-configuration"
# Asymmetric ones alone: whoever can verify a MAC can make one (RFC 8725 section 2.1).
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"},
)
_KTY = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

FRESH = 3600.0
"""Seconds after which the keys are asked for anew."""
PAUSE = 30.0
"""Seconds between two requests for keys that nobody has: forged key ids must not make us hammer the provider."""
SECONDS = 5.0
_MOST_BYTES = 256 * 1024
_MOST_KEYS = 32
_LEAST_RSA_BITS = 2048

_log = logging.getLogger(__name__)


class IssuerAway(Exception):
    """The provider cannot be asked, and nothing is known of it yet."""


class Issuer:
    """One provider. Its keys are asked for when they are first needed, when one is missing and once an hour."""

    def __init__(self, issuer: str, client: httpx.AsyncClient, clock: Callable[[], float]) -> None:
        """`client` follows no redirects; `clock`: monotonic seconds."""
        self.name = issuer
        self._client = client
        self._clock = clock
        self._algorithms = ALGORITHMS
        self._keys: list[tuple[dict[str, Any], jwt.PyJWK]] = []
        self._asked = -math.inf
        self._asking: asyncio.Task[None] | None = None

    async def keys(self, kid: str | None, algorithm: str) -> list[jwt.PyJWK]:
        """Those that may have signed: of that id, or of any where a token names none. Empty: there is none.

        Raises IssuerAway.
        """
        age = self._clock() - self._asked
        if not self._keys or age > FRESH:
            await self._refresh()
        found = self._fitting(kid, algorithm)
        if not found and self._clock() - self._asked > PAUSE:
            await self._refresh()
            found = self._fitting(kid, algorithm)
        if not self._keys:
            raise IssuerAway
        return found

    def _fitting(self, kid: str | None, algorithm: str) -> list[jwt.PyJWK]:
        if algorithm not in self._algorithms:
            return []
        return [
            key
            for told, key in self._keys
            if (kid is None or told.get("kid") == kid)
            and told.get("alg", algorithm) == algorithm
            and told.get("kty") == _KTY[algorithm[:2]]
        ]

    async def _refresh(self) -> None:
        """Asks, however many wait for it; what is known stays when that fails. Soon after a failure it does nothing."""
        if self._asking is None:
            if self._clock() - self._asked <= PAUSE:
                return
            self._asking = asyncio.create_task(self._ask())
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        try:
            told = await self._object(self.name.rstrip("/") + DISCOVERY)
            if told.get("issuer") != self.name:
                raise ValueError("it says that it is another one")
            jwks = await self._object(str(told["jwks_uri"]))
            keys = [(each, key) for each in jwks["keys"][:_MOST_KEYS] if (key := _usable(each)) is not None]
            if not keys:
                raise ValueError("it has no key to sign with")
            supported = told.get("id_token_signing_alg_values_supported")
            self._algorithms = ALGORITHMS & set(supported) if isinstance(supported, list) else ALGORITHMS
            self._keys = keys
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError, AttributeError) as error:
            _log.warning("the OpenID provider cannot be asked: %s", type(error).__name__)
        finally:
            self._asked = self._clock()
            self._asking = None

    async def _object(self, url: str) -> dict[str, Any]:
        """A JSON object. Raises httpx.HTTPError, ValueError."""
        if not self._trusted(url):
            raise ValueError("it names an address that is not https")
        chunks, size = [], 0
        async with self._client.stream("GET", url, headers={"accept": "application/json"}) as response:
            if response.status_code != 200:
                raise ValueError(f"it answers {response.status_code}")
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > _MOST_BYTES:
                    raise ValueError("it answers too much")
                chunks.append(chunk)
        decoded = httpx.Response(200, content=b"".join(chunks)).json()
        if not isinstance(decoded, dict):
            raise TypeError("not an object")
        return decoded

    def _trusted(self, url: str) -> bool:
        """Plain HTTP only where the configured issuer is plain, too: on this machine."""
        return url.startswith("https://") or self.name.startswith("http://")


def _usable(told: Any) -> jwt.PyJWK | None:
    """A public key to verify with; None: it is for something else, or too weak."""
    if not isinstance(told, dict) or told.get("use", "sig") != "sig" or told.get("kty") not in _KTY.values():
        return None
    try:
        key = jwt.PyJWK.from_dict(told)
    except (jwt.PyJWTError, ValueError):
        return None
    bits = getattr(key.key, "key_size", _LEAST_RSA_BITS)
    return None if told["kty"] == "RSA" and bits < _LEAST_RSA_BITS else key
