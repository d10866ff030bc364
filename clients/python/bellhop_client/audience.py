"""Audiences in one word."""

from bellhop.v1.message_pb2 import Audience, DeviceList, Everyone, TagList, UserList


def to_users(*user_ids: str) -> Audience:
    """Every device that is bound to one of these users."""
    return Audience(users=UserList(user_ids=user_ids))


def to_devices(*device_ids: str) -> Audience:
    """These devices, whoever they belong to."""
    return Audience(devices=DeviceList(device_ids=device_ids))


def to_tags(*tag_names: str) -> Audience:
    """Every device that has one of these tags, by itself or through its user."""
    return Audience(tags=TagList(tag_names=tag_names))


def to_everyone() -> Audience:
    """Every device of the application, anonymous ones too."""
    return Audience(everyone=Everyone())
