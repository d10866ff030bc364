"""The rules of provider credentials. What is inside of a key or a file is its provider's to judge."""

import re

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2
from bellhop_server.rpc.rules import NAME_LENGTH, TOPIC, Findings
from bellhop_server.rpc.validation_target import TOPIC_DESCRIPTION

PEM_LENGTH = 4096
SERVICE_ACCOUNT_LENGTH = 32_768
MAX_TOPICS = 400

_CREDENTIAL_ID = re.compile(r"[a-z0-9-]{1,63}")
_APPLE_ID = re.compile(r"[A-Z0-9]{10}")
_SENDER_ID = re.compile(r"[0-9]{1,20}")


def validate_set_credential(found: Findings, request: apps.SetCredentialRequest) -> None:
    """Notes everything that is wrong with a SetCredentialRequest."""
    found.app_id("app_id", request.app_id)
    found.pattern("credential_id", request.credential_id, _CREDENTIAL_ID, "[a-z0-9-]{1,63}")
    match request.WhichOneof("credential"):
        case "apns":
            _apns(found, request.apns)
        case "fcm":
            _secret_text(found, "fcm.service_account_json", request.fcm.service_account_json, SERVICE_ACCOUNT_LENGTH)
            found.pattern("fcm.sender_id", request.fcm.sender_id, _SENDER_ID, "1 to 20 digits")
        case "web_push":
            _web_push(found, request.web_push)
        case None:
            found.add("credential", "is required")


def validate_delete_credential(found: Findings, request: apps.DeleteCredentialRequest) -> None:
    """Notes everything that is wrong with a DeleteCredentialRequest."""
    found.app_id("app_id", request.app_id)
    found.required_pattern("credential_id", request.credential_id, _CREDENTIAL_ID, "[a-z0-9-]{1,63}")


def _apns(found: Findings, apns: apps.ApnsCredential) -> None:
    if found.required("apns.auth", apns.HasField("key")):
        key = apns.key
        found.required_pattern("apns.key.key_id", key.key_id, _APPLE_ID, "[A-Z0-9]{10}")
        found.required_pattern("apns.key.team_id", key.team_id, _APPLE_ID, "[A-Z0-9]{10}")
        _secret_text(found, "apns.key.p8", key.p8, PEM_LENGTH)
    if found.required("apns.topics", bool(apns.topics)) and found.count("apns.topics", len(apns.topics), MAX_TOPICS):
        seen: set[str] = set()
        for index, topic in enumerate(apns.topics):
            at = f"apns.topics[{index}]"
            found.required_pattern(at, topic, TOPIC, TOPIC_DESCRIPTION)
            if topic in seen:
                found.add(at, "is there twice")
            seen.add(topic)
    found.enums("apns.environments", apns.environments, device_pb2.ApnsEnvironment.DESCRIPTOR)


def _web_push(found: Findings, web_push: apps.WebPushCredential) -> None:
    match web_push.WhichOneof("key"):
        case "vapid_private_key":
            _secret_text(found, "web_push.vapid_private_key", web_push.vapid_private_key, PEM_LENGTH)
        case None:
            found.add("web_push.key", "is required")
    if found.required("web_push.subject", bool(web_push.subject)):
        found.text("web_push.subject", web_push.subject, NAME_LENGTH, controls=False)


def _secret_text(found: Findings, path: str, text: str, longest: int) -> None:
    if found.required(path, bool(text)):
        found.text(path, text, longest)
