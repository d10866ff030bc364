"""Key files of service accounts: what is kept of a good one, and those that are none."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bellhop_server.domain.application import FcmCredential, FcmOffer
from bellhop_server.domain.errors import InvalidRequest
from bellhop_server.providers.fcm.service_account import read_service_account
from bellhop_server.providers.fcm.settings import TOKEN_URL, FcmSettings
from bellhop_server.providers.origin import Origin

SIMULATED = "https://localhost:4711/token"
PKCS8 = serialization.PrivateFormat.PKCS8
PKCS1 = serialization.PrivateFormat.TraditionalOpenSSL
PLAIN = serialization.NoEncryption()


def pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    form: serialization.PrivateFormat = PKCS8,
    encryption: serialization.KeySerializationEncryption = PLAIN,
) -> str:
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


KEY = rsa.generate_private_key(65537, 2048)
SMALL = rsa.generate_private_key(65537, 1024)
GOOD: dict[str, Any] = {
    "type": "service_account",
    "project_id": "bellhop-shop",
    "private_key_id": "0123456789abcdef0123456789abcdef01234567",
    "private_key": pem(KEY),
    "client_email": "firebase-adminsdk-abc12@bellhop-shop.iam.gserviceaccount.com",
    "client_id": "123456789012345678901",
    "auth_uri": "https://accounts.google.com/o/oauth2/auth",
    "token_uri": "https://oauth2.googleapis.com/token",
    "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
    "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/firebase-adminsdk",
    "universe_domain": "googleapis.com",
}


def read(text: str, sender_id: str = "") -> FcmCredential:
    return read_service_account(FcmOffer(text, sender_id), SIMULATED)


def changed(**changes: Any) -> str:
    return json.dumps({name: value for name, value in (GOOD | changes).items() if value is not None})


def wrong(text: str) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        read(text)
    assert {violation.field for violation in caught.value.violations} == {"fcm.service_account_json"}
    assert "PRIVATE KEY" not in caught.value.text
    return [violation.description for violation in caught.value.violations]


def test_what_is_kept_of_a_good_one() -> None:
    credential = read(json.dumps(GOOD), "123456789012")

    assert credential == FcmCredential(
        GOOD["project_id"], GOOD["client_email"], GOOD["private_key_id"], GOOD["private_key"], "123456789012"
    )
    assert "PRIVATE KEY" not in repr(credential)


@pytest.mark.parametrize(
    "uri",
    [None, TOKEN_URL, "https://accounts.google.com/o/oauth2/token", SIMULATED],
    ids=["none", "new", "old", "ours"],
)
def test_token_uris_that_are_google_s_or_ours(uri: str | None) -> None:
    assert read(changed(token_uri=uri)) == read(json.dumps(GOOD))


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/token",
        "https://oauth2.googleapis.com.evil.example/token",
        "https://oauth2.googleapis.com/token?x",
        "http://oauth2.googleapis.com/token",
        "http://169.254.169.254/",
        "",
        7,
        ["https://oauth2.googleapis.com/token"],
    ],
)
def test_other_token_uris(uri: object) -> None:
    assert wrong(changed(token_uri=uri)) == ["token_uri is not Google's"]


@pytest.mark.parametrize(
    ("type_", "says"),
    [
        ("external_account", "external_account"),
        ("external_account_authorized_user", "external_account_authorized_user"),
        ("impersonated_service_account", "impersonated_service_account"),
        ("authorized_user", "a person's login"),
        ("gdch_service_account", "no type service_account"),
        (None, "no type service_account"),
        (["service_account"], "no type service_account"),
    ],
)
def test_other_types_are_refused_for_that_alone(type_: object, says: str) -> None:
    (only,) = wrong(changed(type=type_, token_uri="https://evil.example", private_key="nonsense"))
    assert says in only


def test_the_file_of_an_app_is_none() -> None:
    (only,) = wrong('{"project_info": {"project_id": "bellhop-shop"}, "client": []}')
    assert "google-services.json" in only


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project_id", None),
        ("project_id", 123456789012),
        ("project_id", "../../other"),
        ("project_id", "shop/messages:send?"),
        ("project_id", "a" * 31),
        ("project_id", "bellhop-shop\n"),
        ("client_email", None),
        ("client_email", "nobody"),
        ("client_email", "a@b@c"),
        ("client_email", "a b@example.com"),
        ("client_email", "a\n@example.com"),
        ("private_key_id", None),
        ("private_key_id", ""),
        ("private_key_id", "../key"),
    ],
)
def test_fields_that_are_missing_or_malformed(name: str, value: object) -> None:
    assert wrong(changed(**{name: value})) == [f"{name} is missing or malformed"]


def test_a_project_may_belong_to_a_domain() -> None:
    assert read(changed(project_id="example.com:bellhop")).project_id == "example.com:bellhop"


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (None, "PKCS #8"),
        (7, "PKCS #8"),
        ("", "PKCS #8"),
        (pem(KEY, PKCS1), "PKCS #8"),
        (pem(KEY, PKCS8, serialization.BestAvailableEncryption(b"word")), "PKCS #8"),
        ("-----BEGIN PRIVATE KEY-----\nbm9uc2Vuc2U=\n-----END PRIVATE KEY-----\n", "readable"),
        ("-----BEGIN PRIVATE KEY-----\ud800", "readable"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "RSA"),
        (pem(SMALL), "bits"),
    ],
)
def test_keys_that_are_none(key: object, says: str) -> None:
    (only,) = wrong(changed(private_key=key))
    assert only.startswith("private_key ")
    assert says in only
    assert len(only) < 80


def test_another_universe() -> None:
    assert wrong(changed(universe_domain="evil.example")) == ["universe_domain is not googleapis.com"]


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(wrong(changed(project_id=1, private_key=2, token_uri=3, universe_domain=4))) == 4


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[]", "null", '"service_account"', "[" * 30_000, '{"type":', " " * 33_000, "\ud800"]
)
def test_texts_that_are_none(text: str) -> None:
    assert len(wrong(text)) == 1


def test_the_defaults_are_google_s() -> None:
    settings = FcmSettings()
    assert settings.origin == Origin("fcm.googleapis.com", 443, "fcm.googleapis.com")
    assert settings.token_origin == Origin("oauth2.googleapis.com", 443, "oauth2.googleapis.com")
    assert (settings.token_url, settings.token_path) == (TOKEN_URL, "/token")
    assert settings.rate == 10_000


def test_a_simulator_s_addresses() -> None:
    settings = FcmSettings("https://localhost:1", "https://[::1]:2/a/token")
    assert settings.origin.port == 1
    assert (settings.token_origin.authority, settings.token_path) == ("[::1]:2", "/a/token")


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "http://localhost"},
        {"url": "https://localhost/v1"},
        {"token_url": "http://localhost/token"},
        {"token_url": "https://localhost/token?key=1"},
        {"token_url": "https://user@localhost/token"},
        {"token_url": "token"},
        {"rate": 0.0},
        {"rate": float("nan")},
    ],
)
def test_settings_that_cannot_be_used(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="FCM"):
        FcmSettings(**arguments)
