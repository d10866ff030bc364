"""Provider credentials: messages of the contract to nouns of the domain and back. Their secrets go one way only."""

from collections.abc import Sequence

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.domain.application import (
    ApnsCredential,
    Credential,
    CredentialOffer,
    FcmCredential,
    FcmOffer,
    WebPushCredential,
    WebPushOffer,
)
from bellhop_server.domain.device import ApnsEnvironment
from bellhop_server.rpc.mapping import timestamp


def offer_of(request: apps.SetCredentialRequest) -> CredentialOffer:
    """What the operator has; the request has been validated."""
    match request.WhichOneof("credential"):
        case "fcm":
            return FcmOffer(request.fcm.service_account_json, request.fcm.sender_id)
        case "web_push":
            web_push = request.web_push
            return WebPushOffer(web_push.vapid_private_key, web_push.subject, web_push.allow_key_change)
        case _:
            return _apns_of(request.apns)


def _apns_of(credential: apps.ApnsCredential) -> ApnsCredential:
    return ApnsCredential(
        key_id=credential.key.key_id,
        team_id=credential.key.team_id,
        p8=credential.key.p8,
        topics=tuple(credential.topics),
        environments=tuple(map(ApnsEnvironment, credential.environments)),
    )


def credential(value: Credential) -> apps.Credential:
    """A provider credential as it is shown: without its key."""
    shown = apps.Credential(
        credential_id=value.credential_id,
        platform=device_pb2.Platform.ValueType(value.platform),
        update_time=timestamp(value.update_time),
    )
    if value.probe is not None:
        shown.probe.ok, shown.probe.reason = value.probe.ok, value.probe.reason
        shown.probe.probe_time.CopyFrom(timestamp(value.probe.probe_time))
    match value.secret:
        case ApnsCredential(key_id, team_id, _, topics, environments):
            shown.apns.key_id, shown.apns.team_id = key_id, team_id
            shown.apns.topics.extend(topics)
            shown.apns.environments.extend(map(device_pb2.ApnsEnvironment.ValueType, environments))
        case FcmCredential(project_id, client_email, sender_id=sender_id):
            shown.fcm.project_id, shown.fcm.client_email, shown.fcm.sender_id = project_id, client_email, sender_id
        case WebPushCredential(keys, subject):
            shown.web_push.vapid_public_key, shown.web_push.subject = keys[0].public_key, subject
    return shown


def client_config(credentials: Sequence[Credential]) -> reg.GetClientConfigResponse:
    """What of an application's credentials an app needs; all of it is public."""
    config = reg.GetClientConfigResponse(
        platforms=[device_pb2.Platform.ValueType(each) for each in sorted({value.platform for value in credentials})]
    )
    for value in credentials:
        match value.secret:
            case FcmCredential(sender_id=sender_id):
                config.fcm_sender_id = config.fcm_sender_id or sender_id
            case WebPushCredential(keys):
                config.vapid_public_key = config.vapid_public_key or keys[0].public_key
    return config
