"""Tokens of an OpenID provider: which are taken, which are refused, and how its keys are kept."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest

from bellhop_gateway.oidc.issuer import FRESH, PAUSE, Issuer, IssuerAway
from bellhop_gateway.oidc.sessions import Sessions
from bellhop_gateway.oidc.tokens import LOGOUT_LIFE, SKEW, Identity, Logout, TokenRefused, Tokens
from tests.gateway.issuer import AUDIENCE, ISSUER, LOGOUT_EVENT, TestIssuer


class Desk:
    """Verifies tokens of one issuer; `now` and `clock` are the test's."""

    def __init__(self) -> None:
        self.issuer = TestIssuer()
        self.now, self.clock = time.time(), 1_000.0
        client = httpx.AsyncClient(transport=self.issuer.transport())
        self.keys = Issuer(ISSUER, client, lambda: self.clock)
        self.tokens = Tokens(self.keys, AUDIENCE, lambda: self.now)

    @property
    def asked(self) -> int:
        return self.issuer.asked.get("/keys", 0)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_good_token_says_who_is_signed_in(desk: Desk) -> None:
    identity = await desk.tokens.sign_in(desk.issuer.token(sid="s1"))
    assert (identity.user_id, identity.session_id) == ("ann", "s1")
    access = await desk.tokens.sign_in(desk.issuer.token(header={"typ": "at+jwt"}, aud=[AUDIENCE, "api"]))
    assert access.session_id == ""
    assert await desk.tokens.sign_in(desk.issuer.token(aud=[AUDIENCE, "other"], azp=AUDIENCE))
    assert desk.asked == 1


@pytest.mark.parametrize("algorithm", ["RS512", "PS256", "ES256", "EdDSA"])
async def test_every_kind_of_key(desk: Desk, algorithm: str) -> None:
    desk.issuer.add("k2", algorithm)
    assert (await desk.tokens.sign_in(desk.issuer.token("k2"))).user_id == "ann"


