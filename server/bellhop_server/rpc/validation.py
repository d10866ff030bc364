"""The rules of every request, field by field, as the contract's comments state them. All violations are told at once.

What a target, a credential or a notification may say is in the modules named after them.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2, event_pb2, message_pb2
from bellhop.v1 import notifier_pb2 as notes
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.domain import Micros
from bellhop_server.rpc.rules import APP_ID, LOCALE, MESSAGE_ID, TAG_NAME_LENGTH, TIME_ZONE, Findings
from bellhop_server.rpc.validation_credential import validate_delete_credential, validate_set_credential
from bellhop_server.rpc.validation_grant import SESSION_LENGTH, validate_binding_key, validate_create_bind_grant
from bellhop_server.rpc.validation_message import validate_explain_send, validate_send, validate_send_many
from bellhop_server.rpc.validation_tag import (
    validate_create_tag,
    validate_list_subscriptions,
    validate_list_tags,
    validate_one_tag,
    validate_report_interaction,
    validate_subscriber,
    validate_update_tag,
)
from bellhop_server.rpc.validation_target import validate_target

MAX_ATTRIBUTES = 50
ATTRIBUTE_LENGTH = 256
DISPLAY_NAME_LENGTH = 128
MAX_OVERLAP = timedelta(days=90)
CURSOR_LENGTH = 128
NONCE_LENGTH = 128
SHORTEST_BINDING = timedelta(minutes=1)
LONGEST_BINDING = timedelta(days=400)


def validate(request: Message, now: Micros = 0) -> None:
    """Raises InvalidRequest with everything that is wrong with a request. `now`: for the schedule of a SendRequest."""
    found = Findings(now)
    _RULES[type(request)](found, request)
    found.raise_if_any()


def _register_device(found: Findings, request: reg.RegisterDeviceRequest) -> None:
    found.text("device_id", request.device_id, 128, controls=False)
    found.user_id("user_id", request.user_id)
    _target_and_facts(found, request)
    found.text("session_id", request.session_id, SESSION_LENGTH, controls=False)
    if request.HasField("binding_ttl"):
        found.duration("binding_ttl", request.binding_ttl, LONGEST_BINDING, SHORTEST_BINDING)
    validate_binding_key(found, request.binding_key)
    _binding_generation(found, request)


def _register_anonymous_device(found: Findings, request: reg.RegisterAnonymousDeviceRequest) -> None:
    found.text("device_id", request.device_id, 128, controls=False)
    _target_and_facts(found, request)
    _binding_generation(found, request)
    found.text("target_nonce", request.target_nonce, NONCE_LENGTH)


def _binding_generation(
    found: Findings,
    request: reg.RegisterDeviceRequest | reg.RegisterAnonymousDeviceRequest | reg.UnregisterDeviceRequest,
) -> None:
    if request.HasField("binding_generation") and request.binding_generation < 1:
        found.add("binding_generation", "must be 1 or more")


def _target_and_facts(found: Findings, request: reg.RegisterDeviceRequest | reg.RegisterAnonymousDeviceRequest) -> None:
    validate_target(found, request)
    _texts(found, request)
    found.string_map("attributes", request.attributes, MAX_ATTRIBUTES, ATTRIBUTE_LENGTH)


def _texts(
    found: Findings,
    request: reg.RegisterDeviceRequest | reg.RegisterAnonymousDeviceRequest | reg.UpdateDeviceRequest,
) -> None:
    found.pattern("locale", request.locale, LOCALE, "a BCP 47 language tag of up to 64 characters")
    found.pattern("time_zone", request.time_zone, TIME_ZONE, "a time zone name: [A-Za-z0-9._+/-]{1,64}")
    found.text("app_version", request.app_version, 64, controls=False)


def _update_device(found: Findings, request: reg.UpdateDeviceRequest) -> None:
    found.device_id("device_id", request.device_id)
    validate_target(found, request)
    _texts(found, request)
    found.string_map("set_attributes", request.set_attributes, MAX_ATTRIBUTES, ATTRIBUTE_LENGTH)
    if found.count("remove_attributes", len(request.remove_attributes), MAX_ATTRIBUTES):
        for index, key in enumerate(request.remove_attributes):
            found.key(f"remove_attributes[{index}]", key)
            if key in request.set_attributes:
                found.add(f"remove_attributes[{index}]", "is in set_attributes too")
    found.text("target_nonce", request.target_nonce, NONCE_LENGTH)


def _get_device(found: Findings, request: reg.GetDeviceRequest) -> None:
    found.device_id("device_id", request.device_id)


def _unregister_device(found: Findings, request: reg.UnregisterDeviceRequest) -> None:
    found.device_id("device_id", request.device_id)
    found.optional_user_id("expected_user_id", request.expected_user_id)
    _binding_generation(found, request)


def _unregister_user(found: Findings, request: reg.UnregisterUserRequest) -> None:
    found.user_id("user_id", request.user_id)
    found.text("session_id", request.session_id, SESSION_LENGTH, controls=False)


def _list_devices(found: Findings, request: reg.ListDevicesRequest) -> None:
    found.page_size("page_size", request.page_size)
    found.optional_user_id("user_id", request.user_id)
    found.enums("platforms", request.platforms, device_pb2.Platform.DESCRIPTOR)
    found.text("tag_name", request.tag_name, TAG_NAME_LENGTH, controls=False)
    found.enums("states", request.states, device_pb2.DeviceState.DESCRIPTOR)


def _nothing(found: Findings, request: Message) -> None:
    """Every such request is right."""


def _watch_message(found: Findings, request: notes.WatchMessageRequest) -> None:
    found.message_id("message_id", request.message_id)
    found.text("after_cursor", request.after_cursor, CURSOR_LENGTH)
    found.enum("result_filter", request.result_filter, event_pb2.ResultFilter.DESCRIPTOR)


def _get_message(found: Findings, request: notes.GetMessageRequest) -> None:
    found.message_id("message_id", request.message_id)
    found.enum("view", request.view, notes.MessageView.DESCRIPTOR)


def _list_messages(found: Findings, request: notes.ListMessagesRequest) -> None:
    found.page_size("page_size", request.page_size)
    found.enums("states", request.states, message_pb2.MessageState.DESCRIPTOR)
    found.timestamp("accepted_from_time", request.accepted_from_time)
    found.timestamp("accepted_until_time", request.accepted_until_time)
    found.enum("view", request.view, notes.MessageView.DESCRIPTOR)


def _cancel_message(found: Findings, request: notes.CancelMessageRequest) -> None:
    found.message_id("message_id", request.message_id)


def _list_results(found: Findings, request: notes.ListResultsRequest) -> None:
    found.message_id("message_id", request.message_id)
    found.page_size("page_size", request.page_size)
    found.enum("result_filter", request.result_filter, event_pb2.ResultFilter.DESCRIPTOR)
    if request.result_filter == event_pb2.RESULT_FILTER_NONE:
        found.add("result_filter", "NONE would show nothing")
    found.enums("outcomes", request.outcomes, message_pb2.Outcome.DESCRIPTOR)
    found.enums("platforms", request.platforms, device_pb2.Platform.DESCRIPTOR)
    found.text("device_id", request.device_id, 128, controls=False)
    found.optional_user_id("user_id", request.user_id)


def _create_application(found: Findings, request: apps.CreateApplicationRequest) -> None:
    found.pattern("app_id", request.app_id, APP_ID, "[a-z0-9][a-z0-9-]{0,62}")
    _display_name(found, request.display_name)
    _policy(found, request.policy)


def _update_application(found: Findings, request: apps.UpdateApplicationRequest) -> None:
    found.app_id("app_id", request.app_id)
    if request.HasField("display_name"):
        _display_name(found, request.display_name)
    _policy(found, request.policy)


def _display_name(found: Findings, name: str) -> None:
    if found.required("display_name", bool(name)):
        found.text("display_name", name, DISPLAY_NAME_LENGTH, controls=False)


def _policy(found: Findings, policy: apps.ApplicationPolicy) -> None:
    found.enum("policy.binding_policy", policy.binding_policy, apps.BindingPolicy.DESCRIPTOR)
    found.enum("policy.anonymous_policy", policy.anonymous_policy, apps.AnonymousPolicy.DESCRIPTOR)
    if policy.HasField("default_binding_ttl"):
        found.duration("policy.default_binding_ttl", policy.default_binding_ttl, LONGEST_BINDING, SHORTEST_BINDING)


def _one_application(found: Findings, request: apps.GetApplicationRequest | apps.DeleteApplicationRequest) -> None:
    found.app_id("app_id", request.app_id)


def _list_applications(found: Findings, request: apps.ListApplicationsRequest) -> None:
    found.page_size("page_size", request.page_size)


def _list_of_application(found: Findings, request: apps.ListSecretsRequest | apps.ListCredentialsRequest) -> None:
    found.app_id("app_id", request.app_id)
    found.page_size("page_size", request.page_size)


def _rotate_secret(found: Findings, request: apps.RotateSecretRequest) -> None:
    found.app_id("app_id", request.app_id)
    if found.required("kind", request.kind != apps.SECRET_KIND_UNSPECIFIED):
        found.enum("kind", request.kind, apps.SecretKind.DESCRIPTOR)
    found.duration("overlap", request.overlap, MAX_OVERLAP)


def _revoke_secret(found: Findings, request: apps.RevokeSecretRequest) -> None:
    found.app_id("app_id", request.app_id)
    found.required_pattern("secret_id", request.secret_id, MESSAGE_ID, "[A-Za-z0-9_-]{1,64}")


_RULES: dict[type[Message], Callable[[Findings, Any], None]] = {
    apps.CreateApplicationRequest: _create_application,
    apps.GetApplicationRequest: _one_application,
    apps.ListApplicationsRequest: _list_applications,
    apps.UpdateApplicationRequest: _update_application,
    apps.DeleteApplicationRequest: _one_application,
    apps.RotateSecretRequest: _rotate_secret,
    apps.ListSecretsRequest: _list_of_application,
    apps.RevokeSecretRequest: _revoke_secret,
    apps.SetCredentialRequest: validate_set_credential,
    apps.ListCredentialsRequest: _list_of_application,
    apps.DeleteCredentialRequest: validate_delete_credential,
    reg.RegisterDeviceRequest: _register_device,
    reg.RegisterAnonymousDeviceRequest: _register_anonymous_device,
    reg.UnregisterDeviceRequest: _unregister_device,
    reg.UnregisterUserRequest: _unregister_user,
    reg.UpdateDeviceRequest: _update_device,
    reg.GetDeviceRequest: _get_device,
    reg.ListDevicesRequest: _list_devices,
    reg.CreateBindGrantRequest: validate_create_bind_grant,
    reg.GetClientConfigRequest: _nothing,
    reg.CheckCredentialRequest: _nothing,
    reg.CreateTagRequest: validate_create_tag,
    reg.GetTagRequest: validate_one_tag,
    reg.ListTagsRequest: validate_list_tags,
    reg.UpdateTagRequest: validate_update_tag,
    reg.DeleteTagRequest: validate_one_tag,
    reg.SubscribeRequest: validate_subscriber,
    reg.UnsubscribeRequest: validate_subscriber,
    reg.ListSubscriptionsRequest: validate_list_subscriptions,
    reg.ReportInteractionRequest: validate_report_interaction,
    notes.SendRequest: validate_send,
    notes.SendManyRequest: validate_send_many,
    notes.WatchMessageRequest: _watch_message,
    notes.GetMessageRequest: _get_message,
    notes.ListMessagesRequest: _list_messages,
    notes.ListResultsRequest: _list_results,
    notes.CancelMessageRequest: _cancel_message,
    notes.ExplainSendRequest: validate_explain_send,
}
