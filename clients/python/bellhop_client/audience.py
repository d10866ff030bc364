"""Audiences in one word."""

from bellhop.v1.message_pb2 import Audience, DeviceList, Everyone, UserList


def to_users(*user_ids: str) -> Audience:
    """Every device that is bound to one of these users."""
    return Audience(users=UserList(user_ids=user_ids))


def to_devices(*device_ids: str) -> Audience:
    """These devices, whoever they belong to."""
    return Audience(devices=DeviceList(device_ids=device_ids))


def to_everyone() -> Audience:
    """Every device of the application, anonymous ones too."""
    return Audience(everyone=Everyone())