def mac(issuer: TestIssuer) -> str:
    """HS256 with the public key as the secret."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": "k1"}, jwt.decode(issuer.token(), options={"verify_signature": False}))
    ]
    body = b".".join(parts)
    digest = hmac.digest(issuer.public_pem(), body, hashlib.sha256)
    return (body + b"." + base64.urlsafe_b64encode(digest).rstrip(b"=")).decode()


def unsigned(issuer: TestIssuer) -> str:
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    return jwt.encode(claims, None, "none", {"kid": "k1"})


def changed(issuer: TestIssuer) -> str:
    head, _, signature = issuer.token().split(".")
    claims = jwt.decode(issuer.token(), options={"verify_signature": False}) | {"sub": "ben"}
    return ".".join((head, base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode(), signature))


def by_a_stranger(issuer: TestIssuer) -> str:
    issuer.add("strange", publish=False)
    return issuer.token("k1", key="strange")


def with_its_own_key(issuer: TestIssuer) -> str:
    other = TestIssuer()
    return other.token("k1", header={"jwk": other.published[0], "jku": "https://evil.example/keys", "x5u": "https://e"})


NOW = time.time
FORGED: dict[str, Callable[[TestIssuer], str]] = {
    "a MAC with the public key": mac,
    "unsigned": unsigned,
    "changed": changed,
    "signed by a stranger": by_a_stranger,
    "with a key of its own": with_its_own_key,
    "expired": lambda issuer: issuer.token(exp=int(NOW()) - SKEW - 1),
    "without an end": lambda issuer: issuer.token(exp=None),
    "with an end that is no time": lambda issuer: issuer.token(nbf=True),
    "not good yet": lambda issuer: issuer.token(nbf=int(NOW()) + SKEW + 5),
    "from the future": lambda issuer: issuer.token(iat=int(NOW()) + SKEW + 5),
    "without a beginning": lambda issuer: issuer.token(iat=None),
    "for another audience": lambda issuer: issuer.token(aud="bank-app"),
    "for no audience": lambda issuer: issuer.token(aud=None),
    "of another party": lambda issuer: issuer.token(aud=[AUDIENCE, "other"], azp="other"),
    "of another issuer": lambda issuer: issuer.token(iss="https://login.example/"),
    "without a subject": lambda issuer: issuer.token(sub=None),
    "of nobody": lambda issuer: issuer.token(sub="anonymous"),
    "of a subject with a NUL": lambda issuer: issuer.token(sub="a\0"),
    "of a subject that is too long": lambda issuer: issuer.token(sub="a" * 513),
    "a logout token": lambda issuer: issuer.logout_token(exp=int(NOW()) + 300),
    "a logout token without its type": lambda issuer: issuer.token(events={LOGOUT_EVENT: {}}),
    "of an unknown type": lambda issuer: issuer.token(header={"typ": "dpop+jwt"}),
    "with something critical": lambda issuer: issuer.token(header={"crit": ["x"], "x": 1}),
    "with a path for a key": lambda issuer: issuer.token("../../k1", key="k1"),
    "huge": lambda issuer: issuer.token(filler="x" * 20_000),
    "nothing": lambda issuer: "",
    "no token": lambda issuer: "a.b.c",
    "an encrypted one": lambda issuer: "a.b.c.d.e",
}


@pytest.mark.parametrize("how", FORGED)
async def test_what_proves_nothing_is_refused(desk: Desk, how: str) -> None:
    await desk.tokens.sign_in(desk.issuer.token())
    with pytest.raises(TokenRefused):
        await desk.tokens.sign_in(FORGED[how](desk.issuer))


async def test_clocks_may_differ_a_little(desk: Desk) -> None:
    now = int(desk.now)
    for claims in ({"exp": now - SKEW + 5}, {"iat": now + SKEW - 5}, {"nbf": now + SKEW - 5}):
        await desk.tokens.sign_in(desk.issuer.token(**claims))


async def test_keys_that_are_turned_are_found_but_not_asked_for_at_will(desk: Desk) -> None:
    await desk.tokens.sign_in(desk.issuer.token())
    desk.issuer.published.clear()
    desk.issuer.add("k2")
    for _ in range(5):
        with pytest.raises(TokenRefused):
            await desk.tokens.sign_in(desk.issuer.token("k2"))
    assert desk.asked == 1
    desk.clock += PAUSE + 1
    assert await desk.tokens.sign_in(desk.issuer.token("k2"))
    assert desk.asked == 2
    with pytest.raises(TokenRefused):
        await desk.tokens.sign_in(desk.issuer.token("k1"))


async def test_a_token_without_a_key_id_is_tried_with_all(desk: Desk) -> None:
    desk.issuer.add("k2", named=False)
    desk.issuer.add("k3", "ES256", named=False)
    for key in ("k1", "k2", "k3"):
        assert await desk.tokens.sign_in(desk.issuer.token(None, key=key))


async def test_many_at_once_ask_once(desk: Desk) -> None:
    token = desk.issuer.token()
    await asyncio.gather(*(desk.tokens.sign_in(token) for _ in range(20)))
    assert desk.asked == 1


async def test_an_issuer_that_is_away(desk: Desk) -> None:
    desk.issuer.away = True
    token = desk.issuer.token()
    with pytest.raises(IssuerAway):
        await desk.tokens.sign_in(token)
    desk.issuer.away = False
    with pytest.raises(IssuerAway):
        await desk.tokens.sign_in(token)
    desk.clock += PAUSE + 1
    assert await desk.tokens.sign_in(token)
    desk.issuer.away = True
    desk.clock += FRESH + 1
    assert await desk.tokens.sign_in(token)


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://login.example/keys"},
        {"jwks_uri": None},
        {"jwks_uri": "file:///etc/passwd"},
    ],
)
async def test_a_discovery_that_is_not_the_issuer_s(desk: Desk, changes: dict[str, Any]) -> None:
    desk.issuer.changes = changes
    with pytest.raises(IssuerAway):
        await desk.tokens.sign_in(desk.issuer.token())


async def test_only_what_the_issuer_says_it_signs_with(desk: Desk) -> None:
    desk.issuer.add("k2", "PS256")
    desk.issuer.changes = {"id_token_signing_alg_values_supported": ["RS256", "HS256", "none"]}
    assert await desk.tokens.sign_in(desk.issuer.token())
    with pytest.raises(TokenRefused):
        await desk.tokens.sign_in(desk.issuer.token("k2"))


async def test_keys_for_something_else_are_none(desk: Desk) -> None:
    desk.issuer.published[0]["use"] = "enc"
    with pytest.raises(IssuerAway):
        await desk.tokens.sign_in(desk.issuer.token())


async def test_logout_tokens(desk: Desk) -> None:
    logout = await desk.tokens.logout(desk.issuer.logout_token(sid="s1"))
    assert (logout.user_id, logout.session_id) == ("ann", "s1")
    alone = await desk.tokens.logout(desk.issuer.logout_token(sub=None, sid="s1"))
    assert (alone.user_id, alone.session_id) == ("", "s1")


LOGOUTS: dict[str, dict[str, Any]] = {
    "names nobody": {"sub": None},
    "without an event": {"events": None},
    "another event": {"events": {"http://example/other": {}}},
    "an event that is no object": {"events": {LOGOUT_EVENT: True}},
    "with a nonce": {"nonce": "n"},
    "without an id": {"jti": None},
    "over": {"exp": int(time.time()) - SKEW - 5},
    "too old": {"iat": int(time.time()) - LOGOUT_LIFE - SKEW - 5, "exp": int(time.time()) + 86_400},
    "for another": {"aud": "bank-app"},
}


@pytest.mark.parametrize("how", LOGOUTS)
async def test_logout_tokens_that_prove_nothing(desk: Desk, how: str) -> None:
    with pytest.raises(TokenRefused):
        await desk.tokens.logout(desk.issuer.logout_token(**LOGOUTS[how]))


async def test_an_id_token_logs_nobody_out(desk: Desk) -> None:
    with pytest.raises(TokenRefused):
        await desk.tokens.logout(desk.issuer.token())


def test_what_has_ended_stays_so_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellhop_gateway.oidc.sessions.REMEMBERED", 2)
    now = 1_000.0
    sessions = Sessions(lambda: now, life=100.0)
    sessions.end(Logout("ann", "s1", 1_000.0))
    assert sessions.over(Identity("ann", "s1", 999.0))
    assert not sessions.over(Identity("ann", "s1", 1_001.0))
    assert not sessions.over(Identity("ann", "s2", 999.0))
    sessions.end(Logout("ben", "", 1_000.0))
    assert sessions.over(Identity("ben", "s9", 999.0))
    now = 1_150.0
    sessions.end(Logout("cid", "", now))
    assert not sessions.over(Identity("ann", "s1", 999.0))
    for user in ("d", "e", "f"):
        sessions.seen(Identity(user, f"s-{user}", now))
    assert [sessions.user_of(f"s-{user}") for user in "def"] == ["", "e", "f"]


def test_a_spent_token_is_remembered_for_as_long_as_it_would_be_taken() -> None:
    now = 1_000.0
    sessions = Sessions(lambda: now)
    sessions.spend("j1")
    now += LOGOUT_LIFE + 2 * SKEW
    sessions.spend("j2")
    assert (sessions.spent("j1"), sessions.spent("j2"), sessions.spent("j3")) == (True, True, False)
    now += 1
    sessions.spend("j3")
    assert not sessions.spent("j1")
