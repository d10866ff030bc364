"""Rules that fields share, and the list of what broke them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from bellhop.v1 import message_pb2
from bellhop_server.domain import Micros
from bellhop_server.domain.errors import InvalidRequest, Violation

APP_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
KEY = re.compile(r"[A-Za-z0-9._-]{1,64}")
TOPIC = re.compile(r"[A-Za-z0-9.-]{1,255}")
VISIBLE_ASCII = re.compile(r"[!-~]{1,128}")
TIME_ZONE = re.compile(r"[A-Za-z0-9._+/-]{1,64}")
LOCALE = re.compile(r"(?=.{1,64}\Z)[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*")
HEX = re.compile(r"[0-9A-Fa-f]*")

DEVICE_ID_LENGTH = 128
USER_ID_LENGTH = 512
MAX_TAGS = 100
TAG_NAME_LENGTH = 128
MAX_IDS = 10_000
MAX_DATA = 100
MAX_TTL = timedelta(days=28)
NAME_LENGTH = 256
URL_LENGTH = 2048
COLLAPSE_KEY_BYTES = 64
ANONYMOUS = "anonymous"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SPACE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f]")
# Enough to tell a key from another one; a path must not carry a megabyte back.
_SHOWN_KEY = 40
_MAX_SECONDS = 315_576_000_000  # What google.protobuf.Duration allows.


class Findings:
    """Collects violations. A path is that of the field from the request, `audience.users.user_ids[3]`."""

    def __init__(self, now: Micros = 0) -> None:
        self._now = now
        self._violations: list[Violation] = []

    def raise_if_any(self) -> None:
        """Raises InvalidRequest with everything that was found."""
        if self._violations:
            raise InvalidRequest(self._violations)

    def add(self, path: str, description: str) -> None:
        """Notes one wrong field."""
        self._violations.append(Violation(path, description))

    def required(self, path: str, given: bool) -> bool:
        """The field must be there. Returns whether it is."""
        if not given:
            self.add(path, "is required")
        return given

    def text(self, path: str, value: str, longest: int, *, controls: bool = True) -> None:
        """At most so many characters; `controls`: control characters are allowed."""
        if len(value) > longest:
            self.add(path, f"has {len(value)} characters; at most {longest} are allowed")
        elif not controls and _CONTROL.search(value):
            self.add(path, "has control characters")

    def pattern(self, path: str, value: str, pattern: re.Pattern[str], description: str) -> None:
        """Empty, or the whole of it matches."""
        if value and not pattern.fullmatch(value):
            self.add(path, f"is not {description}")

    def required_pattern(self, path: str, value: str, pattern: re.Pattern[str], description: str) -> None:
        """There, and the whole of it matches."""
        if self.required(path, bool(value)):
            self.pattern(path, value, pattern, description)

    def app_id(self, path: str, value: str) -> None:
        """An application's id."""
        self.required_pattern(path, value, APP_ID, "[a-z0-9][a-z0-9-]{0,62}")

    def message_id(self, path: str, value: str) -> None:
        """A message's id."""
        self.required_pattern(path, value, MESSAGE_ID, "[A-Za-z0-9_-]{1,64}")

    def device_id(self, path: str, value: str) -> None:
        """A device's id, which must be there."""
        if self.required(path, bool(value)):
            self.text(path, value, DEVICE_ID_LENGTH, controls=False)

    def user_id(self, path: str, value: str) -> None:
        """A user's id, which must be there."""
        if self.required(path, bool(value)):
            self.optional_user_id(path, value)

    def optional_user_id(self, path: str, value: str) -> None:
        """A user's id, or empty."""
        self.text(path, value, USER_ID_LENGTH)
        if "\x00" in value:
            self.add(path, "has a NUL character")
        if value == ANONYMOUS:
            self.add(path, f"must not be `{ANONYMOUS}`, which names nobody")

    def enum(self, path: str, value: int, type_: EnumDescriptor) -> None:
        """A value of the enum that this server knows, or unspecified."""
        if value not in type_.values_by_number:
            self.add(path, f"{value} is no value of {type_.name}")

    def enums(self, path: str, values: Sequence[int], type_: EnumDescriptor) -> None:
        """Known values but unspecified, none twice."""
        if len(values) > len(type_.values_by_number) - 1:
            self.add(path, f"has {len(values)} values; {type_.name} has {len(type_.values_by_number) - 1}")
            return
        for index, value in enumerate(values):
            if value == 0 or value not in type_.values_by_number:
                self.add(f"{path}[{index}]", f"{value} is no value of {type_.name}")
            elif value in values[:index]:
                self.add(f"{path}[{index}]", "is there twice")

    def duration(self, path: str, value: Duration, longest: timedelta, shortest: timedelta = timedelta()) -> None:
        """A valid duration from `shortest` to `longest`."""
        same_sign = value.seconds * value.nanos >= 0
        if abs(value.seconds) > _MAX_SECONDS or abs(value.nanos) > 999_999_999 or not same_sign:
            self.add(path, "is not a valid Duration")
        elif value.seconds < 0 or value.nanos < 0:
            self.add(path, "must not be negative")
        elif value.seconds * 10**9 + value.nanos > _nanoseconds(longest):
            self.add(path, f"must not be longer than {longest.days} days")
        elif value.seconds * 10**9 + value.nanos < _nanoseconds(shortest):
            self.add(path, f"must not be shorter than {shortest.seconds} seconds")

    def timestamp(self, path: str, value: Timestamp) -> bool:
        """From year 1 to year 9999, as google.protobuf.Timestamp says. Returns whether it is so."""
        valid = -62_135_596_800 <= value.seconds <= 253_402_300_799 and 0 <= value.nanos <= 999_999_999
        if not valid:
            self.add(path, "is not a valid Timestamp")
        return valid

    def schedule(self, path: str, value: Timestamp, longest: timedelta) -> None:
        """A valid time, at most `longest` from now."""
        latest = self._now + longest // timedelta(microseconds=1)
        if self.timestamp(path, value) and value.seconds * 1_000_000 + value.nanos // 1000 > latest:
            self.add(path, f"must not be more than {longest.days} days ahead")

    def url(self, path: str, value: str, scheme: str = "") -> None:
        """Empty, or an absolute URI (RFC 3986 section 4.3), of that scheme and with a host where one is named."""
        if not value:
            return
        self.text(path, value, URL_LENGTH)
        try:
            parts = urlsplit(value)
            whole = bool(parts.scheme) and (not scheme or (parts.scheme == scheme and bool(parts.hostname)))
        except ValueError:
            whole = False
        if not whole or _SPACE_OR_CONTROL.search(value):
            self.add(path, f"is not an absolute {scheme or 'URI'}{' URL' if scheme else ''}")

    def collapse_key(self, path: str, value: str) -> None:
        """What a later message replaces an earlier one by."""
        if len(value.encode()) > COLLAPSE_KEY_BYTES:
            self.add(path, f"has more than {COLLAPSE_KEY_BYTES} bytes")
        else:
            self.text(path, value, COLLAPSE_KEY_BYTES, controls=False)

    def handling(
        self, path: str, value: message_pb2.ApnsOverride | message_pb2.FcmOverride | message_pb2.WebPushOverride
    ) -> None:
        """How a message is handled on one network, where that differs."""
        self.duration(f"{path}.ttl", value.ttl, MAX_TTL)
        self.collapse_key(f"{path}.collapse_key", value.collapse_key)
        self.enum(f"{path}.priority", value.priority, message_pb2.Priority.DESCRIPTOR)

    def page_size(self, path: str, value: int) -> None:
        """0 for the default, or more."""
        if value < 0:
            self.add(path, "must not be negative")

    def count(self, path: str, size: int, most: int) -> bool:
        """At most so many. Returns whether it is so."""
        if size > most:
            self.add(path, f"has {size} entries; at most {most} are allowed")
        return size <= most

    def string_map(self, path: str, value: Mapping[str, str], most: int, longest: int | None) -> None:
        """Keys by the common rule, values up to `longest` characters (None: any)."""
        if not self.count(path, len(value), most):
            return
        for key in sorted(value):
            at = entry(path, key)
            self.key(at, key)
            if longest is not None:
                self.text(at, value[key], longest)

    def key(self, path: str, key: str) -> None:
        """A key of attributes or data."""
        if not KEY.fullmatch(key):
            self.add(path, "its key is not [A-Za-z0-9._-]{1,64}")

    def user_ids(self, path: str, values: Sequence[str]) -> None:
        """Users' ids."""
        if self.count(path, len(values), MAX_IDS):
            for index, value in enumerate(values):
                # Written out: ten thousand of them are common, and almost all are right.
                if not 0 < len(value) <= USER_ID_LENGTH or "\x00" in value or value == ANONYMOUS:
                    self.user_id(f"{path}[{index}]", value)

    def device_ids(self, path: str, values: Sequence[str]) -> None:
        """Devices' ids."""
        if self.count(path, len(values), MAX_IDS):
            for index, value in enumerate(values):
                if not 0 < len(value) <= DEVICE_ID_LENGTH or _CONTROL.search(value):
                    self.device_id(f"{path}[{index}]", value)

    def tag_name(self, path: str, value: str) -> None:
        """A tag's name, which must be there."""
        if self.required(path, bool(value)):
            self.text(path, value, TAG_NAME_LENGTH, controls=False)

    def tag_names(self, path: str, values: Sequence[str]) -> None:
        """Names of tags, none twice."""
        if self.count(path, len(values), MAX_TAGS):
            seen: set[str] = set()
            for index, value in enumerate(values):
                self.tag_name(f"{path}[{index}]", value)
                if value in seen:
                    self.add(f"{path}[{index}]", "is there twice")
                seen.add(value)


def entry(path: str, key: str) -> str:
    """The path of a map's entry: `attributes["k"]`."""
    shown = key if len(key) <= _SHOWN_KEY else key[:_SHOWN_KEY] + "…"
    quoted = shown.replace("\\", "\\\\").replace('"', '\\"')
    return f'{path}["{quoted}"]'


def _nanoseconds(value: timedelta) -> int:
    return value // timedelta(microseconds=1) * 1000


def joined(values: Iterable[str]) -> str:
    """For a description: a, b, c."""
    return ", ".join(values)
