"""The rules of what a device binds itself with: bind grants, and the key of its stamps."""

from datetime import timedelta

from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.domain.grant import LONGEST_GRANT, SHORTEST_GRANT
from bellhop_server.rpc.rules import Findings

SESSION_LENGTH = 255
BINDING_KEY_BYTES = 32


def validate_create_bind_grant(found: Findings, request: reg.CreateBindGrantRequest) -> None:
    """Of CreateBindGrant."""
    found.user_id("user_id", request.user_id)
    found.text("device_id", request.device_id, 128, controls=False)
    found.text("session_id", request.session_id, SESSION_LENGTH, controls=False)
    if request.HasField("ttl"):
        shortest, longest = (timedelta(microseconds=each) for each in (SHORTEST_GRANT, LONGEST_GRANT))
        found.duration("ttl", request.ttl, longest, shortest)


def validate_binding_key(found: Findings, key: bytes) -> None:
    """Of RegisterDevice."""
    if key and len(key) != BINDING_KEY_BYTES:
        found.add("binding_key", f"has {len(key)} bytes; it must have {BINDING_KEY_BYTES}, or none")
