"""The contract answers its callers: every comment says what these rules ask for, and old clients keep working.

- A method names its credential, whether repeating is safe, what a broken stream means, and at least one error as
  `CODE (REASON)`, where the reason exists and comes with that code.
- A field says what its absence means, or that it is required or always set; and, when it holds text, numbers, times or
  several values, which ones are allowed.
- A reason shows its code and its ErrorInfo, and is named by a method or service unless it says that it is not sent yet.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, MethodDescriptorProto, MethodOptions
from grpc import StatusCode

from tests.rules.contract import ROOT, Field, Method, Oneof, Reason, fields, methods, oneofs, reasons, services

ABSENCE = r"(Empty|Absent|Unset|Unspecified)(: \S+| \w+ \S+)"
SENT = re.compile(rf"Required[.:]|Default:? \S+|{ABSENCE}")
"""How a sentence begins that says what leaving a field out does, where callers send it."""
RETURNED = re.compile(rf"Always set\b|Never empty\b|Default:? \S+|False \w+ \S+|{ABSENCE}")
"""The same where only the server sends it."""

TEXT = re.compile(
    r"\d (visible ASCII )?characters|\d (bytes|digits|hexadecimal digits)|`[^`]*\[[^`]+\][^`]*`"
    r"|\b(any text|opaque|BCP 47|IANA)\b",
    re.IGNORECASE,
)
NUMBER = re.compile(r"\b[\d,]+ (to [`\d]|or more)")
SEVERAL = re.compile(r"\b(to|at most) ([\d,]+\b|`page_size`)(?! (characters|bytes|digits))", re.IGNORECASE)
DURATION = re.compile(r"\d( (second|minute|hour|day)s?)? to \d+ (seconds|minutes|hours|days)\b")
TIME = re.compile(r"\((inclusive|exclusive)\)")
OBJECT = re.compile(r"\bJSON object\b")

ERROR = re.compile(r"\b([A-Z]+(?:_[A-Z]+)*) \(([A-Z]+(?:_[A-Z]+)*(?:, [A-Z]+(?:_[A-Z]+)*)*)\)")


def one_line(comment: str) -> str:
    return " ".join(comment.split())


def code_of(reason: Reason) -> str:
    """The status code that a reason's comment begins with; empty: none."""
    first = reason.comment.strip().partition(".")[0]
    return first if first in StatusCode.__members__ else ""


CODES = {reason.name: code_of(reason) for reason in reasons()}


def tells_absence(comment: str, sent: bool) -> bool:
    beginnings = SENT if sent else RETURNED
    sentences = re.split(r"(?<=[.;]) ", one_line(comment))
    return any(beginnings.match(sentence[:1].upper() + sentence[1:]) for sentence in sentences)


def limits_wanted(field: Field) -> list[re.Pattern[str]]:
    """What the comment must match for the allowed values to be known."""
    kind = field.descriptor
    if field.is_map:
        return [TEXT, SEVERAL]
    wanted = [SEVERAL] if kind.label == FieldDescriptorProto.LABEL_REPEATED else []
    if kind.type in (FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_BYTES):
        return [*wanted, TEXT]
    if kind.type in (FieldDescriptorProto.TYPE_BOOL, FieldDescriptorProto.TYPE_ENUM):
        return wanted
    if kind.type == FieldDescriptorProto.TYPE_MESSAGE:
        well_known = {"Duration": DURATION, "Struct": OBJECT, **({"Timestamp": TIME} if field.sent else {})}
        limit = well_known.get(kind.type_name.removeprefix(".google.protobuf."))
        return [*wanted, limit] if limit else wanted
    return [*wanted, NUMBER]


def field_faults(field: Field) -> list[str]:
    faults = [f"no {limit.pattern}" for limit in limits_wanted(field) if not limit.search(one_line(field.comment))]
    if not field.in_oneof and not tells_absence(field.comment, field.sent):
        faults.append("says neither what its absence means nor that it is required or always set")
    return faults


def error_faults(comment: str) -> list[str]:
    """Pairs of a code and a reason that do not belong together."""
    named = [(code, name) for code, names in ERROR.findall(one_line(comment)) for name in names.split(", ")]
    return [f"{code} ({name})" for code, name in named if CODES.get(name) != code]


