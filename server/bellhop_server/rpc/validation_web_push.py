"""The rules of what a notification says for Web Push alone."""

from bellhop.v1 import message_pb2
from bellhop_server.rpc.json_rules import json_object
from bellhop_server.rpc.rules import Findings

# What fits into the one record of 4096 bytes that every push service takes: less its header of 86 bytes, a delimiter
# and a tag of 16 (RFC 8291 section 4, RFC 8188 section 2.1).
PAYLOAD_BYTES = 3993

_PATH = "notification.web_push"


def validate_web_push(found: Findings, notification: message_pb2.Notification) -> None:
    """Notes everything that is wrong with `notification.web_push`."""
    web_push = notification.web_push
    json_object(found, f"{_PATH}.options", web_push.options)
    found.handling(_PATH, web_push)
    size = len(web_push.raw_payload.encode())
    if size > PAYLOAD_BYTES:
        found.add(f"{_PATH}.raw_payload", f"has {size} bytes; at most {PAYLOAD_BYTES} are allowed")
    if web_push.raw_payload:
        given = {"title": web_push.title, "body": web_push.body, "options": web_push.options.fields}
        for name in (name for name, value in given.items() if value):
            found.add(f"{_PATH}.{name}", "contradicts raw_payload, which is the whole body")
    if notification.silent:
        for name in ("title", "body"):
            if getattr(web_push, name):
                found.add(f"{_PATH}.{name}", "would be shown, but the notification is silent")
