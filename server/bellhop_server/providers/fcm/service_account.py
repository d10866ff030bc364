"""The key file of a Google service account, as an operator brings it along.

It is somebody else's text: the addresses in it are compared and never called, and of its other fields only those that
an access token is made of are kept. Google, "Using OAuth 2.0 for Server to Server Applications".
"""

import json
import re
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bellhop_server.domain.application import FcmCredential, FcmOffer
from bellhop_server.domain.errors import InvalidRequest, Violation
from bellhop_server.providers.fcm.settings import TOKEN_URL

FIELD = "fcm.service_account_json"

# A file of Google's has some 2,400 characters.
_LARGEST = 32 * 1024
_LEAST_BITS = 2048
# Of a larger one a single signature would hold up everybody.
_MOST_BITS = 8192

# Old files name the second one, which is the same endpoint under its first address.
_GOOGLE = (TOKEN_URL, "https://accounts.google.com/o/oauth2/token")
_UNIVERSE = "googleapis.com"

# A project may belong to a domain, which then comes first ("example.com:project").
_PROJECT_ID = re.compile(r"(?:[a-z0-9.-]{1,253}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,128}@[A-Za-z0-9.-]{1,253}")
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class KeyRefused(Exception):
    """The text of a key is not one that Google gives out. The message never quotes it."""


def load_key(pem: str) -> rsa.RSAPrivateKey:
    """The private key of a service account: RSA, PKCS #8 in PEM, not encrypted. Raises KeyRefused."""
    if "-----BEGIN PRIVATE KEY-----" not in pem:
        raise KeyRefused("is not PKCS #8 in PEM, not encrypted")
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyRefused("is not a readable private key") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyRefused("is not an RSA key")
    if not _LEAST_BITS <= key.key_size <= _MOST_BITS:
        raise KeyRefused(f"has not {_LEAST_BITS} to {_MOST_BITS} bits")
    return key


def read_service_account(offer: FcmOffer, token_url: str) -> FcmCredential:
    """The credential in the file. `token_url`: the endpoint that the file may name beside Google's.

    Raises InvalidRequest with all that is wrong.
    """
    account = _decode(offer.service_account_json)
    wrong = _type(account) or _fields(account) + _addresses(account, token_url)
    if wrong:
        raise InvalidRequest([Violation(FIELD, each) for each in wrong])
    return FcmCredential(
        project_id=account["project_id"],
        client_email=account["client_email"],
        private_key_id=account["private_key_id"],
        private_key=account["private_key"],
        sender_id=offer.sender_id,
    )


def _decode(text: str) -> dict[str, Any]:
    if len(text) > _LARGEST:
        raise InvalidRequest([Violation(FIELD, f"has more than {_LARGEST} characters")])
    try:
        account = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest([Violation(FIELD, "is not JSON: give the text of the key file as it is")]) from None
    if not isinstance(account, dict):
        raise InvalidRequest([Violation(FIELD, "is not a JSON object")])
    return account


def _type(account: dict[str, Any]) -> list[str]:
    """Only a service account signs for itself; the others name programs, files and addresses to ask."""
    match account.get("type"):
        case "service_account":
            return []
        case "external_account" | "external_account_authorized_user" | "impersonated_service_account" as known:
            return [f"is of type {known}, which is not supported: make a key for a service account"]
        case "authorized_user":
            return ["is of type authorized_user, a person's login: make a key for a service account"]
        case _ if "project_info" in account:
            return ["is the google-services.json of an app: make a key for a service account"]
        case _:
            return ["has no type service_account"]


def _fields(account: dict[str, Any]) -> list[str]:
    wrong = [
        f"{name} is missing or malformed"
        for name, shape in (("project_id", _PROJECT_ID), ("client_email", _EMAIL), ("private_key_id", _KEY_ID))
        if not (isinstance(value := account.get(name), str) and shape.fullmatch(value))
    ]
    key = account.get("private_key")
    try:
        load_key(key if isinstance(key, str) else "")
    except KeyRefused as error:
        wrong.append(f"private_key {error}")
    return wrong


def _addresses(account: dict[str, Any], token_url: str) -> list[str]:
    wrong = []
    if account.get("token_uri", token_url) not in (*_GOOGLE, token_url):
        wrong.append("token_uri is not Google's")
    if account.get("universe_domain", _UNIVERSE) != _UNIVERSE:
        wrong.append(f"universe_domain is not {_UNIVERSE}")
    return wrong
