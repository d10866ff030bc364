"""The rules of requests about tags, subscriptions and interactions."""

import re

from bellhop.v1 import message_pb2
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.rpc.rules import TAG_NAME_LENGTH, Findings

DESCRIPTION_LENGTH = 1024

_SUBSCRIPTION_ID = re.compile(r"[0-9a-f]{32}")


def _description(found: Findings, text: str) -> None:
    found.text("description", text, DESCRIPTION_LENGTH)
    if "\0" in text:
        found.add("description", "has a NUL character")


def validate_create_tag(found: Findings, request: reg.CreateTagRequest) -> None:
    """Of CreateTag."""
    found.tag_name("tag_name", request.tag_name)
    _description(found, request.description)


def validate_one_tag(found: Findings, request: reg.GetTagRequest | reg.DeleteTagRequest) -> None:
    """Of GetTag and DeleteTag."""
    found.tag_name("tag_name", request.tag_name)


def validate_list_tags(found: Findings, request: reg.ListTagsRequest) -> None:
    """Of ListTags."""
    found.page_size("page_size", request.page_size)


def validate_update_tag(found: Findings, request: reg.UpdateTagRequest) -> None:
    """Of UpdateTag."""
    found.tag_name("tag_name", request.tag_name)
    _description(found, request.description)


def validate_subscriber(found: Findings, request: reg.SubscribeRequest | reg.UnsubscribeRequest) -> None:
    """Of Subscribe and Unsubscribe."""
    match request.WhichOneof("subscriber"):
        case "device_id":
            found.device_id("device_id", request.device_id)
        case "user_id":
            found.user_id("user_id", request.user_id)
        case None:
            found.add("subscriber", "is required: device_id or user_id")
    if found.required("tag_names", bool(request.tag_names)):
        found.tag_names("tag_names", request.tag_names)


def validate_list_subscriptions(found: Findings, request: reg.ListSubscriptionsRequest) -> None:
    """Of ListSubscriptions."""
    found.page_size("page_size", request.page_size)
    found.text("device_id", request.device_id, 128, controls=False)
    found.optional_user_id("user_id", request.user_id)
    found.text("tag_name", request.tag_name, TAG_NAME_LENGTH, controls=False)
    found.pattern("subscription_id", request.subscription_id, _SUBSCRIPTION_ID, "32 hexadecimal digits")


def validate_report_interaction(found: Findings, request: reg.ReportInteractionRequest) -> None:
    """Of ReportInteraction."""
    found.message_id("message_id", request.message_id)
    found.device_id("device_id", request.device_id)
    found.enum("interaction", request.interaction, message_pb2.Interaction.DESCRIPTOR)
    found.required("interaction", bool(request.interaction))
    found.timestamp("occur_time", request.occur_time)
