"""Granting a device to bind itself: for apps, which cannot keep a secret."""

import secrets

from bellhop_server.domain import SECOND, Micros
from bellhop_server.domain.grant import DEFAULT_GRANT, Grant
from bellhop_server.ports import Clock, GrantSigner

_ID_BYTES = 16


class Granting:
    """What a back end asks for the apps of its users."""

    def __init__(self, signer: GrantSigner, clock: Clock) -> None:
        self._signer = signer
        self._clock = clock

    def grant(
        self, app_id: str, user_id: str, device_id: str, session_id: str, ttl: Micros | None
    ) -> tuple[str, Micros]:
        """A grant as a text, and when it ends. An empty device or session is left open; `ttl` None: the default."""
        now = self._clock.now()
        # Rounded up: nobody gets less time than they asked for.
        expire_time = -(-(now + (ttl or DEFAULT_GRANT)) // SECOND) * SECOND
        grant = Grant(
            app_id=app_id,
            grant_id=secrets.token_urlsafe(_ID_BYTES),
            user_id=user_id,
            device_id=device_id,
            session_id=session_id,
            issue_time=now,
            expire_time=expire_time,
        )
        return self._signer.sign(grant), expire_time
