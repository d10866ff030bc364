"""What is sealed of a credential: its secret as JSON, and back, by network."""

import json
from dataclasses import asdict

from bellhop_server.domain.application import (
    ApnsCredential,
    FcmCredential,
    ProviderSecret,
    VapidKey,
    WebPushCredential,
)
from bellhop_server.domain.device import ApnsEnvironment, Platform


def encode(secret: ProviderSecret) -> bytes:
    """The text to seal."""
    return json.dumps(asdict(secret)).encode()


def decode(platform: int, text: bytes) -> ProviderSecret:
    """What `encode` was given."""
    content = json.loads(text)
    match platform:
        case Platform.APNS:
            environments = tuple(ApnsEnvironment(number) for number in content.pop("environments"))
            return ApnsCredential(topics=tuple(content.pop("topics")), environments=environments, **content)
        case Platform.FCM:
            return FcmCredential(**content)
        case _:
            keys = tuple(VapidKey(**key) for key in content["keys"])
            return WebPushCredential(keys, content["subject"])
