"""Cursors and page tokens: they belong to one question, and nothing in them reaches the database unread."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellhop.v1 import applications_pb2 as apps
from bellhop.v1 import device_pb2
from bellhop.v1 import push_registry_pb2 as reg
from bellhop_server.domain.errors import CursorInvalid, PageTokenInvalid
from bellhop_server.rpc.cursors import cursor_of, seq_of
from bellhop_server.rpc.opaque import seal
from bellhop_server.rpc.pages import BY_ID, BY_NUMBER, BY_TIME_AND_NUMBER, Form, Paging, Position


@given(seq=st.integers(min_value=0, max_value=2**63 - 1), other=st.text(max_size=5))
def test_a_cursor_belongs_to_its_message_alone(seq: int, other: str) -> None:
    cursor = cursor_of("shop", "m1", seq)
    assert seq_of("shop", "m1", cursor) == seq
    assert len(cursor) <= 128
    assert cursor.replace("-", "").replace("_", "").isalnum()
    for app_id, message_id in (("shop", "m2"), ("shop2", "m1"), ("shopm", "1")):
        with pytest.raises(CursorInvalid):
            seq_of(app_id, message_id, cursor)
    if other:
        with pytest.raises(CursorInvalid):
            seq_of("shop", "m1", other)
        with pytest.raises(CursorInvalid):
            seq_of("shop", "m1", cursor + other)
    assert seq_of("shop", "m1", "") == 0


@pytest.mark.parametrize("seq", [2**63, 2**64 - 1])
def test_a_cursor_beyond_what_a_database_counts_is_none_of_ours(seq: int) -> None:
    with pytest.raises(CursorInvalid):
        seq_of("shop", "m1", cursor_of("shop", "m1", seq))


async def rows(*values: tuple[device_pb2.Device, Position]) -> AsyncIterator[tuple[device_pb2.Device, Position]]:
    for value in values:
        yield value


def row(device_id: str, weight: int = 0) -> tuple[device_pb2.Device, Position]:
    return device_pb2.Device(device_id=device_id, user_id="x" * weight), [device_id]


async def test_pages_go_on_where_the_one_before_ended() -> None:
    first = Paging(reg.ListDevicesRequest(page_size=2), "shop", BY_ID, default=100, most=1000)
    page, token = await first.fill(rows(row("a"), row("b"), row("c")))
    assert [each.device_id for each in page] == ["a", "b"]
    second = Paging(reg.ListDevicesRequest(page_size=5, page_token=token), "shop", BY_ID, default=100, most=1000)
    assert second.after == ["b"]
    page, token = await second.fill(rows(row("c")))
    assert (len(page), token) == (1, "")


async def test_a_page_is_cut_by_size_but_never_empty() -> None:
    paging = Paging(reg.ListDevicesRequest(), "shop", BY_ID, default=100, most=1000)
    page, token = await paging.fill(rows(row("a", 3 * 2**20), row("b"), row("c")))
    assert [each.device_id for each in page] == ["a"]
    after = Paging(reg.ListDevicesRequest(page_token=token), "shop", BY_ID, default=100, most=1000).after
    assert after == ["a"]


@pytest.mark.parametrize(("asked", "size"), [(0, 100), (7, 7), (5000, 1000)])
def test_page_sizes(asked: int, size: int) -> None:
    assert Paging(reg.ListDevicesRequest(page_size=asked), "shop", BY_ID, default=100, most=1000).size == size


def test_a_page_token_belongs_to_its_question() -> None:
    token = Paging(reg.ListDevicesRequest(user_id="anna"), "shop", BY_ID, default=1, most=1).token(["d1"])
    strangers = [
        (reg.ListDevicesRequest(user_id="bert", page_token=token), "shop"),
        (reg.ListDevicesRequest(user_id="anna", page_token=token, return_total_size=True), "shop"),
        (reg.ListDevicesRequest(user_id="anna", page_token=token), "other"),
        (reg.ListDevicesRequest(user_id="anna", page_token=token[:-1]), "shop"),
        (reg.ListDevicesRequest(user_id="anna", page_token="A" * 5000), "shop"),
        (reg.ListDevicesRequest(user_id="anna", page_token="é"), "shop"),
        (apps.ListApplicationsRequest(page_token=token), "shop"),
    ]
    for request, app_id in strangers:
        with pytest.raises(PageTokenInvalid):
            Paging(request, app_id, BY_ID, default=1, most=1)


def forged(content: bytes) -> reg.ListDevicesRequest:
    """A request whose page token has a right checksum over any content: it is no signature."""
    owner = b"page\0bellhop.v1.ListDevicesRequest\0shop\0"
    return reg.ListDevicesRequest(page_token=seal(content, owner))


@pytest.mark.parametrize(
    ("form", "content", "position"),
    [
        (BY_ID, b'["d1"]', ["d1"]),
        (BY_ID, b'["\\ud83d\\ude00"]', ["\U0001f600"]),
        (BY_NUMBER, b"[0]", [0]),
        (BY_NUMBER, b"[9223372036854775807]", [2**63 - 1]),
        (BY_TIME_AND_NUMBER, b"[7,8]", [7, 8]),
    ],
)
def test_a_page_token_holds_a_position_of_its_list(form: Form, content: bytes, position: Position) -> None:
    assert Paging(forged(content), "shop", form, default=1, most=1).after == position


@pytest.mark.parametrize("form", [BY_ID, BY_NUMBER, BY_TIME_AND_NUMBER])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"5",
        b"null",
        b'"a"',
        b'{"x":1}',
        b"{not json",
        b"[]",
        b"[[]]",
        b"[null]",
        b"[true]",
        b"[1.0]",
        b"[-1]",
        b"[NaN]",
        b"[9223372036854775808]",
        b"[1" + b"0" * 30 + b",1]",
        b"[1" + b"0" * 5000 + b"]",
        b"[1,true]",
        b"[1,-1]",
        b"[1,2,3]",
        b'["a",1]',
        b'[1,"a"]',
        b'["a","b"]',
        b'[""]',
        b'["a\\u0000b"]',
        b'["\\ud800"]',
        b'["' + b"x" * 129 + b'"]',
        b"\xff\xfe\xff",
        b"[" * 100_000,
        b'{"":' * 100_000,
    ],
    ids=lambda content: content[:12],
)
def test_a_page_token_of_any_other_content_is_told(form: Form, content: bytes) -> None:
    with pytest.raises(PageTokenInvalid):
        Paging(forged(content), "shop", form, default=1, most=1)
