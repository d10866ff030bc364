"""Devices as rows, and rows as devices."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from bellhop_server.domain.device import ApnsEnvironment, Device, DeviceFacts, DeviceState, Platform, Target, user_key

COLUMNS = (
    "app_id",
    "device_id",
    "user_id",
    "user_key",
    "binding_epoch",
    "platform",
    "address",
    "target_digest",
    "apns_topic",
    "apns_environment",
    "locale",
    "time_zone",
    "app_version",
    "attributes",
    "state",
    "register_time",
    "bind_time",
    "update_time",
    "target_time",
    "target_accepted",
    "session_id",
    "binding_expire_time",
    "supplement",
    "vapid_public_key",
    "refusals",
    "refused_since",
    "nonce_digest",
    "nonce_time",
    "sealed_binding_key",
)

# Looking a member up is several times faster than calling its enum, and a fence read maps hundreds of rows.
_PLATFORMS = {int(platform): platform for platform in Platform}
_STATES = {int(state): state for state in DeviceState}
_ENVIRONMENTS = {None: None} | {int(environment): environment for environment in ApnsEnvironment}


def to_row(device: Device) -> tuple[Any, ...]:
    """The values of COLUMNS."""
    target, facts = device.target, device.facts
    environment = target.apns_environment
    return (
        device.app_id,
        device.device_id,
        device.user_id,
        None if device.user_id is None else user_key(device.user_id),
        device.binding_epoch,
        int(target.platform),
        target.address,
        target.digest,
        target.apns_topic,
        None if environment is None else int(environment),
        facts.locale,
        facts.time_zone,
        facts.app_version,
        json.dumps(facts.attributes, ensure_ascii=False) if facts.attributes else "{}",
        int(device.state),
        device.register_time,
        device.bind_time,
        device.update_time,
        device.target_time,
        device.target_accepted,
        device.session_id,
        device.binding_expire_time,
        target.supplement,
        target.vapid_public_key,
        device.refusals,
        device.refused_since,
        device.nonce_digest,
        device.nonce_time,
        device.sealed_binding_key,
    )


def to_devices(rows: Iterable[Sequence[Any]]) -> list[Device]:
    """The devices that rows of COLUMNS describe."""
    # Phones of one app have much the same facts, and taking them out of their text is half of the work.
    known: dict[tuple[str, str, str, str], DeviceFacts] = {}
    found = []
    for (
        app_id,
        device_id,
        user_id,
        _,
        binding_epoch,
        platform,
        address,
        _,
        apns_topic,
        apns_environment,
        locale,
        time_zone,
        app_version,
        attributes,
        state,
        register_time,
        bind_time,
        update_time,
        target_time,
        target_accepted,
        session_id,
        binding_expire_time,
        supplement,
        vapid_public_key,
        refusals,
        refused_since,
        nonce_digest,
        nonce_time,
        sealed_binding_key,
    ) in rows:
        facts = known.get((locale, time_zone, app_version, attributes))
        if facts is None:
            facts = DeviceFacts(locale, time_zone, app_version, json.loads(attributes))
            known[locale, time_zone, app_version, attributes] = facts
        found.append(
            Device(
                app_id,
                device_id,
                user_id,
                binding_epoch,
                Target(
                    _PLATFORMS[platform],
                    address,
                    apns_topic,
                    _ENVIRONMENTS[apns_environment],
                    supplement,
                    vapid_public_key,
                ),
                facts,
                _STATES[state],
                register_time,
                bind_time,
                update_time,
                target_time,
                bool(target_accepted),
                session_id,
                binding_expire_time,
                refusals,
                refused_since,
                nonce_digest,
                nonce_time,
                sealed_binding_key,
            )
        )
    return found