def method_faults(method: Method) -> list[str]:
    paragraphs = [one_line(paragraph) for paragraph in method.comment.split("\n\n")]
    said = {head: rest.strip() for head, _, rest in (paragraph.partition(":") for paragraph in paragraphs)}
    streams = method.descriptor.server_streaming or method.descriptor.client_streaming
    heads = ["Credential", "Repeating", *(["Broken stream"] if streams else [])]
    faults = [f"no `{head}:`" for head in heads if not said.get(head)]
    repeatable = method.descriptor.options.idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN
    if not re.match(r"safe\b" if repeatable else r"not safe\b|safe (only )?with ", said.get("Repeating", "")):
        faults.append("`Repeating:` does not agree with idempotency_level")
    errors = paragraphs[paragraphs.index("Errors:") + 1] if "Errors:" in paragraphs[:-1] else ""
    if not ERROR.search(errors):
        faults.append("no error as `CODE (REASON)` below `Errors:`")
    return faults + error_faults(method.comment)


def reason_faults(reason: Reason) -> list[str]:
    text, _, example = reason.comment.strip().partition("\n\n")
    faults = [] if code_of(reason) else ["begins with no status code"]
    try:
        info = json.loads(example)
    except ValueError:
        return [*faults, "no ErrorInfo as JSON"]
    if info.get("reason") != f"ERROR_REASON_{reason.name}" or info.get("domain") != "bellhop":
        faults.append("the ErrorInfo is another one's")
    if not info.keys() <= {"reason", "domain", "metadata"}:
        faults.append("the ErrorInfo has keys of its own")
    if not all(isinstance(value, str) for value in info.get("metadata", {}).values()):
        faults.append("metadata that is not text")
    named = any(reason.name in names.split(", ") for comment in ERRORS_TOLD for _, names in ERROR.findall(comment))
    if named == ("Not sent yet." in one_line(text)):
        faults.append("named by a method, but not sent yet" if named else "named by no method")
    return faults


ERRORS_TOLD = [one_line(comment) for _, comment in services()] + [one_line(method.comment) for method in methods()]


@pytest.mark.parametrize("method", list(methods()), ids=lambda method: method.name)
def test_methods_tell_what_a_caller_asks(method: Method) -> None:
    assert method_faults(method) == []


@pytest.mark.parametrize("field", list(fields()), ids=lambda field: field.name)
def test_fields_tell_format_and_default(field: Field) -> None:
    assert field_faults(field) == []


@pytest.mark.parametrize("oneof", list(oneofs()), ids=lambda oneof: oneof.name)
def test_oneofs_tell_their_default(oneof: Oneof) -> None:
    assert tells_absence(oneof.comment, oneof.sent)


@pytest.mark.parametrize(("name", "comment"), list(services()))
def test_services_name_errors_that_are(name: str, comment: str) -> None:
    assert ERROR.search(one_line(comment)), name
    assert error_faults(comment) == []


@pytest.mark.parametrize("reason", list(reasons()), ids=lambda reason: reason.name)
def test_reasons_show_code_and_error_info(reason: Reason) -> None:
    assert reason_faults(reason) == []


def scalar(kind: FieldDescriptorProto.Type.ValueType, type_name: str = "") -> FieldDescriptorProto:
    return FieldDescriptorProto(type=kind, type_name=type_name, label=FieldDescriptorProto.LABEL_OPTIONAL)


A_STRING = scalar(FieldDescriptorProto.TYPE_STRING)
AN_INTEGER = scalar(FieldDescriptorProto.TYPE_INT32)
A_FLAG = scalar(FieldDescriptorProto.TYPE_BOOL)
A_DURATION = scalar(FieldDescriptorProto.TYPE_MESSAGE, ".google.protobuf.Duration")
A_TIME = scalar(FieldDescriptorProto.TYPE_MESSAGE, ".google.protobuf.Timestamp")
STRINGS = FieldDescriptorProto(type=FieldDescriptorProto.TYPE_STRING, label=FieldDescriptorProto.LABEL_REPEATED)


