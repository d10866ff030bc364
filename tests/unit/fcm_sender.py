"""A sender to the simulated FCM over HTTP/1.1, and what it reads in answers."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import jwt

from bellhop_simulators import FcmSimulator, ManualClock, ServiceAccount
from tests.unit.http1_wire import Http1Client, Http1Reply

NOW = 1_800_000_000.0
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
TOKEN = "cPUhv_LpQ-6:APA91bHqL0"
GOOD = {"message": {"token": TOKEN, "data": {"alert": "hi"}}}
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
QUOTA_FAILURE = "type.googleapis.com/google.rpc.QuotaFailure"


def assertion(fcm: FcmSimulator, account: ServiceAccount | None = None, **changes: Any) -> str:
    """What a sender signs; `changes` of claims, `kid` and `key`; None leaves a claim out."""
    file = json.loads((account or fcm.account).service_account_json)
    kid, key = changes.pop("kid", file["private_key_id"]), changes.pop("key", file["private_key"])
    claims = {
        "iss": file["client_email"],
        "scope": SCOPE,
        "aud": file["token_uri"],
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
        **changes,
    }
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, key, algorithm="RS256", headers={"kid": kid} if kid else {})


@dataclass
class Sender:
    """A connection over HTTP/1.1, with an access token once it has one."""

    fcm: FcmSimulator
    http: Http1Client
    authorization: str = ""

    async def form(self, **fields: str) -> Http1Reply:
        form = {"content-type": "application/x-www-form-urlencoded"}
        return await self.http.call("POST", "/token", form, urlencode(fields).encode())

    async def authorize(self, account: ServiceAccount | None = None, **changes: Any) -> Http1Reply:
        reply = await self.form(grant_type=GRANT, assertion=assertion(self.fcm, account, **changes))
        if reply.status == 200:
            self.authorization = f"Bearer {json.loads(reply.body)['access_token']}"
        return reply

    async def post(self, body: bytes, project: str = "example-project") -> Http1Reply:
        return await self.http.call("POST", f"/v1/projects/{project}/messages:send", self.headers, body)

    async def send(self, request: Any = None, **more: str) -> Http1Reply:
        return await self.post(json.dumps(GOOD if request is None else request).encode(), **more)

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": self.authorization, "content-type": "application/json"}


def advance(fcm: FcmSimulator, seconds: float) -> None:
    clock = fcm._world.clock
    assert isinstance(clock, ManualClock)
    clock.advance(seconds)


def error(reply: Http1Reply) -> dict[str, Any]:
    """The error, checked to be one as Google tells it."""
    assert reply.headers["content-type"] == "application/json; charset=UTF-8"
    told: dict[str, Any] = json.loads(reply.body)["error"]
    assert told["code"] == reply.status
    assert told["message"]
    return told


def detail(reply: Http1Reply, kind: str) -> dict[str, Any] | None:
    return next((one for one in error(reply).get("details", []) if one["@type"] == kind), None)


def code(reply: Http1Reply) -> Any:
    """The FcmError's, None if there is none."""
    return (detail(reply, FCM_ERROR) or {}).get("errorCode")


def violations(reply: Http1Reply) -> list[tuple[str, str]]:
    found = detail(reply, BAD_REQUEST) or {"fieldViolations": []}
    return [(one["field"], one["description"]) for one in found["fieldViolations"]]
