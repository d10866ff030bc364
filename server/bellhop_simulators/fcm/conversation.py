"""What a simulated FCM says to the requests of one connection.

Google does not publish in which order it looks. Here it is: path, size, access token, project, permission, schema,
rules, device.
"""

import re
import secrets
from typing import Any

from bellhop_simulators.faults.conditions import Facts
from bellhop_simulators.faults.playback import Answer
from bellhop_simulators.fcm import rules
from bellhop_simulators.fcm.access_tokens import AccessToken
from bellhop_simulators.fcm.errors import Refusal, of_google, page
from bellhop_simulators.fcm.send_case import SendCase
from bellhop_simulators.fcm.token_case import TokenCase
from bellhop_simulators.fcm.world import FcmWorld
from bellhop_simulators.http.request import MAX_BODY, Header, Request

TOKEN_PATH = "/token"  # noqa: S105 - A path.

GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"
"""What Google's own libraries sign for, whatever `token_uri` says."""

_SEND = re.compile(r"/v1/projects/([^/:]+)/messages:send")
_CHALLENGE: Header = ("www-authenticate", 'Bearer realm="https://accounts.google.com/"')
_BAD_TOKEN: Header = ("www-authenticate", 'Bearer realm="https://accounts.google.com/", error="invalid_token"')


class FcmConversation:
    """One connection."""

    def __init__(self, world: FcmWorld) -> None:
        self._world = world

    @property
    def limit(self) -> int:
        """The same all along."""
        return self._world.max_concurrent_streams

    def answered(self, status: int) -> None:
        """Of no consequence."""

    def facts(self, request: Request) -> Facts:
        """What the header list tells."""
        path = (request.header(":path") or "").partition("?")[0]
        sends = _SEND.fullmatch(path)
        call = "token" if path == TOKEN_PATH else "send"
        return Facts("fcm", call=call, project=sends[1] if sends else "", token="", topic="", host=request.host)

    def judge(self, request: Request) -> SendCase | TokenCase:
        """Judge a request."""
        facts = self.facts(request)
        if facts.call == "token":
            called = f"https://{request.header(':authority')}{TOKEN_PATH}"
            return TokenCase(self._world, facts, request.body, {self._world.token_url(), called, GOOGLE_AUDIENCE})
        authorization = request.header("authorization")
        token = self._world.access_tokens.find(authorization)
        facts.key_id = token.key_id if token else ""
        read, misfit = rules.read(request.body)
        message = read.get("message") or {}
        facts.token, facts.topic = message.get("token") or message.get("fid") or "", message.get("topic") or ""
        refused = self._front(request, facts)
        if refused is None:
            refusal = self._access(token, facts, missing=authorization is None) or misfit or self._rules(message)
            refused = refusal.answer() if refusal else None
        validate_only = read.get("validate_only") or False
        return SendCase(self._world, facts, secrets.token_hex(8), message, refused, validate_only)

    def _front(self, request: Request, facts: Facts) -> Answer | None:
        if request.header(":method") != "POST" or not facts.project:
            return page(404, "The requested URL was not found on this server.")
        if request.size > MAX_BODY:
            return page(413, "Your client issued a request that was too large.")
        return None

    def _access(self, token: AccessToken | None, facts: Facts, *, missing: bool) -> Refusal | None:
        if missing:
            return of_google(401, "Request is missing required authentication credential.", headers=(_CHALLENGE,))
        if token is None:
            return of_google(401, "Request had invalid authentication credentials.", headers=(_BAD_TOKEN,))
        project = self._world.accounts.project(facts.project or "")
        if project is None:
            return of_google(404)
        if not token.account.permitted or project not in token.account.projects:
            told = f"Permission 'cloudmessaging.messages.create' denied on resource '//projects/{facts.project}'."
            return of_google(403, told, info="IAM_PERMISSION_DENIED")
        return None

    def _rules(self, message: dict[str, Any]) -> Refusal | None:
        refused = rules.judge(message)
        for name in ("token", "fid"):
            if refused is None and name in message:
                refused = self._world.devices.judge(name, message[name])
        return refused
