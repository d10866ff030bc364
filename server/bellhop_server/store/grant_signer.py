"""Bind grants as texts: JSON Web Tokens (RFC 7519) that this server, or another one with the same master key, signs.

Nobody but the servers reads them, so the signature is a MAC (HS256) under a key that is derived from the master key:
there is no key to store, it changes with the master key, and a former master key still verifies.
"""

import json
from typing import Any

import jwt

from bellhop_server.domain import SECOND
from bellhop_server.domain.errors import CredentialsInvalid
from bellhop_server.domain.grant import Grant
from bellhop_server.store.seal import MasterKey

_ALGORITHM = "HS256"
_TYPE = "bellhop-grant+jwt"
# Longer than any that was made: ids are limited, and a stranger's text is not to be worked on.
_LONGEST = 8192


class GrantSigner:
    """Implements `ports.GrantSigner`.

    Whom a grant is for and whether its time is over is for others to say, who know the application and the clock.
    """

    def __init__(self, master_key: MasterKey) -> None:
        self._keys = master_key.derive(b"bind grants")
        self._present = next(iter(self._keys))
        self._jws = jwt.PyJWS(algorithms=[_ALGORITHM])

    def sign(self, grant: Grant) -> str:
        """See `ports.GrantSigner`."""
        claims = {
            "aud": grant.app_id,
            "sub": grant.user_id,
            "jti": grant.grant_id,
            "device_id": grant.device_id,
            "session_id": grant.session_id,
            "issue_time": grant.issue_time,
            "exp": grant.expire_time // SECOND,
        }
        # Escapes would make twelve bytes of a character that is four in UTF-8.
        content = json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"kid": self._present, "typ": _TYPE}
        return self._jws.encode(content, self._keys[self._present], algorithm=_ALGORITHM, headers=headers)

    def read(self, text: str) -> Grant:
        """See `ports.GrantSigner`."""
        try:
            return self._read(text)
        except (jwt.InvalidTokenError, ValueError, LookupError, TypeError, RecursionError):
            raise CredentialsInvalid from None

    def _read(self, text: str) -> Grant:
        if len(text) > _LONGEST:
            raise ValueError("too long")
        header = self._jws.get_unverified_header(text)
        if header["typ"] != _TYPE:
            raise ValueError("not a bind grant")
        content = self._jws.decode(text, self._keys[header["kid"]], algorithms=[_ALGORITHM])
        claims: dict[str, Any] = json.loads(content)
        return Grant(
            app_id=claims["aud"],
            grant_id=claims["jti"],
            user_id=claims["sub"],
            device_id=claims["device_id"],
            session_id=claims["session_id"],
            issue_time=claims["issue_time"],
            expire_time=claims["exp"] * SECOND,
        )
