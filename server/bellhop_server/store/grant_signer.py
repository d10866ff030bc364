"""Bind grants as texts: JSON Web Tokens (RFC 7519) that this server, or another one with the same master key, signs.

Nobody but the servers reads them, so the signature is a MAC (HS256) under a key that is derived from the master key:
there is no key to store, it changes with the master key, and a former master key still verifies.
"""

from typing import Any

import jwt
from jwt.types import Options

from bellhop_server.domain import SECOND
from bellhop_server.domain.errors import CredentialsInvalid
from bellhop_server.domain.grant import Grant
from bellhop_server.store.seal import MasterKey

_ALGORITHM = "HS256"
_TYPE = "bellhop-grant+jwt"
_CLAIMS = ("aud", "sub", "jti", "device_id", "session_id")
# Longer than any that was made: ids are limited, and a stranger's text is not to be worked on.
_LONGEST = 8192
# Whom it is for and whether its time is over is for others to say, who know the application and the clock.
_SIGNATURE_ALONE: Options = {
    "verify_signature": True,
    "verify_aud": False,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}


class GrantSigner:
    """Implements `ports.GrantSigner`."""

    def __init__(self, master_key: MasterKey) -> None:
        self._keys = master_key.derive(b"bind grants")
        self._present = next(iter(self._keys))

    def sign(self, grant: Grant) -> str:
        """See `ports.GrantSigner`. `exp` is in whole seconds, so its `expire_time` must be, too."""
        claims = {
            "aud": grant.app_id,
            "sub": grant.user_id,
            "jti": grant.grant_id,
            "device_id": grant.device_id,
            "session_id": grant.session_id,
            "issue_time": grant.issue_time,
            "exp": grant.expire_time // SECOND,
        }
        headers = {"kid": self._present, "typ": _TYPE}
        return jwt.encode(claims, self._keys[self._present], algorithm=_ALGORITHM, headers=headers)

    def read(self, text: str) -> Grant:
        """See `ports.GrantSigner`."""
        try:
            return self._read(text)
        except (jwt.InvalidTokenError, ValueError, LookupError, TypeError):
            raise CredentialsInvalid from None

    def _read(self, text: str) -> Grant:
        if len(text) > _LONGEST:
            raise ValueError("too long")
        header = jwt.get_unverified_header(text)
        if header.get("typ") != _TYPE:
            raise ValueError("not a bind grant")
        claims: dict[str, Any] = jwt.decode(
            text, self._keys[header["kid"]], algorithms=[_ALGORITHM], options=_SIGNATURE_ALONE
        )
        app_id, user_id, grant_id, device_id, session_id = (str(claims[name]) for name in _CLAIMS)
        return Grant(
            app_id, grant_id, user_id, device_id, session_id, int(claims["issue_time"]), int(claims["exp"]) * SECOND
        )