@pytest.mark.parametrize(
    ("descriptor", "comment", "sent"),
    [
        (A_STRING, "", True),
        (A_STRING, "The id.", True),
        (A_STRING, "Required.", True),
        (A_STRING, "1 to 128 characters.", True),
        (A_STRING, "Always set. Up to 5 characters.", True),
        (A_STRING, "The required thing, 5 characters.", True),
        (A_STRING, "May be empty. 5 characters.", True),
        (A_STRING, "Empty. 5 characters.", True),
        (A_STRING, "Names it. Always set.", False),
        (A_STRING, "Required. 5 characters.", False),
        (AN_INTEGER, "How many. Default 50.", True),
        (AN_INTEGER, "1 to 500.", True),
        (A_FLAG, "Whether it is so.", True),
        (A_DURATION, "How long. Unset: 24 hours later.", True),
        (A_DURATION, "0 to 28 days.", True),
        (A_TIME, "From when. Unset: from the start.", True),
        (A_TIME, "When it was made.", False),
        (STRINGS, "Ids of 1 to 5 characters each, and more. Empty: all.", False),
        (STRINGS, "Ids of 5 characters. Empty: all.", True),
        (STRINGS, "Required. 1 to 100 of them.", True),
    ],
)
def test_a_poor_field_comment_is_found(descriptor: FieldDescriptorProto, comment: str, sent: bool) -> None:
    assert field_faults(Field("X.y", descriptor, comment, sent))


GOOD = """ Does it.

 Credential: `app-secret`.

 Repeating: safe.

 Broken stream: call again.

 Errors:

 - NOT_FOUND (DEVICE_NOT_FOUND): there is none.
"""


@pytest.mark.parametrize(
    ("good", "poor"),
    [
        (GOOD, ""),
        ("Credential: `app-secret`.", ""),
        ("Credential: `app-secret`.", "Credential:"),
        ("Repeating: safe.", ""),
        ("Repeating: safe.", "Repeating: not safe."),
        ("Broken stream: call again.", ""),
        ("Errors:\n", ""),
        ("NOT_FOUND (DEVICE_NOT_FOUND)", "NOT_FOUND"),
        ("NOT_FOUND (DEVICE_NOT_FOUND)", "DEVICE_NOT_FOUND"),
        ("NOT_FOUND (DEVICE_NOT_FOUND)", "ABORTED (DEVICE_NOT_FOUND)"),
        ("NOT_FOUND (DEVICE_NOT_FOUND)", "NOT_FOUND (DEVICE_NOT_FOUND, PHONE_NOT_FOUND)"),
    ],
)
def test_a_poor_method_comment_is_found(good: str, poor: str) -> None:
    descriptor = MethodDescriptorProto(server_streaming=True)
    descriptor.options.idempotency_level = MethodOptions.NO_SIDE_EFFECTS
    assert method_faults(Method("X.Y", descriptor, GOOD)) == []
    assert good in GOOD
    assert method_faults(Method("X.Y", descriptor, GOOD.replace(good, poor)))


def test_a_poor_reason_comment_is_found() -> None:
    good = next(reason for reason in reasons() if reason.name == "DEVICE_NOT_FOUND")
    assert reason_faults(good) == []
    for old, new in [
        ("NOT_FOUND. ", ""),
        ("NOT_FOUND. ", "MISSING. "),
        ("ERROR_REASON_DEVICE", "ERROR_REASON_PHONE"),
        ('"bellhop"', '"example"'),
        ('"d1"', "1"),
        ('{"reason"', '{"cause": 1, "reason"'),
        ("}}", ""),
        ("The application", "Not sent yet. The application"),
    ]:
        assert old in good.comment
        assert reason_faults(Reason(good.name, good.comment.replace(old, new))), new


def buf(tmp_path: Path, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs buf of this environment with a cache of its own."""
    command = [str(Path(sys.executable).with_name("buf")), *arguments]
    environment = {**os.environ, "BUF_CACHE_DIR": str(tmp_path / "cache")}
    return subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    "arguments",
    [("lint",), ("format", "--diff", "--exit-code"), ("breaking", "--against", "proto/baseline.binpb")],
    ids=lambda arguments: arguments[0],
)
def test_buf_has_no_complaint(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    run = buf(tmp_path, *arguments)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("string locale = 4;", "string locale = 24;"),
        ("string locale = 4;", "string language = 4;"),
        ("DEAD = 2", "DEAD = 9"),
    ],
    ids=["number", "name", "enum value"],
)
def test_a_change_that_breaks_clients_is_found(tmp_path: Path, old: str, new: str) -> None:
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "proto", tmp_path / "proto", ignore=shutil.ignore_patterns("*.py*", "__pycache__"))
    source = tmp_path / "proto/bellhop/v1/device.proto"
    source.write_text(source.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    run = buf(tmp_path, "breaking", "--against", "proto/baseline.binpb", cwd=tmp_path)
    assert run.returncode == 100
    assert "device.proto" in run.stdout
