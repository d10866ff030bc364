"""P1: a bind grant as a text is what this server has signed, and nothing else is one."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop_server.domain import SECOND
from bellhop_server.domain.errors import CredentialsInvalid
from bellhop_server.domain.grant import Grant
from bellhop_server.store.grant_signer import GrantSigner
from bellhop_server.store.seal import MasterKey

pytestmark = pytest.mark.promise("P1")

KEY, OTHER = (bytes([number]) * 32 for number in (7, 8))
SIGNER = GrantSigner(MasterKey(KEY))
GRANT = Grant("shop", "jti", "anna", "d1", "web", 1_800_000_000_123_456, 1_800_000_300 * SECOND)
TEXT = SIGNER.sign(GRANT)


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


HEADER, CLAIMS = (decoded(part) for part in TEXT.split(".")[:2])


def key_of(master: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) with an empty salt, one block."""
    extracted = hmac.digest(bytes(32), master, "sha256")
    return hmac.digest(extracted, b"bellhop bind grants\x01", "sha256")


def forged(header: Any = HEADER, claims: Any = CLAIMS, key: bytes = key_of(KEY), hash_: str = "sha256") -> str:
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{signed}.{encoded(hmac.digest(key, signed.encode(), hash_))}"


def refused(text: str) -> None:
    with pytest.raises(CredentialsInvalid):
        SIGNER.read(text)


def test_it_is_a_json_web_token() -> None:
    assert {"alg": "HS256", "typ": "bellhop-grant+jwt", "kid": HEADER["kid"]} == HEADER
    assert CLAIMS == {
        "aud": "shop",
        "sub": "anna",
        "jti": "jti",
        "device_id": "d1",
        "session_id": "web",
        "issue_time": 1_800_000_000_123_456,
        "exp": 1_800_000_300,
    }
    options = {"verify_exp": False}
    assert jwt.decode(TEXT, key_of(KEY), algorithms=["HS256"], audience="shop", options=options) == CLAIMS


def test_what_is_made_by_the_same_rules_is_read() -> None:
    """The forger of these tests can forge, if it has the key: so what is refused below is refused for its one fault."""
    assert SIGNER.read(forged()) == GRANT


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "alg": "none"},
        {**HEADER, "alg": "None"},
        {**HEADER, "alg": "HS384"},
        {**HEADER, "alg": "RS256"},
        {**HEADER, "alg": ""},
        {**HEADER, "alg": None},
        {**HEADER, "alg": ["HS256"]},
        {"typ": HEADER["typ"], "kid": HEADER["kid"]},
        {**HEADER, "typ": "JWT"},
        {**HEADER, "typ": "bellhop-grant"},
        {**HEADER, "typ": None},
        {"alg": "HS256", "kid": HEADER["kid"]},
        {**HEADER, "kid": "00" * 8},
        {**HEADER, "kid": ""},
        {**HEADER, "kid": None},
        {**HEADER, "kid": [1]},
        {"alg": "HS256", "typ": HEADER["typ"]},
        {**HEADER, "crit": ["exp"]},
        {**HEADER, "b64": False},
        {},
        [],
        "HS256",
        None,
        7,
    ],
)
def test_another_header_is_refused_whatever_it_is_signed_with(header: Any) -> None:
    refused(forged(header))
    refused(forged(header, hash_="sha384"))
    refused(forged(header).rpartition(".")[0] + ".")


@pytest.mark.parametrize(
    "claims", [{}, [], None, 7, "x", *({key: CLAIMS[key] for key in CLAIMS if key != gone} for gone in CLAIMS)]
)
def test_what_is_signed_and_is_no_grant_is_refused(claims: Any) -> None:
    refused(forged(claims=claims))


@pytest.mark.parametrize(
    "key",
    [
        b"",
        KEY,
        key_of(OTHER),
        HEADER["kid"].encode(),
        hashlib.sha256(KEY).digest(),
        hmac.digest(hmac.digest(bytes(32), KEY, "sha256"), b"bellhop something else\x01", "sha256"),
    ],
)
def test_another_key_is_refused(key: bytes) -> None:
    refused(forged(key=key))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "eyJ",
        " ",
        TEXT + ".",
        "." + TEXT,
        TEXT + "." + TEXT,
        TEXT.rpartition(".")[0],
        TEXT.upper(),
        f"Bearer {TEXT}",
        "\u00e9.\u00e9.\u00e9",
        "x" * 100_000,
        encoded(b"[" * 6000) + ".e30.e30",
        encoded(b'{"a":' * 1000 + b"1" + b"}" * 1000) + ".e30.e30",
        encoded(b"\xff\xfe") + ".e30.e30",
        encoded(b'{"alg":' + b"1" * 5000 + b"}") + ".e30.e30",
    ],
)
def test_whatever_else_is_refused_and_raises_nothing_else(text: str) -> None:
    refused(text)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_noise_is_refused(text: str) -> None:
    refused(text)
    refused(f"{TEXT.split('.', maxsplit=1)[0]}.{text}")


@given(st.integers(0, len(TEXT) - 2), st.sampled_from("ABab01-_=. "))
def test_one_other_letter_is_refused(place: int, letter: str) -> None:
    # But the last: of its six bits two stand for nothing.
    if TEXT[place] != letter:
        refused(TEXT[:place] + letter + TEXT[place + 1 :])


def test_a_former_key_still_reads_and_the_present_one_signs() -> None:
    rotated = GrantSigner(MasterKey(OTHER, KEY))
    assert rotated.read(TEXT) == GRANT
    fresh = rotated.sign(GRANT)
    assert fresh != TEXT
    assert GrantSigner(MasterKey(OTHER)).read(fresh) == GRANT
    # Another server that has learnt the new key and does not use it yet.
    assert GrantSigner(MasterKey(KEY, OTHER)).read(fresh) == GRANT
    refused(fresh)


ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(ids, ids, ids, st.integers(0, 2**62), st.integers(0, 2**40))
def test_whatever_is_granted_comes_back(user: str, device: str, session: str, issued: int, ends: int) -> None:
    grant = replace(
        GRANT, user_id=user, device_id=device, session_id=session, issue_time=issued, expire_time=ends * SECOND
    )
    assert SIGNER.read(SIGNER.sign(grant)) == grant


@pytest.mark.parametrize("letter", ["a", "\x01", '"', "\\", "\u20ac", "\U0001f514"])
def test_the_longest_ids_fit(letter: str) -> None:
    """Lengths as the contract allows them."""
    grant = replace(
        GRANT,
        app_id="a" * 63,
        grant_id="j" * 64,
        user_id=letter * 512,
        device_id="\U0001f514" * 128,
        session_id="\U0001f514" * 255,
    )
    text = SIGNER.sign(grant)
    assert len(text) <= 8192
    assert text.isascii()
    assert text.isprintable()
    assert SIGNER.read(text) == grant
